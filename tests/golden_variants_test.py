"""Golden files of forms that no shared file has, made here by PyTorch."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.golden import __main__ as golden

HYDRA = 'cfg_B_L_dmodel_dstate_dconv_expand_headdim_ngroups_chunk'


def weights(seed, **shapes):
  """Random float64 leaves {name: tensor}, rounded to float32."""
  rng = torch.Generator().manual_seed(seed)
  return {
    name: torch.randn(*shape, generator=rng).double().requires_grad_()
    for name, shape in shapes.items()
  }


def save(folder, slug, arrays, given, loss, results):
  """Writes a file: settings and inputs, leaves, results, gradients."""
  loss.backward()
  arrays |= {name: x.detach().numpy() for name, x in given.items()}
  arrays |= {name: x.detach().numpy() for name, x in results.items()}
  for name, x in given.items():
    gradient = torch.zeros_like(x) if x.grad is None else x.grad
    arrays[f'grad_{name.removeprefix("in_")}'] = gradient.numpy()
  single = {
    name: x.astype(np.float32) if x.dtype == np.float64 else x
    for name, x in ((n, np.asarray(x)) for n, x in arrays.items())
  }
  (folder / slug).mkdir()
  np.savez(folder / slug / 'made_here.npz', **single)
  return golden.main(['--dir', str(folder), slug])


def sentence_experts(batch, length, width, inner, count):
  """MoEBERT's layer with a gate for whole sentences, by the sheet."""
  given = weights(3, **{'in_x': (batch, length, width)})
  given['w_gate.weight'] = weights(4, w=(count, width))['w']
  for i in range(count):
    names = {
      'fc1.weight': (inner, width), 'fc1.bias': (inner,),
      'fc2.weight': (width, inner), 'fc2.bias': (width,),
      'LayerNorm.weight': (width,), 'LayerNorm.bias': (width,),
    }  # fmt: skip
    for name, x in weights(5 + i, **names).items():
      given[f'w_experts.{i}.{name}'] = x
  mask = torch.arange(length) < length - torch.arange(batch)[:, None]
  real = mask[..., None].double()
  mean = (given['in_x'] * real).sum(1) / real.sum(1)
  probability = (mean @ given['w_gate.weight'].T).softmax(-1)
  chosen = probability.argmax(-1)
  load = functional.one_hot(chosen, count).sum(0)
  rows = []
  for x, p, e in zip(given['in_x'], probability, chosen.tolist(), strict=True):
    own = {
      name.removeprefix(f'w_experts.{e}.'): w
      for name, w in given.items()
      if name.startswith(f'w_experts.{e}.')
    }
    h = functional.gelu(x @ own['fc1.weight'].T + own['fc1.bias'])
    y = x + h @ own['fc2.weight'].T + own['fc2.bias']
    norm = own['LayerNorm.weight'], own['LayerNorm.bias']
    rows.append(p[e] * functional.layer_norm(y, (width,), *norm, eps=1e-12))
  y = torch.stack(rows)
  balance = count * (probability.mean(0) * load / batch).sum()
  cotangent = weights(2, c=y.shape)['c'].detach()
  loss = (y * cotangent).sum() + 0.01 * balance
  arrays = {
    'cfg_level': 'sentence',
    'cfg_B_L_D_I_experts': np.array([batch, length, width, inner, count]),
    'in_input_ids': np.ones((batch, length), np.int32),
    'in_attention_mask': mask.numpy().astype(np.int32),
    'in_cotangent': cotangent.numpy(),
  }
  results = {
    'out_y': y, 'out_gate_load': load, 'out_balance_loss': balance,
  }  # fmt: skip
  return arrays, given, loss, results


def hydra_layer(length, width, state, kernel, head, groups, bias, start):
  """Hydra's block by its recurrence, a token at a time, by the sheet."""
  inner, batch = 2 * width, 2
  heads, group = inner // head, groups * state
  mixed = inner + 4 * group
  shapes = {
    'in_u': (batch, length, width),
    'w_in_proj.weight': (inner + mixed + 2 * heads, width),
    'w_conv1d.weight': (mixed, 1, kernel), 'w_conv1d.bias': (mixed,),
    'w_dt_bias': (heads,), 'w_A_log': (heads,), 'w_D': (heads,),
    'w_fc_D.weight': (heads, inner), 'w_norm.weight': (inner,),
    'w_out_proj.weight': (width, inner),
  }  # fmt: skip
  if bias:
    shapes |= {'w_in_proj.bias': (shapes['w_in_proj.weight'][0],)}
    shapes |= {'w_out_proj.bias': (width,)}
  if start:
    shapes |= {'w_init_states': (heads, head, state)}
  given = weights(6, **shapes)
  with torch.no_grad():
    for name, x in given.items():
      x *= 1.0 if name == 'in_u' else 0.5
  w = {name[2:]: x for name, x in given.items()}
  y = functional.linear(
    given['in_u'], w['in_proj.weight'], w.get('in_proj.bias')
  )
  z, xbc, steps = y.split([inner, mixed, 2 * heads], -1)
  xbc = functional.conv1d(
    xbc.mT, w['conv1d.weight'], w['conv1d.bias'], padding=kernel // 2,
    groups=mixed,
  ).mT  # fmt: skip
  x, *bc = functional.silu(xbc).split([inner, *[group] * 4], -1)
  delta = x @ w['fc_D.weight'].T + w['D']
  x = x.unflatten(-1, (heads, head))
  # Head h uses group h // (H / G).
  bc = [
    v.unflatten(-1, (groups, state)).repeat_interleave(heads // groups, 2)
    for v in bc
  ]
  rows = [delta[:, t, :, None] * x[:, t] for t in range(length)]
  for d, (b, c) in enumerate((bc[:2], bc[2:])):
    dt = functional.softplus(steps.split(heads, -1)[d] + w['dt_bias'])
    decay = torch.exp(-torch.exp(w['A_log']) * dt)
    h = torch.zeros(batch, heads, head, state).double()
    h = h + w.get('init_states', 0)
    order = range(length) if d == 0 else range(length)[::-1]
    for i, t in enumerate(order):
      if i:
        rows[t] = rows[t] + torch.einsum('zhpn,zhn->zhp', h, c[:, order[i - 1]])
      added = (dt[:, t, :, None] * x[:, t])[..., None] * b[:, t, :, None]
      h = decay[:, t, :, None, None] * h + added
  y = torch.stack(rows, 1).flatten(2)
  y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-5)
  y = y * w['norm.weight'] * functional.silu(z)
  y = functional.linear(y, w['out_proj.weight'], w.get('out_proj.bias'))
  cotangent = weights(7, c=y.shape)['c'].detach()
  sizes = [batch, length, width, state, kernel, 2, head, groups, 4]
  arrays = {HYDRA: np.array(sizes), 'in_cotangent': cotangent.numpy()}
  return arrays, given, (y * cotangent).sum(), {'out_y': y}


def test_sentences_choose_experts(tmp_path):
  assert save(tmp_path, 'comet', *sentence_experts(5, 7, 6, 9, 3)) == 0


@pytest.mark.parametrize(
  'sizes',
  [  # length, width, state, kernel, head, groups, bias, initial state
    (9, 6, 1, 3, 4, 1, False, False),
    (7, 8, 5, 1, 4, 2, True, True),
    (1, 5, 3, 7, 5, 1, True, True),
  ],
)
def test_hydra_of_any_sizes(tmp_path, sizes):
  assert save(tmp_path, 'hydra', *hydra_layer(*sizes)) == 0
