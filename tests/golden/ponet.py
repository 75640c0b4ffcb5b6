"""Golden vectors of PoNet: the official mixer in a BERT block, in float64."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.kernels.segment_pooling import reference
from glue_jax.kernels.segment_pooling import segment_pooling as kernel
from glue_jax.layers.blocks.post import Block
from glue_jax.layers.context import BatchContext
from glue_jax.layers.mixers import ponet
from glue_jax.layers.spec import EncoderConfig
from tests.golden._kinds import at, by_kind
from tests.quick import jit

Rows = list[tuple]
VALUE = (2e-5, 1e-4)
GRADIENT_RTOL = 2e-4
EXACT = (0.0, 0.0)

# Ours -> the official name, in one block.
NAMES = {
  'mixer/query': 'attention.self.dense_q',
  'mixer/key': 'attention.self.dense_k',
  'mixer/gate': 'attention.self.dense_o',
  'mixer/segment': 'attention.self.dense_segment',
  'mixer/local': 'attention.self.dense_local',
  'mixer/attn_out': 'attention.output.dense',
  'ln_attn': 'attention.output.LayerNorm',
  'ffn/ffn_in': 'intermediate.dense',
  'ffn/ffn_out': 'output.dense',
  'ln_ffn': 'output.LayerNorm',
}


def compare(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  kinds = {
    'cfg_clsgsepg': _layer,
    'cfg_B_L_heads_headdim_segmentnum': _long_range_arena,
    'grad_segment_even_split': _ties,
    'out_segment_index': _index,
  }
  return by_kind(
    arrays, kinds, lambda k: k.startswith(('out_', 'mid_', 'grad_'))
  )


def _layer(a: dict[str, np.ndarray]) -> Rows:
  _, _, width, heads, inner = a['cfg_B_L_H_heads_inter'].tolist()
  special = bool(a['cfg_clsgsepg'])
  config = EncoderConfig(
    hidden_size=width, num_heads=heads, intermediate_size=inner,
    dropout=0.0, attention_dropout=0.0,
    options=(('ponet', (('hide_special', special),)),),
  )  # fmt: skip
  block = Block(config, 'ponet', 'feedforward')
  mask = a['in_attention_mask'] != 0
  context = BatchContext(
    jnp.asarray(mask), input_ids=jnp.asarray(a['in_input_ids'])
  )
  index, found = ponet.special_runs(context.input_ids, config.special_ids)
  if not special:
    if 'mid_segment_index' not in a:
      raise ValueError(
        'cfg_clsgsepg=0 without mid_segment_index: which tokens form a segment '
        'is in no other array'
      )
    index = jnp.asarray(a['mid_segment_index'])
    context = context.replace(segment_ids=index)
  rows = [
    ('mid_segment_index', index, a['mid_segment_index'], *EXACT),
    ('mid_special_mask', found, a['mid_special_mask'], *EXACT),
  ]
  flat = {}
  for ours, theirs in NAMES.items():
    weight = a[f'w_{theirs}.weight']
    norm = ours.startswith('ln_')
    flat[f'{ours}/{"scale" if norm else "kernel"}'] = weight.T
    flat[f'{ours}/bias'] = a[f'w_{theirs}.bias']
  params = tree.unflatten({k: jnp.asarray(v) for k, v in flat.items()})

  def loss(params, hidden):
    y, state = block.apply(
      {'params': params}, hidden, context, False,
      capture_intermediates=True,
    )  # fmt: skip
    return jnp.sum(y * a['in_cotangent']), (y, state['intermediates'])

  gradients, (y, inside) = jit(jax.grad(loss, (0, 1), has_aux=True))(
    params, jnp.asarray(a['in_hidden'])
  )
  rows += [
    ('out_y', y[mask], a['out_y'][mask], *VALUE),
    (
      'mid_attn_output',
      inside['ln_attn']['__call__'][0][mask],
      at(a['mid_attn_output'], mask),
      *VALUE,
    ),
    *_pooling(a, params, context, config, index, found & special),
  ]
  return rows + _gradients(a, gradients)


def _pooling(a, params, context, config, index, marked):
  """Global attention and the fused pools, from the block's weights."""
  x, mask = jnp.asarray(a['in_hidden']), context.mask
  maps = params['mixer']
  project = lambda name, x: x @ maps[name]['kernel'] + maps[name]['bias']
  mean = jnp.where(mask[..., None], x, 0).sum(1) / mask.sum(1)[:, None]
  token, share = ponet.global_token(
    project('query', mean), project('key', x), mask, config.num_heads
  )
  kind = jnp.where(marked, reference.SPECIAL, reference.ORDINARY)
  fused = kernel.segment_pooling(
    token,
    *(project(name, x) for name in ('gate', 'segment', 'local')),
    index,
    jnp.where(mask, kind, reference.PAD),
  )
  return [
    ('mid_att_prob', share, a['mid_att_prob'], *VALUE),
    ('mid_context', fused, a['mid_context'], *VALUE),
  ]


