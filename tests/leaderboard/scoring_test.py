"""Scores, intervals and comparisons against plain recomputation."""

import math

import numpy as np
import pytest
from scipy import stats

from glue_jax.leaderboard import score_bootstrap, scoring
from glue_jax.leaderboard.registry import Entry, Gold
from glue_jax.metrics import scores

N = 40
RNG = np.random.default_rng(1)


def entry(kind, metrics, classes=3, **fields):
  labels = tuple('abcdefgh'[:classes]) if kind == 'classification' else ()
  return Entry('t', '1', 'dev', kind, metrics, metrics[0], labels, **fields)


def gold(labels, **fields):
  return Gold({str(i): i for i in range(len(labels))}, labels, **fields)


def classes(n=N, k=3, noise=0.3, seed=0):
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, k, n)
  other = rng.integers(0, k, n)
  return labels, np.where(rng.random(n) < noise, other, labels)


@pytest.mark.parametrize('metric', ['accuracy', 'f1', 'macro_f1', 'matthews'])
def test_draws_of_class_metrics_equal_those_of_drawn_test_sets(metric):
  k = 2 if metric == 'f1' else 3
  labels, predictions = classes(k=k)
  draws = score_bootstrap.classification(metric, predictions, labels, k)
  rng = np.random.default_rng(score_bootstrap.SEED)
  for i in range(50):
    rows = rng.integers(0, N, N)
    one = scores.compute([metric], predictions[rows], labels[rows])[metric]
    assert draws[i] == pytest.approx(one, abs=1e-12)


@pytest.mark.parametrize(
  'metric', ['pearson', 'spearman', 'mean_squared_error']
)
def test_draws_of_number_metrics_equal_those_of_drawn_test_sets(metric):
  labels = np.round(RNG.uniform(0, 5, N), 1)  # with ties
  predictions = np.round(labels + RNG.normal(size=N), 1)
  draws = score_bootstrap.regression(metric, predictions, labels)
  rng = np.random.default_rng(score_bootstrap.SEED)
  for i in range(50):
    rows = rng.integers(0, N, N)
    one = scores.compute([metric], predictions[rows], labels[rows])[metric]
    assert draws[i] == pytest.approx(one, abs=1e-10)


def test_groups_are_drawn_whole():
  groups = np.repeat(np.arange(10), 4)
  labels, predictions = classes(k=2, noise=0.1)
  right = (labels == predictions).reshape(10, 4).all(1)
  draws = score_bootstrap.classification(
    'exact_match', predictions, labels, 2, groups
  )
  rng = np.random.default_rng(score_bootstrap.SEED)
  for i in range(20):
    assert draws[i] == pytest.approx(right[rng.integers(0, 10, 10)].mean())


def test_the_interval_is_the_percentile_one():
  for n in (1000, 999, 7):
    draws = RNG.normal(size=n)
    np.testing.assert_allclose(
      score_bootstrap.interval(draws),
      np.percentile(draws, [2.5, 97.5]),
      rtol=1e-12,
    )


def test_several_seeds_are_a_mean_and_a_sample_sd():
  labels, _ = classes()
  task = entry('classification', ('accuracy', 'macro_f1'))
  runs = {s: classes(noise=0.2 + 0.1 * s)[1] for s in (3, 1, 2)}
  cell = scoring.score(task, gold(labels), runs)
  accuracies = [np.mean(runs[s] == labels) for s in (1, 2, 3)]
  assert cell.seeds == (1, 2, 3)
  assert cell.values['accuracy'] == pytest.approx(accuracies)
  assert cell.score == pytest.approx(np.mean(accuracies))
  assert cell.sd('accuracy') == pytest.approx(np.std(accuracies, ddof=1))
  kind, low, high = cell.spread
  assert kind == 'sd' and high - low == pytest.approx(2 * cell.sd('accuracy'))
  assert np.sum(cell.confusion) == 3 * N
  assert cell.right.tolist() == (runs[1] == labels).tolist()


def test_a_single_run_has_a_bootstrap_interval_and_says_so():
  labels, predictions = classes()
  task = entry('classification', ('accuracy',))
  cell = scoring.score(task, gold(labels), {0: predictions})
  assert cell.sd('accuracy') is None
  kind, low, high = cell.spread
  assert kind == 'bootstrap' and low < cell.score < high
  # Near the normal approximation of a share.
  share = math.sqrt(cell.score * (1 - cell.score) / N)
  assert high - low == pytest.approx(2 * 1.96 * share, rel=0.2)


def test_scores_are_a_pure_function():
  labels, predictions = classes()
  task = entry('classification', ('macro_f1', 'accuracy'))
  first = scoring.score(task, gold(labels), {0: predictions})
  order = RNG.permutation(N)
  again = scoring.score(task, gold(labels), {0: predictions.copy()})
  assert first.values == again.values
  np.testing.assert_array_equal(first.draws, again.draws)
  other = scoring.score(task, gold(labels[order]), {0: predictions[order]})
  assert other.values['accuracy'] == first.values['accuracy']


