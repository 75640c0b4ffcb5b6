"""The matrix product of a dense layer, with rows made flat first."""

from typing import Any

import jax
import jax.numpy as jnp


def dot_general(
  x: jax.Array,
  kernel: jax.Array,
  dimension_numbers: Any,
  precision: Any = None,
  preferred_element_type: Any = None,
) -> jax.Array:
  """Multiplies (..., D) by (D, F) as one matrix of rows: (..., F).

  The gradient of a kernel sums over all rows. Taken of (B, L, D) arrays, two
  dimensions to sum over, a CPU transposes the larger operand in memory first;
  over one dimension it doesn't (a third less time for a whole training step).
  The arguments are those of `jax.lax.dot_general`, so that `nn.Dense` takes
  this in its place.

  Raises:
    ValueError: the dimension numbers aren't those of a dense layer.
  """
  if dimension_numbers != (((x.ndim - 1,), (0,)), ((), ())) or kernel.ndim != 2:
    raise ValueError(
      f'linear.dot_general multiplies (..., D) by (D, F); found {x.shape} by '
      f'{kernel.shape} with dimension numbers {dimension_numbers}'
    )
  y = jnp.dot(
    x.reshape(-1, x.shape[-1]),
    kernel,
    precision=precision,
    preferred_element_type=preferred_element_type,
  )
  return y.reshape(*x.shape[:-1], -1)
