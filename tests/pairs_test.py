"""The law of pairs: two methods train what each trains, or are refused.

Every method meets every other one, in the order of their names, or in that
which a refusal asks for. Nothing is compiled: leaves are drawn, and the names
of those that learn are compared.
"""

import dataclasses
import json
from unittest import mock

import jax
import pytest

from glue_jax import tree
from glue_jax.config import config
from glue_jax.devices import sharding
from glue_jax.models import initial
from glue_jax.training import begin, build_data, compose, learning, schema
from glue_jax.weights import source
from tests import laws_test
from tests.conftest import tiny_config
from tests.laws_test import METHODS, teacher  # noqa: F401 (a fixture)

NAMES = sorted(METHODS)


@dataclasses.dataclass
class Joined:
  methods: list
  params: dict
  leaves: learning.Leaves
  learns: set  # names of the leaves that learn at some time


class Bench:
  """A tiny model, built once for all pairs that need the same settings."""

  def __init__(self, needs, folder):
    model = config.override({'model': laws_test.ROOM}, needs)
    self.sections = schema.bind(tiny_config(**model), 4)
    self.parts = begin.build(self.sections, 0)
    self.batch = build_data.example_batch(self.parts.bundle)
    self.params = sharding.gather(self.parts.params, self.parts.mesh)
    self.folder = folder
    self.made, self.joined = {}, {}

  def method(self, name):
    if name not in self.made:
      parts = self.parts
      context = begin.make_context(
        self.sections,
        parts.bundle,
        parts.plain,
        source.Others(parts.bundle, {}),
      )
      make = config.module('methods', name, 'methods').make
      arguments = laws_test.arguments(name, self.folder)
      self.made[name] = make(context, **arguments)
    return self.made[name]

  def alone(self, name):
    if name not in self.joined:
      self.joined[name] = self.join(name)
    return self.joined[name]

  def join_in_any_order(self, *pair):
    """The pair in its order, or in that which a refusal asks for; or None."""
    for names in (pair, pair[::-1]):
      try:
        return self.join(*names)
      except ValueError as error:
        assert all(name in str(error) for name in pair), error
        assert any(x in str(error) for x in ('encoder', 'head/', 'teacher'))
        if ' first' not in str(error):
          return None
    return None

  def join(self, *names):
    methods = [self.method(name) for name in names]
    params, leaves = compose.add_leaves(
      jax.random.key(0), self.params, self.parts.plain, methods, self.batch
    )
    joined = compose.compose(methods, leaves)
    if joined.init_frozen:
      jax.eval_shape(joined.init_frozen, jax.random.key(0))
    flat = tree.flatten(params)
    learns = joined.learns(flat, {})
    for method in methods:
      if method.turns:
        learns |= method.turns(leaves.seen_by(method.name)) & flat.keys()
    return Joined(methods, params, leaves, learns)


@pytest.fixture(scope='module', autouse=True)
def traced_once():
  """A method alone is traced once, not for each of its pairs."""
  trace, seen = initial.trace, {}

  def once(init, rng, batch):
    apply, drawn = init.__self__, jax.random.key_data(rng).tobytes()
    key = init.__name__, apply.model, apply.plugs, drawn
    if key not in seen:
      seen[key] = trace(init, rng, batch)
    return seen[key]

  with mock.patch.object(initial, 'trace', once):
    yield


@pytest.fixture(scope='module')
def bench(teacher):  # noqa: F811
  benches = {}

  def of(needs):
    key = json.dumps(needs, sort_keys=True, default=str)
    if key not in benches:
      benches[key] = Bench(needs, teacher)
    return benches[key]

  return of


def needs_of(*names):
  needs = {}
  for name in names:
    needs = config.override(needs, METHODS[name].needs)
  return needs


@pytest.mark.parametrize('first', NAMES[:-1])
def test_a_pair_trains_what_each_trains_or_is_refused(first, bench):
  for second in NAMES[NAMES.index(first) + 1 :]:
    try:
      pair = bench(needs_of(first, second))
    except ValueError as error:  # no model has what both need
      for name in (first, second):
        settings = METHODS[name].needs['model'].values()
        values = [value for value in settings if isinstance(value, str)]
        assert values and all(value in str(error) for value in values), error
      continue
    joined = pair.join_in_any_order(first, second)
    if joined is None:
      continue
    alone = [pair.alone(name) for name in (first, second)]
    own = set().union(*(one.learns - one.leaves.model for one in alone))
    chosen = [one.learns for one in alone if one.methods[0].learns]
    model = pair.parts.names - joined.leaves.replaced.keys()
    assert joined.learns == own.union(*chosen or [model]), second
    sizes = learning.sizes(joined.methods, joined.leaves, joined.params)
    flat = tree.flatten(joined.params)
    assert sum(sizes.values()) == sum(flat[n].size for n in joined.learns)
