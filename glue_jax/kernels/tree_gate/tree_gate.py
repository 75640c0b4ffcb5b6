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
The kernels: tpu.py, gpu.py. Not measured on a TPU or GPU.
"""

import jax
import jax.numpy as jnp
from jax.experimental.pallas import tpu as pltpu

from glue_jax.kernels import choose
from glue_jax.kernels.tree_gate import math, pallas, reference
from glue_jax.kernels.tree_gate.reference import Gated


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
  interpret: bool | pltpu.InterpretParams = False,
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
    implementation, interpret: which form runs, see kernels/choose.py.

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
  form = choose.form(implementation)
  if split_bias is None:
    split_bias = jnp.zeros(split.shape[:2], split.dtype)
  if form == 'reference':
    return reference.tree_gate(
      x, split, leaf, leaf_bias, permutation, split_bias, gamma, keep
    )
  if permutation is None:
    permutation = jnp.broadcast_to(jnp.eye(experts), (trees, experts, experts))
  shape = math.Shape(experts, trees, gamma)
  maps = pallas.packed(
    form, shape, split, leaf, leaf_bias, permutation, split_bias
  )
  return Gated(*pallas.gate((form, interpret, shape, keep), x, *maps))


def _check(x, split, leaf, leaf_bias, permutation, split_bias):
  experts, trees = leaf.shape[:2]
  width = x.shape[-1]
  if experts < 2:
    raise ValueError(f'a gate needs at least 2 experts, found {experts}')
  choose.check_shapes(
    f'{experts} experts, {trees} trees and width {width}',
    {
      'x': (x, (x.shape[0], width)),
      'split': (split, (experts - 1, trees, width)),
      'leaf': (leaf, (experts, trees, width)),
      'leaf_bias': (leaf_bias, (experts, trees)),
      'permutation': (permutation, (trees, experts, experts)),
      'split_bias': (split_bias, (experts - 1, trees)),
    },
  )
