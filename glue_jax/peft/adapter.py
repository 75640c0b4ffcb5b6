"""Bottleneck adapters: U(x) = act(x W_down + b) W_up + b beside a sublayer.

With f the sublayer's output after dropout, a its input and LN the LayerNorm
that is there already:
  Houlsby et al. 2019, arXiv 1902.00751:  LN(U(f) + f + a), both sublayers;
  Pfeiffer et al. 2020, arXiv 2005.00247: LN(U(LN(f + a)) + f + a), the
    feed-forward part only; LN is one LayerNorm, used twice. Of blocks whose
    norms stand before the sublayers, as `adapters` has it: y + U(y), y = f + a;
  parallel, He et al. 2021, arXiv 2110.04366: LN(s U(a) + f + a), the
    feed-forward part only.
"""

from collections.abc import Callable
from typing import Any

import jax

from glue_jax.config.ranges import Count, Positive, Whole, checked
from glue_jax.layers import activations, paths
from glue_jax.layers.activations import Activation
from glue_jax.peft import lora
from glue_jax.plugs import Plug, Site

# Kernel (in, out) and bias (out,) of a linear map.
Linear = tuple[jax.Array, jax.Array]


def bottleneck(
  x: jax.Array,
  down: Linear,
  up: Linear,
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


def leaves(
  site: Site, width: int, size: int, down_init: Callable, up_init: Callable
) -> tuple[Linear, Linear]:
  """Returns (down, up) of a site, its own leaves.

  They are adapter_{down,up}_kernel and adapter_{down,up}_bias; biases start at
  zero.

  Args:
    site: where the adapter sits.
    width: D.
    size: bottleneck M.
    down_init, up_init: initialisers of the kernels (D, M) and (M, D).
  """
  zeros = jax.nn.initializers.zeros
  shapes = {
    'down': (down_init, (width, size)),
    'up': (up_init, (size, width)),
  }
  down, up = (
    (
      site.param(f'adapter_{end}_kernel', init, shape),
      site.param(f'adapter_{end}_bias', zeros, shape[1:]),
    )
    for end, (init, shape) in shapes.items()
  )
  return down, up


@checked
def plug(
  pattern: str, size: Count, activation: Activation, init_range: Positive
) -> Plug:
  """Houlsby: adds U(f) to the output f of every match.

  Args:
    pattern: full-match regex on module paths (the `mixer`s or `ffn`s).
    size: bottleneck M.
    activation: a key of `activations.ACTIVATIONS`.
    init_range: standard deviation of the fresh kernels; 0 for `up` would make
      the adapter the identity, the papers use a small normal for both.

  Raises:
    ValueError: an argument that isn't what its annotation says.
  """
  act = activations.activation(activation)
  normal = jax.nn.initializers.normal(init_range)

  def call(site: Site, next_fn, *args, **kwargs):
    f = next_fn(*args, **kwargs)
    down, up = leaves(site, f.shape[-1], size, normal, normal)
    return f + bottleneck(f, down, up, act)

  return Plug(pattern, call)


def last_site(config: Any) -> str:
  """Returns the pattern of where Pfeiffer's adapter sits, for `placed`.

  Args:
    config: sizes and parts of the model.
  """
  return paths.BLOCK if config.block == 'pre' else paths.of('ln_ffn')


def placed(
  next_fn: Callable[..., jax.Array],
  change: Callable[[jax.Array], jax.Array],
  x: jax.Array,
  *rest: Any,
) -> jax.Array:
  """Returns what an adapter behind the feed-forward part makes of a block.

  LN(x + change(LN(x))) with the LayerNorm that ends a block; where norms stand
  before the sublayers none does, and y + change(y) with the block's output y.

  Args:
    next_fn: the LayerNorm, called on states alone, or the block, called on the
      context too.
    change: what is added, of states (..., D).
    x, *rest: its arguments.
  """
  h = next_fn(x, *rest)
  return h + change(h) if rest else next_fn(x + change(h))


@checked
def pfeiffer_plug(
  pattern: str, size: Count, activation: Activation, init_range: Positive
) -> Plug:
  """Pfeiffer: the LayerNorm's input x = f + a becomes x + U(LN(x)).

  Args:
    pattern: full-match regex on module paths, from `last_site`.
    size, activation, init_range: see `plug`.

  Raises:
    ValueError: an argument that isn't what its annotation says.
  """
  act = activations.activation(activation)
  normal = jax.nn.initializers.normal(init_range)

  def call(site: Site, next_fn, x, *rest):
    down, up = leaves(site, x.shape[-1], size, normal, normal)
    return placed(next_fn, lambda h: bottleneck(h, down, up, act), x, *rest)

  return Plug(pattern, call)


@checked
def parallel_plug(
  pattern: str, size: Count, activation: Activation, factor: Positive
) -> Plug:
  """Parallel: adds s U(a) to the output of a sublayer with the input a.

  W_down is drawn from U(-1/sqrt(D), 1/sqrt(D)), W_up is zero: fresh adapters
  are the identity.

  Args:
    pattern: full-match regex on module paths (the `ffn`s).
    size, activation: see `plug`.
    factor: s.

  Raises:
    ValueError: an argument that isn't what its annotation says.
  """
  act = activations.activation(activation)
  zeros = jax.nn.initializers.zeros

  def call(site: Site, next_fn, a, *args, **kwargs):
    f = next_fn(a, *args, **kwargs)
    down, up = leaves(site, a.shape[-1], size, lora.initial_a, zeros)
    return f + factor * bottleneck(a, down, up, act)

  return Plug(pattern, call)


@checked
def bottleneck_size(width: Count, reduction: Count, size: Whole = 0) -> int:
  """Returns M: `size`, or where that is 0 the width over the reduction.

  Raises:
    ValueError: a reduction above the width, or an argument that isn't what its
      annotation says.
  """
  if not size and reduction > width:
    raise ValueError(
      f'adapter reduction={reduction}: expected 1 to the width {width}'
    )
  return size or width // reduction
