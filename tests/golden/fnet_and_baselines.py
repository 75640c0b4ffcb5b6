"""Golden vectors of BERT and FNet against the `transformers` library.

All sizes come from the arrays' shapes. The number of heads is the one size that
no array of weights shows; the file's `cfg_*` or `mid_attn_0` does. The files of
both models were made with the padding id 0.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.layers.spec import EncoderConfig, freeze
from glue_jax.models import bert, fnet
from glue_jax.models.model import build
from tests.golden import _library_names

CONFIG = 'cfg_B_L_H_heads_I_layers_vocab_maxpos'
VALUE = (2e-5, 1e-4)
GRADIENT_RTOL = 2e-4

Rows = list[tuple[str, Any, Any, float, float]]


def compare(arrays: dict[str, np.ndarray], folder: Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  if 'in_cotangent_hidden' in arrays:
    rows = _fnet(arrays)
  elif 'in_mlm_labels' in arrays:
    rows = _bert(arrays)
  else:
    raise ValueError(f'neither FNet nor BERT: arrays {sorted(arrays)}')
  results = {k for k in arrays if k.startswith(('out_', 'mid_', 'grad_'))}
  left = sorted(results - {row[0] for row in rows})
  if left:
    raise ValueError(f'nothing compares {left}')
  return rows


def _bert(a: dict[str, np.ndarray]) -> Rows:
  config = _config(a, 'bert.', bert.PRESETS['tiny'], _heads(a))
  mlm = build('bert', config=config, kind='mlm')
  bare = build('bert', config=config, kind='encoder')
  batch = {
    'input_ids': a['in_input_ids'],
    'attention_mask': a['in_attention_mask'],
    'token_type_ids': a['in_token_type_ids'],
  }
  pooled = _forward(bare, _library_names.params(a, bare, 'w_bert.'), batch)[
    'pooled'
  ]
  loss, outputs, probabilities, gradients = _mlm(
    mlm, _library_names.params(a, mlm, 'w_'), batch, a['in_mlm_labels']
  )
  # Queries at padding carry no meaning.
  valid = a['in_attention_mask'] != 0
  rows = _values(a, outputs['hidden_states'], valid)
  for i, probs in enumerate(probabilities):
    theirs = a[f'mid_attn_{i}']
    if theirs is not None:
      ours, theirs = _by_query(probs, valid), _by_query(theirs, valid)
      rows.append(_row(f'mid_attn_{i}', ours, theirs))
  rows += [
    _row(
      'out_mlm_logits', outputs['logits'][valid], a['out_mlm_logits'][valid]
    ),
    _row('out_mlm_loss', loss, a['out_mlm_loss']),
    _row('out_pooled', pooled, a['out_pooled']),
  ]
  return rows + _library_names.gradients(
    a, mlm, gradients, 'grad_w_', GRADIENT_RTOL
  )


def _fnet(a: dict[str, np.ndarray]) -> Rows:
  config = _config(a, '', fnet.PRESETS['tiny'], 1)
  model = build('fnet', config=config, kind='encoder')
  batch = {
    'input_ids': a['in_input_ids'],
    'token_type_ids': a['in_token_type_ids'],
  }

  outputs, gradients = _weighted(
    model,
    _library_names.params(a, model, 'w_'),
    batch,
    a['in_cotangent_hidden'],
    a['in_cotangent_pooled'],
  )
  valid = np.ones(a['in_input_ids'].shape, bool)
  rows = _values(a, outputs['hidden_states'], valid)
  rows.append(_row('out_pooled', outputs['pooled'], a['out_pooled']))
  return rows + _library_names.gradients(
    a, model, gradients, 'grad_w_', GRADIENT_RTOL
  )


def _heads(a: dict[str, np.ndarray]) -> int:
  if CONFIG in a:
    return int(a[CONFIG][CONFIG.split('_').index('heads') - 1])
  if 'mid_attn_0' in a:
    return a['mid_attn_0'].shape[1]
  raise ValueError(f'neither {CONFIG} nor mid_attn_0 tells the heads')


def _config(
  a: dict[str, np.ndarray], prefix: str, base: EncoderConfig, heads: int
) -> EncoderConfig:
  """Returns the config that the arrays' shapes give."""
  shape = lambda name: a[f'w_{prefix}{name}.weight'].shape
  layers = 0
  while f'w_{prefix}encoder.layer.{layers}.output.dense.weight' in a:
    layers += 1
  vocab, width = shape('embeddings.word_embeddings')
  return dataclasses.replace(
    base,
    pad_id=0,
    vocab_size=vocab,
    hidden_size=width,
    num_layers=layers,
    num_heads=heads,
    intermediate_size=shape('encoder.layer.0.intermediate.dense')[0],
    max_positions=shape('embeddings.position_embeddings')[0],
    type_vocab_size=shape('embeddings.token_type_embeddings')[0],
  )


_compiled = functools.partial(jax.jit, static_argnums=0)


@_compiled
def _forward(model, params, batch):
  return model.apply({'params': params}, batch)


@_compiled
def _weighted(model, params, batch, hidden, pooled):
  """Outputs, and the gradient of their sum weighted by the cotangents."""

  def total(params):
    out = model.apply({'params': params}, batch)
    loss = jnp.sum(out['last_hidden'] * hidden)
    return loss + jnp.sum(out['pooled'] * pooled), out

  gradients, outputs = jax.grad(total, has_aux=True)(params)
  return outputs, gradients


@_compiled
def _mlm(model, params, batch, labels):
  """Loss, outputs, attention of each layer, gradient of the loss."""

  def mean_loss(params):
    outputs = model.apply({'params': params}, batch)
    chosen = labels >= 0
    picked = jnp.take_along_axis(
      nn.log_softmax(outputs['logits']),
      jnp.where(chosen, labels, 0)[..., None],
      axis=-1,
    )[..., 0]
    loss = -jnp.sum(jnp.where(chosen, picked, 0)) / jnp.sum(chosen)
    return loss, outputs

  (loss, outputs), gradients = jax.value_and_grad(mean_loss, has_aux=True)(
    params
  )
  parts = freeze({'attention': {'fused': False}})
  config = dataclasses.replace(model.config, options=parts)
  _, state = model.clone(config=config).apply(
    {'params': params},
    batch,
    capture_intermediates=lambda module, _: module.name == 'softmax',
  )
  captured = tree.flatten(state['intermediates'])
  path = 'encoder/layer_{}/mixer/core/softmax/__call__'
  layers = range(model.config.num_layers)
  probabilities = [captured[path.format(i)][0] for i in layers]
  return loss, outputs, probabilities, gradients


def _values(a: dict[str, np.ndarray], states: Any, valid: np.ndarray) -> Rows:
  rows = [
    _row(f'mid_hidden_{i}', state[valid], a[f'mid_hidden_{i}'][valid])
    for i, state in enumerate(states)
    if f'mid_hidden_{i}' in a
  ]
  last = _row('out_last_hidden', states[-1][valid], a['out_last_hidden'][valid])
  return [*rows, last]


def _by_query(probs: Any, valid: np.ndarray) -> np.ndarray:
  """Attention of the valid queries: (B, H, L, M) to (valid, H, M)."""
  return np.asarray(probs).transpose(0, 2, 1, 3)[valid]


def _row(name: str, ours: Any, theirs: Any):
  return (name, ours, theirs, *VALUE)
