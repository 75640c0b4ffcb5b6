"""Several methods as one: in which order they act."""

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.method import Method
from glue_jax.training.compose import compose
from tests.conftest import jit, tiny_config
from tests.law_cases import Case


def test_composition_order_and_collisions():
  double = Method('double', reparam=lambda p, *a: 2 * p, export=lambda p: 2 * p)
  add = Method('add', reparam=lambda p, *a: p + 1, export=lambda p: p + 1)
  both = compose([double, add])
  assert both.reparam(3, 0, None) == 7
  assert both.export(3) == 7
  with pytest.raises(ValueError, match=r"twice: \['add'\]"):
    compose([add, add])

  def teacher(rng):
    return {'teacher': {}}

  pair = [Method(n, init_frozen=teacher) for n in 'ab']
  with pytest.raises(ValueError, match="b and a both keep .* 'teacher'"):
    compose(pair).init_frozen(jax.random.key(0))


def test_without_an_adapter_is_the_base_bit_for_bit():
  case = Case('lora', tiny_config(methods=[('lora', dict(rank=2))]))
  parts = case.parts
  state, _ = case.step(case.start(), 2)
  params = state.all_params()
  base, _ = tree.partition(parts.params, lambda name: name in parts.names)
  rows = parts.bundle.train.batch(0)
  reference = parts.apply.without('lora')
  hidden = {
    name: np.asarray(
      jit(lambda p, b, a=apply: a(p, b)['last_hidden'])(tree_, rows)
    )
    for name, apply, tree_ in (
      ('base', parts.plain, base),
      ('reference', reference, params),
      ('tuned', parts.apply, params),
    )
  }
  np.testing.assert_array_equal(hidden['reference'], hidden['base'])
  assert not np.array_equal(hidden['tuned'], hidden['base'])
  with pytest.raises(ValueError, match=r"no plug is of 'ia3'.*\['lora'\]"):
    parts.apply.without('ia3')
