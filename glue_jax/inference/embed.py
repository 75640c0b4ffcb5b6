"""Texts in, vectors out: what the encoder of a model makes of them.

A vector is pooled from the last hidden states of the text's real tokens, those
that are special to the tokenizer among them; never from padding.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.devices import cpu, sharding
from glue_jax.evaluation.gather import gather
from glue_jax.inference import predict
from glue_jax.inference.run import Run
from glue_jax.training import session

POOLING = ('mean', 'cls', 'max')


def pooled(
  outputs: Mapping[str, Any], mask: jax.Array, pooling: str = 'mean'
) -> jax.Array:
  """One vector a text.

  Args:
    outputs: of a model; last_hidden (B, P + L, D), where P is the number of
      vectors that prompts put in front.
    mask: (B, L), 1 = real token.
    pooling: one of POOLING; 'cls' is the first token.

  Returns:
    (B, D) float32.

  Raises:
    ValueError: the model computes the first token only.
  """
  length = mask.shape[1]
  hidden = outputs['last_hidden'].astype(jnp.float32)
  if pooling == 'cls':
    return hidden[:, max(hidden.shape[1] - length, 0)]
  if hidden.shape[1] < length:
    raise ValueError(
      f'the model computes {hidden.shape[1]} of {length} tokens in its last '
      f'block, which leaves nothing to pool by {pooling}; give model.stack='
      "'plain'"
    )
  hidden = hidden[:, -length:]
  real = (mask != 0)[..., None]
  if pooling == 'max':
    return jnp.where(real, hidden, -jnp.inf).max(1)
  count = jnp.maximum(real.sum(1), 1)
  return jnp.where(real, hidden, 0).sum(1) / count


def embed_fn(run: Run, pooling: str = 'mean') -> Callable:
  """Returns batch -> {'vector': (B, D)}, compiled.

  Args:
    run: its encoder is used, with the plugs of its methods.
    pooling: see `pooled`.
  """
  variant = run.host.variant

  def embed(state, batch):
    apply, params = session.bound(run.parts, state, variant)
    outputs = apply(params, batch)
    return {'vector': pooled(outputs, batch['attention_mask'], pooling)}

  program = jax.jit(embed, compiler_options=cpu.compiler_options())
  state = run.host.state.replace(opt_state=())
  return lambda batch: program(state, sharding.put_batch(batch, run.parts.mesh))


def embed_rows(
  run: Run, rows: Sequence[dict], fn: Callable, normalize: bool = False
) -> np.ndarray:
  """Vectors of texts, in their order.

  Args:
    run: its task names the columns.
    rows: see `predict.predict_rows`.
    fn: of `embed_fn`.
    normalize: vectors get the length 1, unless they are 0.

  Returns:
    (n, D) float32.

  Raises:
    ValueError: see `predict.predict_rows`.
  """
  _, batches = predict.own_batches(run, rows, 'texts')
  vectors = np.asarray(gather(fn, batches)['vector'], np.float32)
  if normalize:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors = vectors / np.maximum(lengths, 1e-12)
  return vectors
