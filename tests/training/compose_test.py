"""Several methods as one: who decides on a leaf, in which order they act."""

import jax
import jax.numpy as jnp
import pytest

from glue_jax import tree
from glue_jax.method import Method, freeze, train_only
from glue_jax.training.compose import compose


def test_composed_labels_need_all_votes_but_owners_decide_on_their_own():
  params = {'body': jnp.ones(1), 'head': jnp.ones(1), 'a': {'x': jnp.ones(1)}}
  own = Method('own', labels=train_only('a/x', 'head'))
  other = Method('other', labels=freeze('a/x', 'body'))
  labels = compose([own, other], {'a/x': 'own'}).labels(params, {})
  assert tree.flatten(labels) == {
    'body': 'frozen',
    'head': 'train',
    'a/x': 'train',
  }


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
  with pytest.raises(ValueError, match="b: init_frozen names .'teacher'"):
    compose(pair).init_frozen(jax.random.key(0))
