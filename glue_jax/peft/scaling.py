"""ScaLearn: the outputs of frozen source adapters, scaled and added.

Frohmann et al. 2023, arXiv 2310.01217 (official code CPJKU/ScaLearn 81d77ea).
With x the input of a block's last LayerNorm LN, h = LN(x) and u_t the output of
adapter t, without residual: LN(x + sum_t omega_t u_t(h)). omega is (n, D)
(ScaLearn) or (n, 1) (Uniform), of each layer or shared by all (++). Free real
numbers: no softmax, no sum to one.

The sum is taken over kernels, not activations: omega scales the rows of W_up
first, so nothing of n times the activations' size is ever there, and what is
left is one adapter of width n M.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import Rate, checked
from glue_jax.layers.dropout import dropout as drop
from glue_jax.peft import adapter
from glue_jax.peft.adapter import Linear
from glue_jax.peft.source_adapters import Sources, Stacked
from glue_jax.plugs import Plug, Site

LEAF = 'scaling_omega'
# The official code's ablations: omega / sum_t omega, softmax over t.
Constraint = Literal['', 'mean', 'softmax']


def wide(stacked: Stacked, omega: jax.Array) -> tuple[Linear, Linear]:
  """Returns (down, up) of the one adapter that gives sum_t omega_t u_t.

  Args:
    stacked: n adapters.
    omega: (n, D) or (n, 1).
  """
  kernel, bias = stacked.up
  scaled = kernel * omega[:, None, :]
  up = (scaled.reshape(-1, kernel.shape[-1]), (bias * omega).sum(0))
  return stacked.down, up


def constrained(omega: jax.Array, constraint: str) -> jax.Array:
  """Returns omega, or one of the ablations of it, see `Constraint`."""
  if constraint == 'mean':
    return omega / omega.sum(0)
  return jax.nn.softmax(omega, 0) if constraint == 'softmax' else omega


def dropped(omega: jax.Array, rate: float, rng: jax.Array) -> jax.Array:
  """Drops entries of omega itself (a whole adapter where it is (n, 1))."""
  return drop(omega, rng, rate)


def initial(
  rng: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32
) -> jax.Array:
  """Draws omega (n, ...) from N(2 / n, 0.001^2)."""
  return 2 / shape[0] + 1e-3 * jax.random.normal(rng, shape, dtype)


@checked
def plugs(
  pattern: str,
  sources: Sources,
  *,
  uniform: bool,
  dropout: Rate,
  constraint: Constraint = '',
  shared_at: str = '',
) -> tuple[Plug, ...]:
  """Returns the plugs of one form.

  The leaf scaling_omega is at every match, or once at `shared_at`.

  Args:
    pattern: full-match regex on module paths, from `adapter.last_site`.
    sources: the adapters.
    uniform: one coefficient an adapter instead of one a dimension.
    dropout: rate on omega while training; each layer draws its own mask.
    constraint: of the coefficients, see `Constraint`.
    shared_at: path of a module that runs all matches (the stack); '' = a layer
      has its own omega.

  Raises:
    ValueError: an argument that isn't what its annotation says.
  """
  shape = (sources.count, 1 if uniform else sources.width)
  # The shared leaf, from the call of its module to those inside it.
  held: list[jax.Array] = []

  def share(site: Site, next_fn, *args, **kwargs):
    held.append(site.param(LEAF, initial, shape))
    try:
      return next_fn(*args, **kwargs)
    finally:
      held.pop()

  def scale(site: Site, next_fn, x, *rest):
    stacked = sources.leaves(site)
    omega = held[-1] if shared_at else site.param(LEAF, initial, shape)
    omega = constrained(omega, constraint)
    if dropout and site.train:
      omega = dropped(omega, dropout, site.rng())
    down, up = wide(stacked, omega)

    def scaled(h):
      return adapter.bottleneck(h, down, up, sources.activation)

    return adapter.placed(next_fn, scaled, x, *rest)

  inner = Plug(pattern, scale)
  return (Plug(shared_at, share), inner) if shared_at else (inner,)