def _gradients(a, gradients) -> Rows:
  """Relative to each array's largest value, as single elements may cancel."""
  flat = tree.flatten(gradients[0])
  scale = max(np.abs(v).max() for k, v in a.items() if k.startswith('grad_'))
  ours = {'grad_hidden': gradients[1]}
  for name, theirs in NAMES.items():
    kernel_name = 'scale' if name.startswith('ln_') else 'kernel'
    ours[f'grad_w_{theirs}.weight'] = flat[f'{name}/{kernel_name}'].T
    ours[f'grad_w_{theirs}.bias'] = flat[f'{name}/bias']
  tolerance = lambda v: max(GRADIENT_RTOL * np.abs(v).max(), 1e-6 * scale)
  return [
    (name, value, a[name], tolerance(a[name]), 0.0)
    for name, value in ours.items()
  ]


def _long_range_arena(a: dict[str, np.ndarray]) -> Rows:
  batch, length, heads, _, number = a[
    'cfg_B_L_heads_headdim_segmentnum'
  ].tolist()
  mask = jnp.asarray(a['in_mask'] != 0)
  index = ponet.equal_runs(batch, length, number)
  merge = lambda x: x.transpose(0, 2, 1, 3).reshape(batch, length, -1)

  def run(inputs):
    query, key, gate = (merge(inputs[name]) for name in 'QKO')
    count = jnp.maximum(mask.sum(1), 1)[:, None]
    mean = jnp.where(mask[..., None], query, 0).sum(1) / count
    token, _ = ponet.global_token(mean, key, mask, heads)
    kind = jnp.where(mask, reference.ORDINARY, reference.PAD)
    y = kernel.segment_pooling(
      token, gate, inputs['segment'], inputs['local'], index, kind
    )
    return jnp.sum(y * a['in_cotangent']), y

  names = ('Q', 'K', 'O', 'segment', 'local')
  inputs = {name: jnp.asarray(a[f'in_{name}']) for name in names}
  gradients, y = jit(jax.grad(run, has_aux=True))(inputs)
  valid = np.asarray(mask)
  rows = [
    ('mid_segment_index', index, a['mid_segment_index'], *EXACT),
    ('out_y', y[valid], a['out_y'][valid], *VALUE),
  ]
  for name, value in gradients.items():
    theirs = a[f'grad_{name}']
    atol = GRADIENT_RTOL * np.abs(theirs).max()
    rows.append((f'grad_{name}', value, theirs, atol, 0.0))
  return rows


def _ties(a: dict[str, np.ndarray]) -> Rows:
  x, g = jnp.asarray(a['in_x']), jnp.asarray(a['in_cotangent'])
  index = jnp.asarray(a['in_segment_index'])
  rows = []
  for name, fn in (
    ('segment_even_split', lambda x: reference.segment_max(x, index, 'even')),
    (
      'segment_first_winner',
      lambda x: reference.segment_max(x, index, 'first'),
    ),
    ('local_k3', reference.local_max),
  ):
    y, pull = jax.vjp(fn, x)
    theirs = 'out_local_max_k3' if name == 'local_k3' else 'out_segment_max'
    rows.append((theirs, y, a[theirs], *EXACT))
    rows.append((f'grad_{name}', pull(g)[0], a[f'grad_{name}'], *VALUE))
  return rows


def _index(a: dict[str, np.ndarray]) -> Rows:
  special_ids = EncoderConfig().special_ids
  index, special = ponet.special_runs(
    jnp.asarray(a['in_input_ids']), special_ids
  )
  return [
    ('out_segment_index', index, a['out_segment_index'], *EXACT),
    ('out_special_mask', special, a['out_special_mask'], *EXACT),
  ]
