"""The updates of a step: one, or an objective's phases in their order.

Of one update nothing is wrapped: its program and its optimizer's state are
those of a run without phases. Phases have each an optimizer of their own, whose
state of the leaves that they move stands under their name; so an optimizer
clips, counts and averages what its phase moves, and nothing else. DeBERTaV3's
generator and discriminator (He et al. 2021, arXiv 2111.09543) take turns like
that, the second one seeing the embeddings that the first one has moved; PPO
repeats one.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import optax

from glue_jax import tree
from glue_jax.method import Method, Objective, Phase


@dataclasses.dataclass(frozen=True)
class Optimizers:
  """One optimizer a phase; begun and kept like a single one.

  Attributes:
    phases: of the objective.
    by_phase: {name: its optimizer}.
  """

  phases: Mapping[str, Phase]
  by_phase: Mapping[str, optax.GradientTransformation]

  def init(self, params: tree.Tree) -> dict[str, Any]:
    """Returns {phase: its optimizer's state of the leaves that it moves}."""
    return {
      name: tx.init(moved(self.phases[name], params)[0])
      for name, tx in self.by_phase.items()
    }


def moved(phase: Phase, params: tree.Tree) -> tuple[tree.Tree, tree.Tree]:
  """Splits what learns into what the phase moves and the others."""
  return tree.partition(
    params, lambda name: any(tree.matches(p, name) for p in phase.learns)
  )


def optimizers(
  objective: Objective,
  settings: Mapping[str, Mapping[str, Any]],
  method: Method,
  names: Collection[str],
  make: Callable[..., tuple[optax.GradientTransformation, Callable]],
) -> tuple[Optimizers, dict[str, Callable]]:
  """Makes the optimizers of an objective's phases.

  Args:
    objective: with phases.
    settings: {phase: changes of the optimizer's section}.
    method: the composed one.
    names: all of the model's leaves.
    make: (updates a step, **changes) -> (optimizer, step -> rate).

  Returns:
    (optimizers, {phase + '/lr': step -> rate}).

  Raises:
    ValueError: settings of a phase that there isn't, a pattern that matches no
      leaf, a leaf that learns in no phase, or a method that wraps the one loss
      or the one optimizer.
  """
  phases = objective.phases
  unknown = sorted(settings.keys() - phases.keys())
  if unknown:
    raise ValueError(
      f'config.optimizer.phases has {unknown}; the phases of the objective are '
      f'{list(phases)}'
    )
  wraps = [f for f in ('wrap_loss', 'wrap_tx') if getattr(method, f)]
  if wraps:
    raise ValueError(
      f'{method.name} ({", ".join(wraps)}) works on one loss and one '
      f'optimizer; each of the phases {list(phases)} has its own: leave that '
      'method out'
    )
  moves = [tree.match(phase.learns, names) for phase in phases.values()]
  left = sorted(method.learns(names, {}) - set().union(*moves))
  if left:
    raise ValueError(
      f'{left[:3]} and others, {len(left)} leaves in all, learn in none of the '
      f'phases {list(phases)}; name them in `learns` of one, or freeze them'
    )
  made = {
    name: make(updates=phase.repeat, **settings.get(name, {}))
    for name, phase in phases.items()
  }
  by_phase = {name: tx for name, (tx, _) in made.items()}
  rates = {f'{name}/lr': rate for name, (_, rate) in made.items()}
  return Optimizers(phases, by_phase), rates
