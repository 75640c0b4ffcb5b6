"""COMET's gate: k soft decision trees over n experts, in one pass.

Ibrahim et al. 2023, arXiv 2306.02824, with the numerics of the official
PyTorch code (COMET-BERT). For a token x:
  u_qj = w_qj.x, h = smooth-step(u) goes left, 1 - h right
  p_lj = product along the path to leaf l of tree j
  s_lj = v_lj.x + c_lj + log(p_lj + 1e-6), minus infinity where p < 1e-5
  G = softmax over all leaves of all trees
  g_e = sum_j sum_l G_lj R_j[l, e], divided by its sum
  entropy = sum_lj -(p' + 1e-6) log(p' + 1e-6), p' = max(p, 1e-6)
with R_j the permutation of tree j (identity by default). Once every h is 0 or
1, at most k of the n weights are not zero.

Cost of a token: 2 D k (2n - 1) operations and D elements read, about as many
bytes as a TPU or GPU moves meanwhile; n + 2 keep + 1 numbers are written, and
k (2n - 1) more when a gradient is wanted. The backward kernel recomputes the
trees from those; the products with the maps' and x's gradients are XLA's.
The kernels: tree_gate_tpu.py, tree_gate_gpu.py. Not measured on a TPU or GPU.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.pallas import tpu as pltpu

from glue_jax.kernels.tree_gate import gpu, math, tpu

IMPLEMENTATIONS = ('reference', 'pallas')


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
  permutation: jax.Array | None = None,
  split_bias: jax.Array | None = None,
  *,
  gamma: float,
  keep: int,
  implementation: str | None = None,
  interpret: str | pltpu.InterpretParams | None = None,
) -> Gated:
  """Gates T tokens.

  Args:
    x: (T, D), float32 or bfloat16; the gate computes in float32.
    split: (n - 1, k, D), nodes in heap order.
    leaf: (n, k, D), leaves from left to right.
    leaf_bias: (n, k).
    permutation: (k, n, n), rows are leaves; None is the identity.
    split_bias: (n - 1, k), of the Keras code only; None is zero.
    gamma: width of the smooth step.
    keep: how many of the largest weights to list.
    implementation: 'reference' (XLA), 'pallas', or None: Pallas on a TPU or
      GPU, else the reference.
    interpret: runs the kernel of a platform ('tpu', 'gpu') without it, slowly,
      for tests; or `pltpu.InterpretParams`: with a TPU's semantics.

  Raises:
    ValueError: shapes that don't fit, fewer than 2 experts, `keep` above n, a
      `gamma` that isn't positive, or an unknown implementation.
  """
  experts, trees = leaf.shape[:2]
  _check(x, split, leaf, leaf_bias, permutation, split_bias)
  if not 1 <= keep <= experts:
    raise ValueError(f'keep={keep}: expected 1 to the {experts} experts')
  if gamma <= 0:
    raise ValueError(f'gamma={gamma}: expected more than 0')
  platform, interpret = _platform(interpret)
  if implementation is None:
    served = platform in ('tpu', 'gpu')
    implementation = 'pallas' if served else 'reference'
  if implementation not in IMPLEMENTATIONS:
    raise ValueError(
      f'implementation={implementation!r}; expected one of {IMPLEMENTATIONS}'
    )
  if split_bias is None:
    split_bias = jnp.zeros(split.shape[:2], split.dtype)
  if implementation == 'reference':
    return tree_gate_reference(
      x, split, leaf, leaf_bias, permutation, split_bias, gamma, keep
    )
  if platform not in ('tpu', 'gpu'):
    raise ValueError(
      f'the kernels run on a TPU or GPU, this is a {platform}; use '
      "implementation='reference'"
    )
  if permutation is None:
    permutation = jnp.broadcast_to(jnp.eye(experts), (trees, experts, experts))
  static = platform, interpret, math.Shape(experts, trees, gamma), keep
  found = _pallas(
    static,
    x,
    *_packed(static, split, leaf, leaf_bias, permutation, split_bias),
  )
  return Gated(*found)


def tree_gate_reference(
  x: jax.Array,
  split: jax.Array,
  leaf: jax.Array,
  leaf_bias: jax.Array,
  permutation: jax.Array | None,
  split_bias: jax.Array,
  gamma: float,
  keep: int,
) -> Gated:
  """The definition in plain jnp; see `tree_gate`."""
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


def _packed(static, split, leaf, leaf_bias, permutation, split_bias):
  """The kernels' operands: maps (S + P, D), bias (S + P,), matrix (E, P).

  Nodes stand tree after tree, each kind padded to the platform's sizes.
  """
  platform, _, shape, _ = static
  sizes = _kernels(platform).sizes(shape)

  def flat(x, size):
    x = jnp.swapaxes(x, 0, 1).astype(jnp.float32)
    x = x.reshape(-1, *x.shape[2:])
    return jnp.pad(x, ((0, size - len(x)),) + ((0, 0),) * (x.ndim - 1))

  maps = jnp.concatenate([flat(split, sizes[0]), flat(leaf, sizes[1])])
  bias = jnp.concatenate(
    [flat(split_bias, sizes[0]), flat(leaf_bias, sizes[1])]
  )
  matrix = permutation.astype(jnp.float32).reshape(-1, shape.experts).T
  pad = ((0, sizes[2] - matrix.shape[0]), (0, sizes[1] - matrix.shape[1]))
  return maps, bias, jnp.pad(matrix, pad)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pallas(static, x, maps, bias, matrix):
  return _forward(static, x, maps, bias, matrix)[0]


def _forward(static, x, maps, bias, matrix):
  platform, interpret, shape, keep = static
  *found, values = _kernels(platform).forward(
    shape, keep, x, maps, bias, matrix, interpret=interpret
  )
  return tuple(found), (x, maps, matrix, values, found[2])


def _backward(static, saved, cotangents):
  platform, interpret, shape, _ = static
  x, maps, matrix, values, index = saved
  d_weights, d_entropy, _, d_top = cotangents
  chosen = jax.nn.one_hot(index, shape.experts, dtype=jnp.float32)
  d_weights += jnp.einsum('ti,tie->te', d_top, chosen)
  d_values, d_matrix = _kernels(platform).backward(
    shape, values, matrix, d_weights, d_entropy, interpret=interpret
  )
  full = x.astype(jnp.float32)
  d_x = jnp.einsum('ct,cd->td', d_values, maps, precision='highest')
  d_maps = jnp.einsum('ct,td->cd', d_values, full, precision='highest')
  return d_x.astype(x.dtype), d_maps, d_values.sum(1), d_matrix


_pallas.defvjp(_forward, _backward)


def _platform(interpret):
  if isinstance(interpret, pltpu.InterpretParams):
    return 'tpu', interpret
  return interpret or jax.default_backend(), bool(interpret)


def _kernels(platform):
  return tpu if platform == 'tpu' else gpu


def _check(x, split, leaf, leaf_bias, permutation, split_bias):
  experts, trees = leaf.shape[:2]
  width = x.shape[-1]
  if experts < 2:
    raise ValueError(f'a gate needs at least 2 experts, found {experts}')
  expected = {
    'x': (x, (x.shape[0], width)),
    'split': (split, (experts - 1, trees, width)),
    'leaf': (leaf, (experts, trees, width)),
    'leaf_bias': (leaf_bias, (experts, trees)),
    'permutation': (permutation, (trees, experts, experts)),
    'split_bias': (split_bias, (experts - 1, trees)),
  }
  wrong = [
    f'{name} {array.shape} for {shape}'
    for name, (array, shape) in expected.items()
    if array is not None and array.shape != shape
  ]
  if wrong:
    raise ValueError(
      f'with {experts} experts, {trees} trees and width {width}: '
      f'{", ".join(wrong)} expected'
    )
