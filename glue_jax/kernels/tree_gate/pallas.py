"""The tree gate's kernels as one function with a gradient.

The backward kernel gives the gradients of the maps' values and of the matrix;
the products with the maps' and x's gradients are XLA's.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from glue_jax.kernels.tree_gate import gpu, math, tpu

_FORMS = {'tpu': tpu, 'gpu': gpu}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def gate(
  static: tuple[str, Any, math.Shape, int],
  x: jax.Array,
  maps: jax.Array,
  bias: jax.Array,
  matrix: jax.Array,
) -> tuple[jax.Array, ...]:
  """The fields of `reference.Gated`.

  Args:
    static: platform, interpret, shape of the gate, keep.
    x: (T, D).
    maps, bias, matrix: see `packed`.
  """
  return _forward(static, x, maps, bias, matrix)[0]


def _forward(static, x, maps, bias, matrix):
  platform, interpret, shape, keep = static
  *outputs, values = _FORMS[platform].forward(
    shape, keep, x, maps, bias, matrix, interpret=interpret
  )
  return tuple(outputs), (x, maps, matrix, values, outputs[2])


def _backward(static, saved, cotangents):
  platform, interpret, shape, _ = static
  x, maps, matrix, values, index = saved
  d_weights, d_entropy, _, d_top = cotangents
  chosen = jax.nn.one_hot(index, shape.experts, dtype=jnp.float32)
  d_weights += jnp.einsum('ti,tie->te', d_top, chosen)
  d_values, d_matrix = _FORMS[platform].backward(
    shape, values, matrix, d_weights, d_entropy, interpret=interpret
  )
  full = x.astype(jnp.float32)
  d_x = jnp.einsum('ct,cd->td', d_values, maps, precision='highest')
  d_maps = jnp.einsum('ct,td->cd', d_values, full, precision='highest')
  return d_x.astype(x.dtype), d_maps, d_values.sum(1), d_matrix


gate.defvjp(_forward, _backward)


def packed(
  platform: str,
  shape: math.Shape,
  split: jax.Array,
  leaf: jax.Array,
  leaf_bias: jax.Array,
  permutation: jax.Array,
  split_bias: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The kernels' operands: maps (S + P, D), bias (S + P,), matrix (E, P).

  Nodes stand tree after tree, each kind padded to the platform's sizes.
  """
  sizes = _FORMS[platform].sizes(shape)

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
