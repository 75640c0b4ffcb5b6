"""Golden vectors of Hydra: the official block, mixers and encoder, float64."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.kernels.quasiseparable import decays, reference
from glue_jax.kernels.quasiseparable import quasiseparable as kernel
from glue_jax.kernels.quasiseparable import xla as chunks
from glue_jax.layers.context import BatchContext
from glue_jax.layers.mixers import hydra, matrix_mixer
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import names
from glue_jax.models.model import build, shapes
from tests.golden._kinds import by_kind

Rows = list[tuple]
VALUE = (2e-5, 1e-4)
TOEPLITZ = (1e-4, 1e-4)
GRADIENT_RTOL = 2e-4

# Names of the block's parameters in the files -> ours.
NAMES = {
  'in_proj.weight': 'in_proj/kernel',
  'in_proj.bias': 'in_proj/bias',
  'conv1d.weight': 'conv1d/kernel',
  'conv1d.bias': 'conv1d/bias',
  'fc_D.weight': 'fc_D/kernel',
  'norm.weight': 'norm/scale',
  'out_proj.weight': 'out_proj/kernel',
  'out_proj.bias': 'out_proj/bias',
  'matrix_mixer.fc_D.weight': 'matrix/fc_D/kernel',
}


def compare(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  kinds = {
    'cfg_B_L_dmodel_dstate_dconv_expand_headdim_ngroups_chunk': _layer,
    'cfg_b_L_h_p_g_n_chunk': _scan,
    'cfg_B_L_dmodel_qkdim_expand_headdim_chunk': _mixers,
    'cfg_B_L_H_dstate_headdim_layers_vocab': _encoder,
  }
  return by_kind(arrays, kinds, re.compile(r'(^|/)(out|mid|grad)_').search)


def _layer(a: dict[str, np.ndarray]) -> Rows:
  key = 'cfg_B_L_dmodel_dstate_dconv_expand_headdim_ngroups_chunk'
  _, _, width, state, size, expand, head, groups, chunk = a[key].tolist()
  block = Recorded(
    EncoderConfig(hidden_size=width), state_size=state, head_dim=head,
    groups=groups, expand=expand, kernel_size=size, chunk=chunk,
    bias='w_in_proj.bias' in a, pad_mode='official',
    learn_initial_state='w_init_states' in a,
  )  # fmt: skip
  params = _params({k[2:]: v for k, v in a.items() if k.startswith('w_')})
  context = BatchContext(jnp.ones(a['in_u'].shape[:2], bool))

  def loss(params, u):
    y, inside = block.apply(
      {'params': params}, u, context, False, mutable='intermediates'
    )
    return jnp.sum(y * a['in_cotangent']), (y, inside['intermediates'])

  gradients, (y, inside) = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(
    params, jnp.asarray(a['in_u'])
  )
  rows = [('out_y', y, a['out_y'], *VALUE)]
  rows += [
    (f'mid_{name}', inside[name][0], a[f'mid_{name}'], *VALUE)
    for name in (
      'mixer_matrix', 'dt_fwd', 'dt_bwd', 'x_conv', 'delta', 'mixer_out'
    )
  ]  # fmt: skip
  ours = {'grad_u': gradients[1]}
  for name, value in _theirs(gradients[0]).items():
    ours[f'grad_w_{name}'] = value
  return rows + [_gradient(name, value, a) for name, value in ours.items()]


class Recorded(hydra.Mixer):
  """The block, with what its files hold of the inside."""

  def mix(self, *arguments):
    """As the block's."""
    y = super().mix(*arguments)
    x, dt, a, b, c, delta, _ = arguments
    flat = (*x.shape[:2], -1)
    for name, value in {
      'mixer_matrix': reference.matrix(dt, a, b, c, delta),
      'dt_fwd': dt[0],
      'dt_bwd': dt[1],
      'x_conv': x.reshape(flat),
      'delta': delta,
      'mixer_out': y.reshape(flat),
    }.items():
      self.sow('intermediates', name, value)
    return y


def _scan(a: dict[str, np.ndarray]) -> Rows:
  chunk = int(a['cfg_b_L_h_p_g_n_chunk'][-1])
  fields = ('x', 'dt', 'A', 'B', 'C', 'initial_state')
  inputs = {f: jnp.asarray(a[f'in_{f}']) for f in fields if f'in_{f}' in a}

  def loss(inputs):
    y, final = kernel.ssd(*(inputs.get(f) for f in fields), chunk=chunk)
    total = jnp.sum(y * a['in_cotangent_y'])
    return total + jnp.sum(final * a['in_cotangent_state']), (y, final)

  gradients, (y, final) = jax.jit(jax.grad(loss, has_aux=True))(inputs)
  rows = [
    ('out_y', y, a['out_y'], *VALUE),
    ('out_final_state', final, a['out_final_state'], *VALUE),
    (
      'mid_state_at_chunk_start',
      jax.jit(_states, static_argnums=1)(inputs, chunk),
      a['mid_state_at_chunk_start'],
      *VALUE,
    ),
  ]
  ours = {f'grad_{name}': value for name, value in gradients.items()}
  return rows + [_gradient(name, value, a) for name, value in ours.items()]


