"""Golden vectors of decoders (LLaMA, Qwen2, Qwen3, MPT) against `transformers`.

Everything but the padding id comes from the file's `cfg_*`. Reinforcement
learning isn't built here yet; files of it are named as such. Values at padding
are zero in the files.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.models import llama, mpt, qwen2, qwen3
from glue_jax.models.model import Model
from glue_jax.objectives import causal_lm
from tests.golden import _kinds, _library_names

NOT_BUILT = {'ref_logprobs': 'reinforcement learning (PPO)'}
VALUE = (2e-5, 0.0)
GRADIENT = 1e-4  # of the largest value of an array
RESULTS = ('logits', 'hidden_last', 'token_logprobs', 'loss')

Rows = list[tuple[str, Any, Any, float, float]]


def compare(arrays: dict[str, np.ndarray], folder: Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  return _kinds.by_kind(
    arrays,
    NOT_BUILT | {'token_logprobs': _decoder},
    lambda name: name in RESULTS or name.startswith('g__'),
  )


def _decoder(a: dict[str, np.ndarray]) -> Rows:
  family = _family(a)
  given = {k[len('cfg__') :]: v.item() for k, v in a.items() if k[:3] == 'cfg'}
  config = family.config_from_hf(_nested(given) | {'pad_token_id': 0})
  model = Model(config, family.MODEL_TYPE, 'causal_lm', 0)
  batch = {k: jnp.asarray(a[k]) for k in ('input_ids', 'attention_mask')}
  ids, mask = batch['input_ids'], batch['attention_mask']

  def run(params):
    outputs = model.apply({'params': params}, batch)
    scores = causal_lm.token_log_probabilities(outputs['logits'], ids, mask)
    loss = -scores.sum() / causal_lm.real_pairs(mask).sum()
    return loss, (outputs, scores)

  params = _library_names.params(a, model, 'w__')
  step = jax.jit(jax.value_and_grad(run, has_aux=True))
  (loss, (outputs, scores)), gradients = step(params)
  real = mask[..., None]
  found = {
    'logits': outputs['logits'] * real,
    'hidden_last': outputs['last_hidden'] * real,
    'token_logprobs': scores,
    'loss': loss,
  }
  rows = [(name, found[name], a[name], *VALUE) for name in RESULTS]
  return rows + _library_names.gradients(a, model, gradients, 'g__', GRADIENT)


def _family(a):
  if 'w__transformer.wte.weight' in a:
    return mpt
  first = 'w__model.layers.0.self_attn.'
  if first + 'q_norm.weight' in a:
    return qwen3
  return qwen2 if first + 'q_proj.bias' in a else llama


def _nested(given):
  """The file's flat settings as config.json has them."""
  inner = {'alibi_bias_max'} & given.keys()
  attention = {key: given.pop(key) for key in inner}
  return given | ({'attn_config': attention} if attention else {})
