"""Which leaves learn: the union of what methods train, or a refusal."""

import numpy as np
import pytest

from glue_jax import tree
from glue_jax.method import Method, matching
from glue_jax.training import learning
from glue_jax.training.learning import Leaves

MODEL = frozenset(['low/bias', 'low/kernel', 'top/kernel', 'head/kernel'])
BIASES = Method('biases', learns=matching('.*bias', 'head/.*'))
FACTORS = Method('factors', learns=matching('.*/a', 'head/.*'))
PACKED = Method('packed', holds=matching('.*/codes'))


def learns(methods, owners, variant=None):
  names = MODEL | owners.keys()
  joined = learning.joined(methods, Leaves(MODEL, owners, {}))
  return joined(names, variant or {})


def test_the_union_learns_and_the_rest_of_the_model_stays():
  owners = {'low/a': 'factors', 'low/a_bias': 'factors'}
  both = learns([BIASES, FACTORS], owners)
  # No method decides on another's leaves: a_bias matches a pattern of biases.
  assert both == {'low/bias', 'low/a', 'head/kernel'}
  assert learns([], {}) == MODEL


def test_a_method_without_a_say_trains_its_own_leaves():
  gates = Method('gates')
  assert learns([gates], {'low/gate': 'gates'}) == MODEL | {'low/gate'}
  assert learns([gates, BIASES], {'low/gate': 'gates'}) == {
    'low/gate', 'low/bias', 'head/kernel',
  }  # fmt: skip


def test_a_tied_head_has_no_leaf_and_other_patterns_must_match():
  tied = ['low/bias', 'low/kernel', 'low/a']
  assert BIASES.learns(tied, {}) == {'low/bias'}
  for wrong in ('high/.*', 'head/out/.*'):
    with pytest.raises(ValueError, match='matches none of these names'):
      matching('.*bias', wrong)(tied, {})


def test_what_is_held_does_not_learn():
  owners = {'low/codes': 'packed'}
  assert learns([PACKED], owners) == MODEL
  late = Method(
    'late', holds=lambda names, v: set() if v else matching('low.*')(names, v)
  )
  assert learns([late], {}) == {'top/kernel', 'head/kernel'}
  assert learns([late], {}, {'now': 1}) == MODEL


def test_parameters_are_counted_once_by_who_trains_them():
  owners = {'low/a': 'factors', 'low/codes': 'packed'}
  names = sorted(MODEL | owners.keys())
  params = tree.unflatten({n: np.zeros(i + 1) for i, n in enumerate(names)})
  methods = [BIASES, FACTORS, PACKED]
  sizes = {n: x.size for n, x in tree.flatten(params).items()}
  assert learning.sizes(methods, Leaves(MODEL, owners, {}), params) == {
    'biases': sizes['low/bias'],
    'biases+factors': sizes['head/kernel'],
    'factors': sizes['low/a'],
  }
  model = learning.sizes([], Leaves(MODEL, {}, {}), params)
  assert model == {'model': sum(sizes[n] for n in MODEL)}


ALL = Method('all', turns=set)
TOP = Method('top', learns=matching('top.*'))
LATER = Method('later', turns=set, holds=matching('low.*'))
WITHOUT_A = Method('without_a', forbids=('.*/a',))


@pytest.mark.parametrize(
  'methods, replaced, message',
  [
    ([TOP, PACKED], {'top/kernel': 'packed'}, r'top trains 1 leaves \(top/ker'
     r'nel\), but packed puts others in their place'),
    ([BIASES, LATER], {}, r'biases .*\(low/bias\), but later keeps them'),
    ([FACTORS, ALL], {}, r'all trains 3 .*low/bias.*, but factors leaves them'),
    ([ALL, LATER], {}, r'all trains 2 .*low/kernel.*, but later keeps them'),
    ([ALL, Method('two', turns=set)], {}, 'all trains 4 .*two has turns for'),
    ([FACTORS, WITHOUT_A], {}, 'without_a does not work with factors.* low/a;'),
  ],
)  # fmt: skip
def test_what_one_undoes_of_the_other_is_refused(methods, replaced, message):
  owners = {'low/a': 'factors'} if FACTORS in methods else {}
  owners |= {'low/codes': 'packed'} if PACKED in methods else {}
  with pytest.raises(ValueError, match=message):
    learning.check(methods, Leaves(MODEL, owners, replaced))
