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
    init_range, init: of fresh kernels, see `spread`.
    hidden_size, intermediate_size, num_heads, head_width: sizes that some of
      them depend on.
  """

  @property
  def dtype(self) -> str: ...

  @property
  def init_range(self) -> float: ...

  @property
  def init(self) -> str: ...

  @property
  def hidden_size(self) -> int: ...

  @property
  def intermediate_size(self) -> int: ...

  @property
  def num_heads(self) -> int: ...

  @property
  def head_width(self) -> int: ...


class Product(nn.Module):
  """`dot_general` as a module, so that plugs can change its gradient."""

  def __call__(
    self, x: jax.Array, kernel: jax.Array, *args: Any, **kwargs: Any
  ) -> jax.Array:
    """Multiplies (..., D) by (D, F): (..., F)."""
    return dot_general(x, kernel, *args, **kwargs)


def dense(config: Numbers, features: int, **kwargs: Any) -> nn.Dense:
  """A dense layer with the encoder's initialiser and computation type."""
  std = spread(config, kwargs.get('name', ''))
  return nn.Dense(
    features,
    dtype=jnp.dtype(config.dtype),
    kernel_init=nn.initializers.normal(std),
    dot_general_cls=functools.partial(Product, name='product'),
    **kwargs,
  )


def spread(config: Numbers, name: str) -> float:
  """Returns the standard deviation of a fresh kernel or table.

  With `init='fan_in'` it is `init_range` times that of T5's official code
  (Raffel et al. 2020, arXiv 1910.10683; not confirmed in the paper), which
  makes up for scores that aren't scaled. A head of its own is as any layer of
  D inputs; `transformers` draws it from N(0, 1).

  Args:
    config: sizes.
    name: of the module.
  """
  if config.init == 'normal':
    return config.init_range
  sums = {
    'word': 1,
    'query': config.hidden_size * config.head_width,
    'attn_out': config.num_heads * config.head_width,
    'ffn_out': config.intermediate_size,
  }
  return config.init_range * sums.get(name, config.hidden_size) ** -0.5


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
