"""Metrics: the boards' values, and the corners that the boards define."""

import itertools
import math
import pathlib

import numpy as np
import pytest

from glue_jax.metrics import scores as metrics
from glue_jax.metrics import squad
from tests.golden import glue_superglue_squad_humset as golden

FILES = sorted(
  (
    pathlib.Path(__file__).parents[1]
    / 'golden_data/glue-superglue-squad-humset'
  ).glob('*.npz')
)


def test_golden_files_are_there():
  assert len(FILES) == 6


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_golden(path):
  with np.load(path, allow_pickle=False) as data:
    arrays = {name: data[name] for name in data.files}
  rows = golden.compare(arrays, path.parent)
  assert rows
  for name, ours, theirs, atol, rtol in rows:
    np.testing.assert_allclose(
      np.asarray(ours, float), theirs, rtol, atol, err_msg=name
    )


@pytest.mark.parametrize('name', sorted(metrics.PLAIN))
def test_row_order_does_not_matter(name):
  rng = np.random.default_rng(0)
  classes = 2 if name == 'f1' else 3
  predictions, labels = rng.integers(0, classes, (2, 50))
  order = rng.permutation(50)
  plain = metrics.PLAIN[name]
  assert plain(predictions, labels) == pytest.approx(
    plain(predictions[order], labels[order]), abs=1e-12
  )


def test_f1_is_of_class_one_and_not_symmetric():
  labels = np.array([1, 1, 1, 0])
  predictions = np.array([1, 1, 1, 1])
  assert metrics.f1(predictions, labels) == pytest.approx(6 / 7)
  assert metrics.f1(1 - predictions, 1 - labels) == 0


@pytest.mark.parametrize('value', [0, 1])
def test_matthews_of_a_constant_is_zero(value):
  assert metrics.matthews(np.full(6, value), [0, 1, 1, 0, 1, 1]) == 0.0


def test_f1_of_more_classes_is_refused():
  for labels, predictions in (([2, 1], [1, 1]), ([0, 1], [0, 2])):
    with pytest.raises(ValueError, match='use macro_f1 or micro_f1'):
      metrics.f1(np.array(predictions), np.array(labels))


