"""COMET's gate in plain jnp: the definition, and what runs on a CPU.

The formulas are in tree_gate.py.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from glue_jax.kernels.tree_gate import math


class Gated(NamedTuple):
  """What the gate gives for T tokens.

  Attributes:
    weights: (T, n) float32, each row in the simplex.
    entropy: (T,) float32, summed over leaves and trees.
    index: (T, keep) int32, experts by falling weight; the first at ties.
    top: (T, keep) float32, their weights.
  """

  weights: jax.Array
  entropy: jax.Array
  index: jax.Array
  top: jax.Array


def tree_gate(
  x: jax.Array,
  split: jax.Array,
  leaf: jax.Array,
  leaf_bias: jax.Array,
  permutation: jax.Array | None,
  split_bias: jax.Array,
  gamma: float,
  keep: int,
) -> Gated:
  """Gates T tokens; arguments as in tree_gate.py."""
  p = leaf_probabilities(x, split, split_bias, gamma)
  x = x.astype(p.dtype)
  a = jnp.einsum('td,nkd->tkn', x, leaf, precision='highest') + leaf_bias.T
  reached = p >= math.UNREACHABLE
  logs = jnp.log(jnp.maximum(p, math.UNREACHABLE) + math.EPSILON)
  scores = jnp.where(reached, a + logs, -jnp.inf)
  share = jax.nn.softmax(scores, axis=(1, 2))
  if permutation is None:
    raw = share.sum(1)
  else:
    raw = jnp.einsum('tkn,kne->te', share, permutation, precision='highest')
  weights = raw / raw.sum(-1, keepdims=True)
  clamped = jnp.maximum(p, math.EPSILON) + math.EPSILON
  entropy = -(clamped * jnp.log(clamped)).sum((1, 2))
  top, index = jax.lax.top_k(weights, keep)
  return Gated(weights, entropy, index.astype(jnp.int32), top)


def leaf_probabilities(
  x: jax.Array, split: jax.Array, split_bias: jax.Array, gamma: float
) -> jax.Array:
  """Probabilities of the leaves, from left to right: (T, k, n)."""
  dtype = jnp.promote_types(x.dtype, jnp.float32)
  u = jnp.einsum('td,qkd->qtk', x.astype(dtype), split, precision='highest')
  h = math.smooth_step(u + split_bias[:, None], gamma)
  nodes = math.descend(list(h))
  order = math.leaf_order(split.shape[0] + 1)
  return jnp.stack([nodes[node] for node in order], axis=-1)