@pytest.mark.parametrize(
  'a, b', [(0, 0), (1, 0), (5, 5), (10, 2), (2, 10), (40, 39), (300, 200)]
)
def test_mcnemar_is_the_exact_binomial_test(a, b):
  expected = stats.binomtest(a, a + b, 0.5).pvalue if a + b else 1.0
  assert scoring.mcnemar(a, b) == pytest.approx(expected, rel=1e-10)


def test_a_comparison_is_paired():
  labels, good = classes(n=400, noise=0.1)
  bad = good.copy()
  bad[:30] = (labels[:30] + 1) % 3
  task = entry('classification', ('accuracy',))
  first, second = (
    scoring.score(task, gold(labels), {0: p}) for p in (good, bad)
  )
  comparison = scoring.compare(first, second)
  lost = int(np.sum(good[:30] == labels[:30]))
  assert (comparison.only_first, comparison.only_second) == (lost, 0)
  assert comparison.difference == pytest.approx(lost / 400)
  assert 0 < comparison.low < comparison.difference < comparison.high
  assert comparison.p == 0 and comparison.mcnemar == pytest.approx(
    2 * 0.5**lost
  )
  back = scoring.compare(second, first)
  assert (back.low, back.high) == pytest.approx(
    (-comparison.high, -comparison.low)
  )
  same = scoring.compare(first, first)
  assert (same.difference, same.p, same.mcnemar) == (0, 1, 1)
  # The same draws for both: narrower than from draws of their own.
  widths = [high - low for low, high in (first.interval, second.interval)]
  assert comparison.high - comparison.low < 0.9 * math.hypot(*widths)


def test_numbers_have_no_mcnemar():
  labels = RNG.uniform(0, 5, N)
  task = entry('regression', ('pearson', 'mean_squared_error'))
  cells = [
    scoring.score(task, gold(labels), {0: labels + RNG.normal(size=N) * s})
    for s in (0.1, 2.0)
  ]
  comparison = scoring.compare(*cells)
  assert comparison.mcnemar is None and comparison.low > 0
  assert cells[0].confusion is None and cells[0].right is None


def test_constant_predictions_score_zero_without_a_warning(recwarn):
  labels = RNG.uniform(0, 5, N)
  task = entry('regression', ('pearson', 'spearman'))
  cell = scoring.score(task, gold(labels), {0: np.ones(N)})
  assert cell.score == 0 and cell.interval == (0, 0)
  assert not recwarn.list


@pytest.mark.parametrize('rule', ['squad_v1', 'squad_v2', 'record'])
def test_texts_are_scored_by_their_rule(rule):
  answers = (('The cat', 'cat'), ('dog house',), ('bird',))
  task = Entry('t', '1', 'dev', 'text', ('f1', 'exact_match'), 'f1', rule=rule)
  one = Gold({'0': 0, '1': 1, '2': 2}, None, answers)
  cell = scoring.score(task, one, {0: ['cat', 'a dog', 'fish']})
  assert cell.values['exact_match'] == pytest.approx([1 / 3])
  assert cell.values['f1'] == pytest.approx([(1 + 2 / 3) / 3])
  assert cell.right.tolist() == [True, False, False]
  assert 0 <= cell.interval[0] < cell.score < cell.interval[1] <= 1


SUPERGLUE = {
  'boolq': {'accuracy': 0.8},
  'cb': {'accuracy': 0.9, 'macro_f1': 0.7},
  'copa': {'accuracy': 0.6},
  'multirc': {'f1': 0.7, 'exact_match': 0.3},
  'record': {'f1': 0.72, 'exact_match': 0.7},
  'rte': {'accuracy': 0.71},
  'wic': {'accuracy': 0.69},
  'wsc': {'accuracy': 0.64},
}


def test_superglue_average_is_the_mean_of_its_tasks_means():
  columns = scores.SUPERGLUE_COLUMNS
  means = {
    task: dict(zip(names, SUPERGLUE[task].values()))
    for task, names in columns.items()
  }
  average = scoring.average('superglue', means, list(columns))
  expected = np.mean([np.mean(list(row.values())) for row in means.values()])
  assert average.value == pytest.approx(expected, rel=1e-12)
  del means['cb']
  assert scoring.average('superglue', means, list(columns)) is None
  part = scoring.average('superglue', means, [t for t in columns if t != 'cb'])
  assert 'cb' in part.convention


def test_mnli_is_one_column_of_two_registered_tasks():
  means = {
    'mnli_matched': {'accuracy': 0.8},
    'mnli_mismatched': {'accuracy': 0.9},
    'rte': {'accuracy': 0.6},
  }
  average = scoring.average('glue', means, list(means))
  assert average.value == pytest.approx((0.85 + 0.6) / 2)
  del means['mnli_mismatched']
  assert scoring.average('glue', means, ['mnli_matched', 'rte']) is None
