"""Which weight tensors learn next: inter-layer scheduling (SlimFit).

Ardakani et al. 2023, arXiv 2305.18513, by its official code. A layer here is
one weight tensor of two or more dimensions, or the scale of one norm. Each has
a priority: how much it moved, relative to its size, in the last step that it
took part in. The layers of lowest priority are frozen.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from glue_jax import tree
from glue_jax.config.ranges import Rate, checked

# Priorities at the start are U(0, 1) times this, above any distance, so that
# every layer learns once before any is compared.
START = 1e10
# In place of a weight that is smaller: the change is taken relative to it.
_SMALLEST = 1e-12
# Distance of a layer that hasn't learnt yet.
_NONE = -1.0
_SCALE = re.compile(r'(.*/)?(ln[^/]*|norm)/scale')


def layers(shapes: Mapping[str, Any]) -> list[str]:
  """Returns the names of the layers that are scheduled, sorted.

  All else (biases) always learns, and so does the weight of a head with one
  output (STS-B).

  Args:
    shapes: {leaf name: anything with a shape}.

  Raises:
    ValueError: there is none.
  """
  names = sorted(
    name
    for name, leaf in shapes.items()
    if (len(leaf.shape) > 1 or _SCALE.fullmatch(name))
    and not (name.startswith('head/') and leaf.shape[-1] == 1)
  )
  if not names:
    raise ValueError(f'no layer to schedule among the leaves {sorted(shapes)}')
  return names


@checked
def frozen_layers(priority: np.ndarray, rate: Rate) -> np.ndarray:
  """Returns bools (n,): the floor(rate n) layers of lowest priority.

  Args:
    priority: (n,). Of equal ones that of lowest index is frozen first.
    rate: freezing rate F; 0 = all layers learn.

  Raises:
    ValueError: a rate outside [0, 1).
  """
  frozen = np.zeros(len(priority), bool)
  order = np.argsort(priority, kind='stable')
  frozen[order[: math.floor(rate * len(priority))]] = True
  return frozen


def rounds(count: int, rate: float) -> int:
  """Returns after how many masks each of `count` layers has learnt once."""
  learning = count - math.floor(rate * count)
  return -(-count // learning)


def nearest(wanted: Sequence[str], known: Sequence[Sequence[str]]) -> int:
  """Returns which known set shares the most layers with the wanted one.

  Args:
    wanted: names of layers.
    known: several such sets, at least one; of equal ones the first is taken.
  """
  shared = [len(set(wanted) & set(names)) for names in known]
  return int(np.argmax(shared))


def distance(old: jax.Array, new: jax.Array) -> jax.Array:
  """Returns the mean of |old - new| / |old| over all entries, ().

  An entry that was zero counts as one of 1e-12 (the code divides by zero).

  Args:
    old, new: a weight tensor before and after a step.
  """
  size = jnp.maximum(jnp.abs(old), _SMALLEST)
  return (jnp.abs(old - new) / size).mean()


class Distances(NamedTuple):
  """State of `track`.

  Attributes:
    distance: {layer: ()}, that of its last step; -1 if it had none.
  """

  distance: Any


def track(names: Sequence[str]) -> optax.GradientTransformation:
  """Passes updates on and remembers each layer's distance.

  It belongs after whatever scales the updates. Only the tensors that the step
  updates are read, and no copy of them is kept.

  Args:
    names: of the layers; other leaves aren't looked at.
  """
  names = frozenset(names)

  def among(params):
    return {n: x for n, x in tree.flatten(params).items() if n in names}

  def init(params):
    flat = {n: jnp.float32(_NONE) for n in among(params)}
    return Distances(tree.unflatten(flat))

  def update(updates, state, params=None):
    del state
    new = tree.flatten(optax.apply_updates(params, updates))
    flat = {n: distance(x, new[n]) for n, x in among(params).items()}
    return updates, Distances(tree.unflatten(flat))

  return optax.GradientTransformation(init, update)


def priorities(
  start: np.ndarray, names: Sequence[str], slots: Mapping[str, Any]
) -> np.ndarray:
  """Returns the priorities (n,) float32.

  Args:
    start: those before any step (n,).
    names: of the layers (n).
    slots: {path: leaf} of the optimizer's state (`tree.paths`), with the
      distances of all layers.
  """
  mark = '/distance/'
  by_name = {p.partition(mark)[2]: x for p, x in slots.items() if mark in p}
  values = jax.device_get([by_name[name] for name in names])
  values = np.asarray(values, np.float32)
  return np.where(values == _NONE, np.asarray(start, np.float32), values)
