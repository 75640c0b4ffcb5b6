"""The optimizer from a config: an optax chain with groups by name pattern."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import optax

from glue_jax import tree
from glue_jax.config import config
from glue_jax.config.ranges import (
  Count,
  NonNegative,
  OneOf,
  Positive,
  Share,
  checked,
)
from glue_jax.optim import (
  cores,
  galore,
  natural_galore,
  per_leaf_count,
  schedules,
)
from glue_jax.optim.density import add_density_gradient
from glue_jax.optim.layer_decay import Decay, factors

# What turns a gradient into a direction; the keys are optimizer names.
CORES: dict[str, Callable[..., optax.GradientTransformation]] = {
  'adamw': cores.adam,
  'adam': cores.adam,
  'bert_adam': cores.bert_adam,
  'lamb': cores.lamb,
  'sgd': cores.sgd,
  'lion': cores.lion,
  'adafactor': cores.adafactor,
  'galore': galore.core,
  'natural_galore': natural_galore.core,
}

# (pattern of leaf names, what is theirs).
Group = tuple[str, Mapping[Literal['lr', 'weight_decay'], NonNegative]]

# Here the decay is part of the gradient (L2), as Adam without W had it.
COUPLED = ('adam',)

# Here a leaf's step, decay included, is times |weights| / |step| (1 where one
# of them is 0), but for `NO_DECAY`: LAMB, algorithm 2 and ALBERT's code.
ADAPTED = ('lamb',)

# Biases and the scales of norms are never decayed (BERT, appendix A), nor are
# the decays, skips and start of a state-space layer (Mamba's code).
NO_DECAY = (
  r'(.*/)?bias',
  r'(.*/)?(ln[^/]*|norm)/scale',
  r'(.*/)?(A_log|D|dt_bias|init_states)',
)


@checked
def make(
  *,
  total_steps: Count,
  names: Iterable[str],
  leaf_states: bool = False,
  updates: Count = 1,
  companions: Collection[str] = (),
  name: Annotated[str, OneOf(CORES)] = 'adamw',
  lr: NonNegative = 5e-5,
  schedule: schedules.Shape = 'linear',
  warmup: NonNegative = 0.1,
  final: Share = 0.0,
  power: Positive = 1.0,
  weight_decay: NonNegative = 0.01,
  clip_norm: Positive | None = 1.0,
  density: NonNegative = 0.0,
  layer_decay: Decay = 1.0,
  groups: Sequence[Group] = (),
  args: Mapping[str, Any] | None = None,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
  """Makes the optimizer.

  Args:
    total_steps: of the run.
    names: all leaf names of the model, to check the groups' patterns.
    leaf_states: give the core a state for each leaf, see
      optim/per_leaf_count.py.
    companions: names of the networks beside the model, whose depth is none of
      `layer_decay`'s.
    updates: in a row that a step makes, all with that step's rate.
    name: a key of `CORES`.
    lr, schedule, warmup, final, power: see `schedules.make`.
    weight_decay: decoupled (except `COUPLED`); not applied to `NO_DECAY`.
    clip_norm: largest global norm of the gradient, None for no clipping.
    density: weight of the density penalty whose gradient is added here, after
      the clipping, instead of in the loss; see optim/density.py. 0 has none.
    layer_decay: factor of the rate from one block to the one below, down from
      the head; see optim/layer_decay.py. 1 = one rate for all.
    groups: ordered (pattern, {'lr': factor, 'weight_decay': value}); the first
      pattern that matches a leaf's whole name holds; 'lr' is times the factor
      of `layer_decay`.
    args: more keyword arguments of the core (b1, b2, eps, ...); the patterns
      of its `targets` are checked like those of the groups.

  Returns:
    (transformation, step -> learning rate).

  Raises:
    ValueError: an argument that isn't what its annotation says, one that the
      core doesn't take, or a pattern that matches no leaf.
  """
  names = list(names)
  tree.match([pattern for pattern, _ in groups], names)

  def group(leaf):
    return tree.first_match(groups, leaf, {})

  def plain(leaf):
    return any(tree.matches(p, leaf) for p in NO_DECAY)

  def decay(leaf):
    own = 0.0 if plain(leaf) else weight_decay
    return group(leaf).get('weight_decay', own)

  rate = schedules.make(lr, total_steps, schedule, warmup, final, power)
  parts = [] if clip_norm is None else [optax.clip_by_global_norm(clip_norm)]
  if density:
    parts.append(add_density_gradient(density))
  args = args or {}
  for target in args.get('targets', ()):
    tree.match([target if isinstance(target, str) else target[0]], names)
  core = make_core(name, args)
  core = [per_leaf_count.by_leaf(core) if leaf_states else core]
  decays = _by_value(optax.add_decayed_weights, decay, names, neutral=0.0)
  parts += [*decays, *core] if name in COUPLED else [*core, *decays]
  if name in ADAPTED:
    parts.append(
      optax.masked(
        optax.scale_by_trust_ratio(),
        lambda t: tree.map_named(lambda leaf, _: not plain(leaf), t),
      )
    )

  depth = factors(names, layer_decay, companions)

  def factor(leaf):
    return group(leaf).get('lr', 1.0) * depth[leaf]

  parts += _by_value(_scale, factor, names, neutral=1.0)

  def of_update(count):
    return rate(count // updates)

  parts.append(
    optax.scale_by_learning_rate(rate if updates == 1 else of_update)
  )
  return optax.chain(*parts), rate


def make_core(
  name: str, args: Mapping[str, Any]
) -> optax.GradientTransformation:
  """Makes what turns a gradient into a direction.

  Args:
    name: a key of `CORES`.
    args: of it.

  Raises:
    ValueError: an argument that it doesn't take, or not what it takes.
  """
  where = 'optimizer.args'
  arguments = config.bind(CORES[name], args, where)
  try:
    return CORES[name](**arguments)
  except ValueError as error:  # of a target's own settings
    raise ValueError(f'config.{where}: {error}') from None


def _by_value(transform, value_of, names, neutral):
  """One masked transform for each value that some leaf has."""
  values = sorted({value_of(name) for name in names} - {neutral})
  return [
    transform(
      value,
      lambda t, v=value: tree.map_named(lambda name, _: value_of(name) == v, t),
    )
    for value in values
  ]


def _scale(factor, mask):
  return optax.masked(optax.scale(factor), mask)
