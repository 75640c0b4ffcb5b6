"""Borda counts: the authors' vectors, and what a consensus must satisfy."""

import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from glue_jax.leaderboard.ranking import borda
from tests.golden import best_systems as golden

FOLDER = pathlib.Path(__file__).parents[2] / 'golden_data/best-systems'
TABLES = arrays.arrays(
  np.float64,
  arrays.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7),
  elements=st.integers(-3, 3).map(float),
)


@pytest.mark.parametrize(
  'path', sorted(FOLDER.glob('*.npz')), ids=lambda path: path.stem
)
def test_golden(path):
  with np.load(path, allow_pickle=False) as data:
    names = {name: data[name] for name in data.files}
  for name, ours, theirs, atol, rtol in golden.compare(names, FOLDER):
    np.testing.assert_allclose(ours, theirs, rtol, atol, err_msg=name)


@given(TABLES)
def test_ranks_are_scipys(scores):
  expected = stats.rankdata(scores, axis=0) - 1
  np.testing.assert_array_equal(borda.mid_ranks(scores), expected)


@settings(max_examples=40)
@given(TABLES)
def test_laws_of_the_count(scores):
  size, tasks = scores.shape
  count = borda.borda(scores)
  assert count.sum() == tasks * size * (size - 1) / 2
  # Only order matters, and columns are anonymous.
  np.testing.assert_array_equal(borda.borda(np.exp(scores) * 7 + 1), count)
  np.testing.assert_array_equal(borda.borda(scores[:, ::-1]), count)
  np.testing.assert_array_equal(borda.borda(scores[::-1]), count[::-1])
  np.testing.assert_array_equal(
    borda.borda(np.concatenate([scores, scores], axis=1)), 2 * count
  )
  constant = np.concatenate([scores, np.ones((size, 1))], axis=1)
  places = borda.places(count)
  np.testing.assert_array_equal(borda.places(borda.borda(constant)), places)
  np.testing.assert_array_equal(
    borda.borda(-scores), tasks * (size - 1) - count
  )
  # A copy of a system shares its place; one that wins everywhere is first.
  twins = borda.borda(np.concatenate([scores, scores[:1]]))
  assert twins[0] == twins[-1]
  best = np.concatenate([scores, scores.max(0, keepdims=True) + 1])
  assert borda.places(borda.borda(best))[-1] == 1


def test_one_task_agrees_with_the_mean():
  scores = np.array([[0.3], [0.9], [0.3], [0.5]])
  expected = [3, 1, 3, 2]
  assert borda.places(borda.borda(scores)).tolist() == expected
  assert borda.places(borda.means([scores])).tolist() == expected


def test_two_levels_with_one_instance_are_one_level():
  scores = np.random.default_rng(0).normal(size=(6, 5))
  tasks = [column[:, None] for column in scores.T]
  two, first = borda.two_level(tasks)
  np.testing.assert_array_equal(two, borda.borda(scores))
  np.testing.assert_array_equal(first, borda.mid_ranks(scores))


def test_two_levels_give_a_task_one_vote_whatever_its_size():
  rng = np.random.default_rng(1)
  tasks = [rng.normal(size=(5, k)) for k in (3, 40, 7)]
  more = [np.tile(tasks[0], 9), *tasks[1:]]
  np.testing.assert_array_equal(
    borda.two_level(tasks)[0], borda.two_level(more)[0]
  )
  assert not np.array_equal(borda.one_level(tasks), borda.one_level(more))


def test_instances_outside_swap_the_levels():
  rng = np.random.default_rng(2)
  cube = rng.normal(size=(4, 6, 3))  # system, instance, task
  inside = [cube[:, :, m] for m in range(3)]
  outside = [cube[:, k, :] for k in range(6)]
  np.testing.assert_array_equal(
    borda.two_level(inside, 'instance_outer')[0], borda.two_level(outside)[0]
  )
  with pytest.raises(ValueError, match='same instances in all tasks'):
    borda.two_level([inside[0], inside[1][:, :2]], 'instance_outer')
  with pytest.raises(ValueError, match='metric_outer'):
    borda.two_level(inside, 'outer')


def test_a_missing_score_is_no_zero():
  scores = np.array([[9.0, 9.0, 9.0], [5, np.nan, 5], [1, 1, 1]])
  rank = borda.mid_ranks(scores)
  np.testing.assert_array_equal(rank[:, 1], [2, np.nan, 0])
  # The middle system is in the middle of both columns it has.
  np.testing.assert_array_equal(borda.borda(scores), [6, 3, 0])
  alone = np.array([[np.nan], [4.0], [np.nan]])
  np.testing.assert_array_equal(borda.mid_ranks(alone)[1], [1])
  assert np.isnan(borda.borda(alone)[[0, 2]]).all()
  assert borda.means([scores[:, [1]], scores[:, [0]]])[1] == 5


def test_many_ballots_are_ranked_in_parts(monkeypatch):
  scores = np.random.default_rng(3).integers(0, 4, (5, 50)).astype(float)
  scores[2, 7] = np.nan
  whole = borda.borda(scores), borda.mid_ranks(scores)
  monkeypatch.setattr(borda, '_CHUNK', 8)
  np.testing.assert_array_equal(borda.borda(scores), whole[0])
  np.testing.assert_array_equal(borda.mid_ranks(scores), whole[1])


def test_bad_input():
  with pytest.raises(ValueError, match='infinite'):
    borda.borda([[1.0, np.inf], [0.0, 1.0]])
  with pytest.raises(ValueError, match=r'systems \[1\]'):
    borda.places([1.0, np.nan])
  with pytest.raises(ValueError, match="'mid' or 'row'"):
    borda.borda([[1.0], [2.0]], ties='min')
  with pytest.raises(ValueError, match='no rule'):
    borda.borda([[1.0], [np.nan]], ties='row')