def test_matthews_by_its_formula():
  rng = np.random.default_rng(3)
  for _ in range(5):
    p, y = rng.integers(0, 2, (2, 40))
    tp, tn = np.sum(p & y), np.sum((1 - p) & (1 - y))
    fp, fn = np.sum(p & (1 - y)), np.sum((1 - p) & y)
    expected = (tp * tn - fp * fn) / math.sqrt(
      float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    )
    assert metrics.matthews(p, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize('name', ['pearson', 'spearman'])
def test_correlation_of_a_constant_is_zero_with_a_warning(name):
  with pytest.warns(UserWarning, match='constant predictions'):
    assert metrics.PLAIN[name](np.ones(4), np.arange(4.0)) == 0.0
  with pytest.warns(UserWarning, match='constant labels'):
    assert metrics.PLAIN[name](np.arange(4.0), np.ones(4)) == 0.0


def test_correlation_refuses_what_is_not_finite():
  with pytest.raises(ValueError, match='1 of 3 predictions are not finite'):
    metrics.pearson(np.array([0.0, np.nan, 1.0]), np.arange(3.0))


def test_ignored_tokens_do_not_count():
  labels = np.array([[1, 2, -100], [0, -100, -100]])
  predictions = np.array([[1, 1, 5], [0, 5, 5]])
  assert metrics.accuracy(predictions, labels) == pytest.approx(2 / 3)
  assert metrics.macro_f1(predictions, labels) == pytest.approx(
    (1 + 2 / 3 + 0) / 3
  )
  with pytest.raises(ValueError, match='no label left'):
    metrics.accuracy(predictions, np.full((2, 3), -100))


def test_compute_names_what_it_knows():
  with pytest.raises(ValueError, match="unknown metric 'bleu'.*accuracy"):
    metrics.compute(['bleu'], [0], [0])
  with pytest.raises(ValueError, match='needs groups'):
    metrics.compute(['gender_parity'], [0, 0], [0, 0])
  with pytest.raises(ValueError, match=r'shape \(2,\), labels \(3,\)'):
    metrics.compute(['accuracy'], [0, 0], [0, 0, 0])
  with pytest.raises(ValueError, match='no rows'):
    metrics.compute(['accuracy'], [], [])


def test_compute_gives_parts_of_label_sets():
  labels = np.array([[1, 0], [0, 0], [1, 1]])
  scores = metrics.compute(['micro_f1'], labels, labels)
  assert scores == {'micro_f1': 1.0}


def test_gender_parity_needs_pairs():
  assert metrics.gender_parity([1, 1, 0, 1], [7, 7, 8, 8]) == 0.5
  with pytest.raises(ValueError, match='do not have two rows'):
    metrics.gender_parity([1, 1, 0], [0, 0, 1])


def test_groups_are_keyed_by_paragraph_and_question():
  keys = [(0, 0), (0, 0), (1, 0), (1, 0)]
  assert metrics.grouped_exact_match([1, 0, 1, 1], [1, 0, 1, 0], keys) == 0.5


def test_perplexity():
  assert metrics.perplexity(2 * math.log(7), 2) == pytest.approx(7)
  assert metrics.perplexity(1e6, 1) == math.inf
  with pytest.raises(ValueError, match='over 0 tokens'):
    metrics.perplexity(1.0, 0)


def test_average_says_what_it_left_out():
  scores = {
    task: dict.fromkeys(names, 0.5 + 0.1 * (task == 'wnli'))
    for task, names in metrics.GLUE_COLUMNS.items()
  }
  full = metrics.glue_average(scores)
  assert full.value == pytest.approx((8 * 0.5 + 0.6) / 9)
  assert 'mean of 9 tasks, each' in full.convention
  short = metrics.glue_average(scores, leave_out=('wnli',))
  assert short.value == pytest.approx(0.5)
  assert '8 tasks without wnli' in short.convention
  del scores['mrpc']['f1']
  with pytest.raises(ValueError, match='mrpc/f1'):
    metrics.glue_average(scores)
  with pytest.raises(ValueError, match="leave out \\['ax'\\]"):
    metrics.glue_average(scores, leave_out=('ax',))


def test_normalize_deletes_punctuation_before_articles():
  assert squad.normalize('The New-York a.n Cat!') == 'newyork cat'
  # 'a.n' loses its point first and is then an article.
  assert squad.normalize('a.n') == ''


def test_squad_v1_empty_texts_match_exactly_but_score_no_f1():
  scores = squad.squad_v1({'q': ['the']}, {'q': 'a'})
  assert scores == {'exact_match': 100.0, 'f1': 0.0}


def test_squad_v1_counts_missing_predictions_as_wrong():
  scores = squad.squad_v1({'a': ['x'], 'b': ['y']}, {'a': 'x'})
  assert scores == {'exact_match': 50.0, 'f1': 50.0}
  with pytest.raises(ValueError, match="unknown questions, first 'z'"):
    squad.squad_v1({'a': ['x']}, {'z': 'x'})


def test_squad_v2_requires_every_question():
  with pytest.raises(ValueError, match='1 of 2 questions have no prediction'):
    squad.squad_v2({'a': ['x'], 'b': []}, {'a': 'x'})
  with pytest.raises(ValueError, match='no no-answer score'):
    squad.squad_v2({'a': ['x']}, {'a': 'x'}, {})


def test_squad_v2_best_threshold_by_search():
  rng = np.random.default_rng(1)
  words = ['red', 'blue', '']
  for _ in range(20):
    keys = [f'q{i}' for i in range(8)]
    answers = {k: [w] * bool(w) for k, w in zip(keys, rng.choice(words, 8))}
    predictions = dict(zip(keys, rng.choice(words, 8).tolist()))
    odds = dict(zip(keys, rng.permutation(8) / 8))
    scores = squad.squad_v2(answers, predictions, odds)
    every = [
      squad.squad_v2(answers, predictions, odds, t)['exact']
      for t in itertools.chain([-1.0], odds.values())
    ]
    assert scores['best_exact'] >= max(every) - 1e-9
