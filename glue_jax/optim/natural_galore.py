"""Natural GaLore, arXiv 2410.16029; code selfsupervised-ai/Natural-GaLore.

Before Adam sees it, the projected gradient x is multiplied by the inverse of
the damped empirical Fisher of the last s projected gradients H (k, s), of which
x is the newest: x~ = (lambda I + H H^T)^-1 x. The code's Woodbury form is
x / lambda - H z / lambda^2, which cancels where |x|^2 >> lambda. As x is the
column e of H, the same is H (lambda I + H^T H)^-1 e: no cancellation, and one
pass over H less.

The Fisher of the paper has a factor 1 / h that its code hasn't; the code is
followed, as for the projection of both sides (projection='full').
"""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from glue_jax import tree
from glue_jax.config.ranges import Count, Dtype, Positive, Rate, checked
from glue_jax.optim import adam as moments
from glue_jax.optim import galore
from glue_jax.optim.projection import Projection, Solver


class FisherState(NamedTuple):
  """State of `scale_by_fisher`.

  Attributes:
    count: finished steps, () int32.
    history: {name: (s, ..., m, n)}, the last gradients in a ring; empty places
      are zeros, which change nothing.
    gram: {name: (..., s, s)}, H^T H; each step renews a row and a column.
  """

  count: jax.Array
  history: Any
  gram: Any


@checked
def scale_by_fisher(
  history: Count = 20,
  damping: Positive = 1e-3,
  relative_damping: bool = False,
) -> optax.GradientTransformation:
  """Returns x -> (lambda I + H H^T)^-1 x for each matrix of a tree, float32.

  Args:
    history: s, gradients that make up the Fisher, the current one included.
    damping: lambda. It is absolute in the paper, so the result depends on the
      gradient's scale.
    relative_damping: lambda is `damping` times the mean squared norm of the
      gradients in the history.

  Raises:
    ValueError: an argument that isn't what its annotation says.
  """

  def init(params):
    def zeros(shape):
      return jnp.zeros(shape, jnp.float32)

    return FisherState(
      count=jnp.zeros((), jnp.int32),
      history=jax.tree.map(lambda p: zeros((history, *p.shape)), params),
      gram=jax.tree.map(
        lambda p: zeros((*p.shape[:-2], history, history)), params
      ),
    )

  def update(updates, state, params=None):
    del params
    place = state.count % history
    newest = jnp.arange(history) == place
    filled = jnp.minimum(state.count + 1, history)
    grads, structure = jax.tree.flatten(updates)
    new = []
    for x, past, gram in zip(
      grads,
      structure.flatten_up_to(state.history),
      structure.flatten_up_to(state.gram),
      strict=True,
    ):
      past = past.at[place].set(x.astype(jnp.float32))
      row = jnp.einsum('s...mn,...mn->...s', past, past[place])
      gram = jnp.where(newest, row[..., :, None], gram)
      gram = jnp.where(newest[:, None], row[..., None, :], gram)
      mean = jnp.trace(gram, axis1=-2, axis2=-1)[..., None, None] / filled
      shift = damping * mean if relative_damping else damping
      weights = _solve(gram, shift, newest.astype(jnp.float32))
      new.append((jnp.einsum('...s,s...mn->...mn', weights, past), past, gram))
    steps, past, gram = (structure.unflatten(x) for x in zip(*new, strict=True))
    return steps, FisherState(state.count + 1, past, gram)

  return optax.GradientTransformation(init, update)


def scale_by_natural_galore(
  adam: optax.GradientTransformation | None = None,
  *,
  history: Count = 20,
  damping: Positive = 1e-3,
  relative_damping: bool = False,
  projection: Projection = 'full',
  targets: galore.Targets = galore.BLOCKS,
  **kwargs: Any,
) -> optax.GradientTransformation:
  """Returns GaLore whose projected gradients go through the inverse Fisher.

  With one side projected the history has s * r * max(m, n) numbers (or min,
  see `projection.Projection`), more than Adam's moments once r exceeds a tenth
  of the smaller dimension (s = 20); with both it has s * r^2.

  Args:
    adam: what follows; default `moments.scale_by_adam()`.
    history, damping, relative_damping: see `scale_by_fisher`.
    projection, targets, **kwargs: see `galore.scale_by_galore`.
  """
  patterns = [t if isinstance(t, str) else t[0] for t in targets]

  def projected(params):
    return tree.map_named(
      lambda name, _: any(tree.matches(p, name) for p in patterns), params
    )

  fisher = scale_by_fisher(history, damping, relative_damping)
  return galore.scale_by_galore(
    optax.chain(
      optax.masked(fisher, projected), adam or moments.scale_by_adam()
    ),
    projection=projection,
    targets=targets,
    **kwargs,
  )


def core(
  *,
  b1: Rate = 0.9,
  b2: Rate = 0.999,
  eps: Positive = 1e-6,
  bits: Literal[8, 32] = 32,
  dtype: Dtype = 'float32',
  rank: Count = 128,
  update_proj_gap: Count = 200,
  scale: Positive = 0.25,
  projection: Projection = 'full',
  solver: Solver = 'svd',
  targets: galore.Targets = galore.BLOCKS,
  history: Count = 20,
  damping: Positive = 1e-3,
  relative_damping: bool = False,
) -> optax.GradientTransformation:
  """Returns what a config names `natural_galore`."""
  adam = moments.scale_by_adam(b1, b2, eps, bits, dtype)
  return scale_by_natural_galore(
    adam,
    history=history,
    damping=damping,
    relative_damping=relative_damping,
    projection=projection,
    targets=targets,
    rank=rank,
    update_proj_gap=update_proj_gap,
    scale=scale,
    solver=solver,
  )


def _solve(gram, shift, e):
  """Returns (shift I + gram)^-1 e of matrices (..., s, s), by Cholesky.

  Nearly equal gradients make `gram` singular to within its rounding. A shift
  below that rounding says nothing and could leave no factorisation, so it is
  raised to it: for s = 20 where lambda < 1e-5 of the largest |x|^2.
  """
  size = gram.shape[-1]
  largest = jnp.max(jnp.abs(gram), (-2, -1), keepdims=True)
  floor = 4 * size * jnp.finfo(gram.dtype).eps * largest
  factor = jnp.linalg.cholesky(gram + jnp.maximum(shift, floor) * jnp.eye(size))
  solve = functools.partial(
    jax.lax.linalg.triangular_solve, factor, left_side=True, lower=True
  )
  e = jnp.broadcast_to(e, gram.shape[:-1])[..., None]
  return solve(solve(e), transpose_a=True)[..., 0]
