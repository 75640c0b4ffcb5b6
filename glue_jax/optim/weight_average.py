"""Exponential moving average of the parameters.

Polyak and Juditsky 1992, as it is usual since: a_t = d_t a_{t-1} + (1 - d_t)
p_t, p_t the parameters after t updates and a_0 = p_0. With a warm-up
d_t = min(d, (1 + t) / (10 + t)), as TensorFlow's ExponentialMovingAverage with
`num_updates` (timm has one of its own form), so that the start is forgotten
soon; nothing is divided by 1 - d^t, since the average starts at p_0, not at 0.

The average is kept in the optimizer's state, for the leaves that learn alone.
An update is given the parameters before it; the newest ones are folded in when
the average is read. So it is that of the real parameters, whatever stands
before or behind it in the chain.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from glue_jax import tree

_COUNT, _AVERAGE = 'ema_count', 'ema/'


class Average(NamedTuple):
  """State of `track`.

  Attributes:
    ema_count: updates so far, () int32.
    ema: average of the parameters before the last update, in float32 at least.
  """

  ema_count: jax.Array
  ema: Any


def track(decay: float, warmup: bool) -> optax.GradientTransformation:
  """Passes updates on and averages the parameters that they are made for.

  Args:
    decay: d.
    warmup: see the file's header.
  """

  def init(params):
    return Average(jnp.zeros((), jnp.int32), jax.tree.map(_wide, params))

  def update(updates, state, params=None):
    share = _share(state.ema_count, decay, warmup)
    params = jax.tree.map(_wide, params)
    average = optax.incremental_update(params, state.ema, share)
    return updates, Average(state.ema_count + 1, average)

  return optax.GradientTransformation(init, update)


def averaged(
  params: tree.Tree, slots: Mapping[str, Any], decay: float, warmup: bool
) -> tree.Tree:
  """Returns the parameters with those averaged in place of those that learn.

  Args:
    params: all of them.
    slots: {path: leaf} of the optimizer's state (`tree.paths`); leaves that it
      has no average of stay as they are.
    decay, warmup: as of `track`.
  """
  counts = [x for path, x in slots.items() if _last(path) == _COUNT]
  found = {
    path.rpartition(f'/{_AVERAGE}')[2].removeprefix(_AVERAGE): x
    for path, x in slots.items()
    if f'/{path}'.find(f'/{_AVERAGE}') >= 0
  }
  if not counts:
    return params
  share = _share(counts[0], decay, warmup)

  def pick(name, new):
    if name not in found:
      return new
    mean = optax.incremental_update(_wide(new), found[name], share)
    return mean.astype(new.dtype)

  return tree.map_named(pick, params)


def _share(count, decay, warmup):
  """1 - d_t; 1 at the start, which is its own average."""
  t = count.astype(jnp.float32)
  slow = jnp.minimum(decay, (1 + t) / (10 + t)) if warmup else decay
  return 1 - jnp.where(count > 0, slow, 0.0)


def _wide(x):
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _last(path):
  return path.rpartition('/')[2]