def _states(inputs, chunk):
  """States before each chunk (b, chunks, h, p, n)."""
  x, dt, decay, b, _ = (inputs[f] for f in ('x', 'dt', 'A', 'B', 'C'))
  fill = lambda y: jnp.pad(
    y, [(0, 0), (0, -y.shape[1] % chunk)] + [(0, 0)] * (y.ndim - 2)
  )
  both = lambda y: jnp.stack([fill(y), jnp.zeros_like(fill(y))])
  found = decays.sums(both(dt), decay, chunk)
  start = jnp.zeros((2, x.shape[0], *x.shape[2:], b.shape[-1]))
  if 'initial_state' in inputs:
    start += inputs['initial_state']
  states, _ = chunks.states(
    found.carried, fill(x), both(b), found.kept, start,
    backward=False, chunk=chunk,
  )  # fmt: skip
  return jnp.moveaxis(states[:, 0], 0, 1)


def _mixers(a: dict[str, np.ndarray]) -> Rows:
  key = 'cfg_B_L_dmodel_qkdim_expand_headdim_chunk'
  _, length, width, qk, expand, head, chunk = a[key].tolist()
  rows = []
  for case in sorted({k.split('/')[0] for k in a if '/' in k}):
    kind, _, form = case.rpartition('_')
    mixer = matrix_mixer.Mixer(
      EncoderConfig(hidden_size=width), matrix=kind, max_length=length,
      data_dependent=form == 'dd', qk_dim=qk, head_dim=head, expand=expand,
      pad_mode='official', official_shift=True, chunk=chunk,
    )  # fmt: skip
    start = f'{case}/w_'
    params = _params(
      {k.removeprefix(start): v for k, v in a.items() if k.startswith(start)}
    )
    u = jnp.asarray(a[f'{case}/in_u'])
    context = BatchContext(jnp.ones(u.shape[:2], bool))
    y = jax.jit(mixer.apply, static_argnums=3)(
      {'params': params}, u, context, False
    )
    tolerance = TOEPLITZ if kind == 'toeplitz' else VALUE
    rows.append((f'{case}/out_y', y, a[f'{case}/out_y'], *tolerance))
  return rows


def _encoder(a: dict[str, np.ndarray]) -> Rows:
  key = 'cfg_B_L_H_dstate_headdim_layers_vocab'
  _, _, width, state, head, layers, vocab = a[key].tolist()
  types = a['w_bert.embeddings.token_type_embeddings.weight'].shape[0]
  start = 'w_bert.encoder.layer.0.layer.mixer.'
  channels = a[start + 'conv1d.weight'].shape[0]
  inner = a[start + 'norm.weight'].shape[0]
  options = dict(
    state_size=state, head_dim=head, expand=inner // width,
    groups=(channels - inner) // (4 * state), pad_mode='official',
    kernel_size=a[start + 'conv1d.weight'].shape[2],
    bias=start + 'in_proj.bias' in a,
    learn_initial_state=start + 'init_states' in a,
  )  # fmt: skip
  model = build(
    'hydra', 'tiny', kind='mlm', vocab_size=vocab, hidden_size=width,
    num_layers=layers, type_vocab_size=types, dropout=0.0,
    options={'hydra': options},
  )  # fmt: skip
  table = names.targets(model, shapes(model))
  flat = {
    ours: jnp.asarray(a['w_' + t.name].T if t.transpose else a['w_' + t.name])
    for ours, t in table.items()
  }
  mask, labels = a['in_attention_mask'], a['in_mlm_labels']
  batch = {'input_ids': a['in_input_ids'], 'attention_mask': mask}
  chosen = labels > 0

  def loss(params):
    outputs = model.apply({'params': params}, batch)
    log = jax.nn.log_softmax(outputs['logits'])
    picked = jnp.take_along_axis(log, jnp.maximum(labels, 0)[..., None], -1)
    mean = -jnp.where(chosen, picked[..., 0], 0).sum() / chosen.sum()
    return mean, (mean, outputs)

  gradients, (mean, outputs) = jax.jit(jax.grad(loss, has_aux=True))(
    tree.unflatten(flat)
  )
  embedded = outputs['hidden_states'][0]
  real = mask[..., None] != 0
  hidden = jnp.where(real, outputs['last_hidden'], 0)
  rows = [
    ('mid_embeddings', embedded, a['mid_embeddings'], *VALUE),
    ('out_hidden', hidden, a['out_hidden'], *VALUE),
    ('out_mlm_logits', *_logits(outputs, a, mask), *VALUE),
    ('out_mlm_loss', mean, a['out_mlm_loss'], *VALUE),
  ]
  for ours, value in tree.flatten(gradients).items():
    target = table[ours]
    value = value.T if target.transpose else value
    rows.append(_gradient('grad_w_' + target.name, value, a))
  return rows


def _logits(outputs, a, mask):
  """Ours and theirs at real tokens."""
  real = mask != 0
  return outputs['logits'][real], a['out_mlm_logits'][real]


def _params(weights):
  """Our tree from a block's weights in the official layout."""
  flat = {}
  for name, value in weights.items():
    ours = NAMES.get(name, name.replace('matrix_mixer.', 'matrix/'))
    value = value.T if ours.endswith('/kernel') else value
    flat[ours] = jnp.asarray(value)
  return tree.unflatten(flat)


def _theirs(params):
  """A block's tree under the official names."""
  back = {ours: name for name, ours in NAMES.items()}
  return {
    back.get(name, name): value.T if name.endswith('/kernel') else value
    for name, value in tree.flatten(params).items()
  }


def _gradient(name, value, a):
  """Relative to the array's largest value, as single elements may cancel."""
  theirs = a[name]
  return name, value, theirs, GRADIENT_RTOL * np.abs(theirs).max(), 0.0
