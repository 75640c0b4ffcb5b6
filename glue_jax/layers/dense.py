"""The dense layer of every part: its initialiser, type and product."""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp


class Numbers(Protocol):
  """What a dense layer reads of the encoder's sizes.

  Attributes:
    dtype: type of the computation.
    init_range: standard deviation of fresh kernels.
  """

  @property
  def dtype(self) -> str: ...

  @property
  def init_range(self) -> float: ...


class Product(nn.Module):
  """`dot_general` as a module, so that plugs can change its gradient."""

  def __call__(
    self, x: jax.Array, kernel: jax.Array, *args: Any, **kwargs: Any
  ) -> jax.Array:
    """Multiplies (..., D) by (D, F): (..., F)."""
    return dot_general(x, kernel, *args, **kwargs)


def dense(config: Numbers, features: int, **kwargs: Any) -> nn.Dense:
  """A dense layer with the encoder's initialiser and computation type."""
  return nn.Dense(
    features,
    dtype=jnp.dtype(config.dtype),
    kernel_init=nn.initializers.normal(config.init_range),
    dot_general_cls=functools.partial(Product, name='product'),
    **kwargs,
  )


def uniform(bound: float) -> Callable[..., jax.Array]:
  """Initialiser: uniform in [-bound, bound]."""
  return lambda key, shape, dtype=jnp.float32: jax.random.uniform(
    key, shape, dtype, -bound, bound
  )


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
      f'dense layers multiply (..., D) by (D, F); found {x.shape} by '
      f'{kernel.shape} with dimension numbers {dimension_numbers}'
    )
  y = jnp.dot(
    x.reshape(-1, x.shape[-1]),
    kernel,
    precision=precision,
    preferred_element_type=preferred_element_type,
  )
  return y.reshape(*x.shape[:-1], -1)
