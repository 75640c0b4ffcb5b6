"""Bottleneck adapters after a sublayer.

Houlsby et al. 2019, arXiv 1902.00751: LN(U(f) + f + a), f the sublayer's output
after dropout, a its input, U(x) = act(x W_down + b) W_up + b.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from glue_jax.layers import feedforward
from glue_jax.plugs import Plug, Site


def bottleneck(
  x: jax.Array,
  down: tuple[jax.Array, jax.Array],
  up: tuple[jax.Array, jax.Array],
  activation: Callable[[jax.Array], jax.Array],
) -> jax.Array:
  """Returns U(x).

  Args:
    x: (..., D).
    down: kernel (D, M) and bias (M,).
    up: kernel (M, D) and bias (D,).
    activation: elementwise.
  """
  hidden = activation(x @ down[0].astype(x.dtype) + down[1].astype(x.dtype))
  return hidden @ up[0].astype(x.dtype) + up[1].astype(x.dtype)


def plug(pattern: str, size: int, activation: str, init_range: float) -> Plug:
  """Adds an adapter, with its residual, to the output of every match.

  New leaves: adapter_{down,up}_kernel and adapter_{down,up}_bias.

  Args:
    pattern: full-match regex on module paths (the `mixer`s or `ffn`s).
    size: bottleneck M.
    activation: a key of `feedforward.ACTIVATIONS`.
    init_range: standard deviation of the fresh kernels; 0 for `up` would make
      the adapter the identity, the papers use a small normal for both.

  Raises:
    ValueError: an unknown activation or a size below 1.
  """
  if size < 1:
    raise ValueError(f'adapter size={size}: expected 1 or more')
  act = feedforward.activation(activation)
  normal = jax.nn.initializers.normal(init_range)
  zeros = jax.nn.initializers.zeros

  def call(site: Site, next_fn, *args, **kwargs):
    f = next_fn(*args, **kwargs)
    width = f.shape[-1]
    sizes = {'down': (width, size), 'up': (size, width)}
    (down, up) = (
      (
        site.param(f'adapter_{end}_kernel', normal, shape, jnp.float32),
        site.param(f'adapter_{end}_bias', zeros, shape[1:], jnp.float32),
      )
      for end, shape in sizes.items()
    )
    return f + bottleneck(f, down, up, act)

  return Plug(pattern, call)
