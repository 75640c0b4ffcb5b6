"""Several methods as one: in which order they act."""

import jax
import pytest

from glue_jax.method import Method
from glue_jax.training.compose import compose


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
