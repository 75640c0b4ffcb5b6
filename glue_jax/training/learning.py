"""Which leaves learn, and which method has a say.

A method names what it trains (`learns`), of the model's leaves and its own. All
of that learns, whatever other methods train, and the rest of the model stays as
it is; if no method names any, the whole model learns. A method may also keep
leaves from learning (`holds`), and let some learn in turn (`turns`). Where one
method trains what another replaces, holds or leaves as it is, the pair is
refused: nothing is silently left out.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from jax.sharding import Mesh

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.method import Host, Method
from glue_jax.training.state import TrainState, resplit


@dataclasses.dataclass(frozen=True)
class Leaves:
  """Whose the leaves are, once every method has added its own.

  Attributes:
    model: names of the plain model's.
    owners: {new leaf: name of the method that added it}.
    replaced: {leaf of the model that is gone: name of the method that put
      others in its place}.
  """

  model: frozenset[str]
  owners: dict[str, str]
  replaced: dict[str, str]

  def seen_by(self, method: str) -> list[str]:
    """Returns the names that the method decides on, in order."""
    own = {name for name, owner in self.owners.items() if owner == method}
    return sorted(self.model | own)


def trainers(
  methods: Sequence[Method], leaves: Leaves, variant: Mapping[str, Any]
) -> dict[str, list[str]]:
  """Returns {leaf: names of the methods that train it}, held ones included.

  Leaves of a model that no method says anything about learn: [].
  """
  trained: dict[str, list[str]] = {}
  for method in methods:
    names = leaves.seen_by(method.name)
    if method.learns:
      chosen = method.learns(names, variant)
    else:
      chosen = set(names) - leaves.model
    for name in sorted(chosen):
      trained.setdefault(name, []).append(method.name)
  if not any(m.learns for m in methods):
    trained |= {name: [] for name in leaves.model}
  return trained


def joined(methods: Sequence[Method], leaves: Leaves) -> Callable:
  """Returns `learns` of all of them: (names, variant) -> those that learn."""

  def learns(names, variant):
    trained = trainers(methods, leaves, variant)
    held = set().union(*_held(methods, leaves, variant).values())
    return trained.keys() & set(names) - held

  return learns


def relabel(
  host: Host, method: Method, tx: Any, rules: Sequence, mesh: Mesh
) -> TrainState:
  """Moves leaves between learning and frozen if the variant changed.

  Args:
    host: of the run; notes the variant that its state is split by.
    method: the composed one.
    tx: the optimizer.
    rules, mesh: where leaves lie.

  Returns:
    the state.
  """
  chosen = tuple(sorted(host.variant.items()))
  if chosen == host.labelled:
    return host.state
  host.labelled = chosen
  names = tree.flatten(host.state.all_params())
  learning = method.learns(names, host.variant)
  return sharding.put_state(resplit(host.state, learning, tx), rules, mesh)


def sizes(
  methods: Sequence[Method], leaves: Leaves, params: tree.Tree
) -> dict[str, int]:
  """Returns {names of methods, joined by '+': parameters that they train}.

  Every parameter that learns at some time is counted once; 'model' has those
  that no method names.
  """
  flat = tree.flatten(params)
  held = _held([m for m in methods if not m.turns], leaves, {})
  never = set().union(*held.values())
  counts: dict[str, int] = {}
  for name, who in trainers(methods, leaves, {}).items():
    if name in flat and name not in never:
      key = '+'.join(who) or 'model'
      counts[key] = counts.get(key, 0) + flat[name].size
  return counts


def check(methods: Sequence[Method], leaves: Leaves) -> None:
  """Refuses two methods of which one undoes what the other trains.

  Raises:
    ValueError: names both, and the leaves.
  """
  for method in methods:
    _check_forbidden(method, leaves)
  trained = trainers(methods, leaves, {})
  held = _held(methods, leaves, {})
  turns = {m.name: m.turns(leaves.seen_by(m.name)) for m in methods if m.turns}
  for one in methods:
    wanted = {name for name, who in trained.items() if one.name in who}
    wanted |= turns.get(one.name, set())
    for other in (m.name for m in methods if m is not one):
      gone = {name for name, who in leaves.replaced.items() if who == other}
      _refuse(one.name, wanted & gone, f'{other} puts others in their place')
      _refuse(
        one.name,
        wanted & held.get(other, set()),
        f'{other} keeps them from learning',
      )
      if one.turns:
        _refuse(
          one.name,
          wanted & turns.get(other, set()),
          f'{other} has turns for them too',
        )
  choosers = ' and '.join(m.name for m in methods if m.learns)
  for name, names in turns.items():
    left = names & leaves.model - trained.keys()
    _refuse(name, left, f'{choosers} leaves them as they are')


def _held(methods, leaves, variant) -> dict[str, set[str]]:
  """{method: names of the leaves that it keeps from learning}."""
  return {
    m.name: m.holds(leaves.seen_by(m.name), variant) for m in methods if m.holds
  }


def _check_forbidden(method, leaves):
  for name, owner in leaves.owners.items():
    hit = any(tree.matches(pattern, name) for pattern in method.forbids)
    if hit and owner != method.name:
      raise ValueError(
        f'{method.name} does not work with {owner}, which adds {name}; leave '
        'one of them out'
      )


def _refuse(method: str, names: Collection[str], reason: str) -> None:
  if names:
    first = ', '.join(sorted(names)[:3])
    more = ', ...' if len(names) > 3 else ''
    raise ValueError(
      f'{method} trains {len(names)} leaves ({first}{more}), but {reason}; '
      'leave one of the two out'
    )
