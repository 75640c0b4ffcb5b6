import numpy as np
import pytest

from glue_jax import tree

TREE = {'a': {'kernel': np.zeros((2, 3)), 'bias': np.zeros(3)}, 'b': np.ones(1)}


def test_names_are_paths_and_unflatten_is_the_inverse():
  flat = tree.flatten(TREE)
  assert list(flat) == ['a/kernel', 'a/bias', 'b']
  assert tree.unflatten(flat)['a']['kernel'] is TREE['a']['kernel']


def test_ambiguous_names_are_refused():
  with pytest.raises(ValueError, match='holds a "/"'):
    tree.flatten({'a/b': 1})
  with pytest.raises(ValueError, match='inside a leaf'):
    tree.unflatten({'a': 1, 'a/b': 2})


def test_patterns_match_whole_names_and_must_match_something():
  assert tree.match(['.*/bias'], tree.flatten(TREE)) == {'a/bias'}
  with pytest.raises(ValueError, match="'bias' matches none.*\n.*a/kernel"):
    tree.match(['bias'], tree.flatten(TREE))
  with pytest.raises(ValueError, match=r'\n  9\n  and 90 more$'):
    tree.match(['bias'], [str(i) for i in range(100)])


def test_first_match_is_ordered():
  rules = [('a/.*', 1), ('.*', 2)]
  assert tree.first_match(rules, 'a/kernel') == 1
  assert tree.first_match(rules, 'b') == 2
  assert tree.first_match(rules[:1], 'b', 'none') == 'none'


def test_partition_and_merge_are_inverse_and_merge_refuses_overlap():
  kept, rest = tree.partition(TREE, lambda name: name.endswith('bias'))
  assert list(tree.flatten(kept)) == ['a/bias']
  merged = tree.flatten(tree.merge(kept, rest))
  assert merged.keys() == tree.flatten(TREE).keys()
  with pytest.raises(ValueError, match='a/bias'):
    tree.merge(TREE, kept)


def test_diff_lists_missing_unexpected_and_other_shapes():
  actual = {'a': {'kernel': np.zeros((3, 2))}, 'c': np.zeros(4)}
  assert tree.diff(TREE, actual).splitlines() == [
    '- a/bias (3,)',
    '! a/kernel found (3, 2), expected (2, 3)',
    '- b (1,)',
    '+ c (4,)',
  ]
  assert tree.diff(TREE, TREE) == ''


def test_sizes():
  assert tree.size(TREE) == 10
  assert tree.nbytes({'x': np.zeros((2, 3), np.int8)}) == 6
