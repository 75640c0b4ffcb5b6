"""Chunk and class scores: golden vectors, and the properties they must have."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glue_jax.metrics import scores as metrics
from glue_jax.metrics import sequence
from tests.conftest import ROOT
from tests.golden import __main__ as golden
from tests.golden import lepiszcze

TAGS = ('O', 'B-A', 'I-A', 'B-B', 'I-B')
FILES = sorted((ROOT / 'tests' / 'golden_data' / 'lepiszcze').glob('*.npz'))

rows = st.lists(
  st.lists(st.sampled_from(TAGS), min_size=1, max_size=9),
  min_size=1,
  max_size=5,
)


@st.composite
def pairs(draw):
  gold = draw(rows)
  return [[draw(st.sampled_from(TAGS)) for _ in row] for row in gold], gold


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.stem)
def test_golden(path):
  assert golden.check_file(lepiszcze, 'lepiszcze', path)


def test_golden_files_are_here():
  assert len(FILES) == 4


def test_a_missing_array_is_compared_or_refused():
  with np.load(FILES[0]) as file:
    arrays = dict(file)
  with pytest.raises(ValueError, match='nothing compares'):
    lepiszcze.compare(arrays | {'new': np.ones(1)}, FILES[0].parent)


@pytest.mark.parametrize(
  'tags, mode, expected',
  [
    ('I-A I-A O B-B', 'conll', [('A', 0, 1), ('B', 3, 3)]),
    ('I-A I-A O B-B', 'strict', [('B', 3, 3)]),
    ('B-A I-B', 'conll', [('A', 0, 0), ('B', 1, 1)]),
    ('B-A I-B', 'strict', [('A', 0, 0)]),
    ('B-A I-A B-A', 'strict', [('A', 0, 1), ('A', 2, 2)]),
    ('S-A E-A', 'conll', [('A', 0, 0), ('A', 1, 1)]),
    ('B-A E-A I-A', 'conll', [('A', 0, 1), ('A', 2, 2)]),
    ('U-A U-A O', 'conll', [('A', 0, 0), ('A', 1, 1)]),
    ('B-A I-A L-A I-A', 'conll', [('A', 0, 2), ('A', 3, 3)]),
    ('B I O', 'conll', [('_', 0, 1)]),
    ('B-A O I-A', 'unit', [('B-A', 0, 0), ('I-A', 2, 2)]),
    ('subst adj', 'unit', [('subst', 0, 0), ('adj', 1, 1)]),
    ('O O', 'conll', []),
  ],
)
def test_chunks(tags, mode, expected):
  assert sequence.chunks(tags.split(), mode) == expected


def test_bilou_is_bioes_by_other_names():
  same = {'L': 'E', 'U': 'S'}
  rng = random.Random(0)
  for _ in range(50):
    bilou = [rng.choice(['O', *(f'{p}-{t}' for p in 'BILU' for t in 'AB')])
             for _ in range(8)]  # fmt: skip
    bioes = [same.get(tag[0], tag[0]) + tag[1:] for tag in bilou]
    assert sequence.chunks(bilou) == sequence.chunks(bioes)
  scores = sequence.sequence_scores(
    [['B-X', 'I-X', 'O']], [['U-X', 'U-X', 'O']]
  )
  assert scores['micro_f1'] == 0


@pytest.mark.parametrize(
  'tags, mode, wrong',
  [
    ('O B-A M-A', 'conll', 'M-A'),
    ('O B-A ORG', 'conll', 'ORG'),
    ('O X-B', 'conll', 'X-B'),
    ('O B_A', 'conll', 'B_A'),
    ('O b-A', 'conll', 'b-A'),
    ('O B-A S-A', 'strict', 'S-A'),
    ('O B', 'strict', 'B'),
    ('X-B b_a', 'unit', None),
  ],
)
def test_a_prefix_of_no_scheme_is_refused(tags, mode, wrong):
  fault = sequence.tag_fault(tags.split(), mode)
  assert fault is None if wrong is None else f'tag {wrong!r} has no' in fault


@pytest.mark.parametrize(
  'tags, mode',
  [
    ('O B-A I-A', 'conll'),
    ('DET NOUN X-B', 'unit'),
    ('O X-B X-I', None),
    ('o b-per i-per', None),
    ('O B_PER I_PER', None),
  ],
)
def test_the_mode_of_tags_without_one(tags, mode):
  if mode:
    assert sequence.usual_mode(tags.split()) == mode
  else:
    with pytest.raises(ValueError, match='another spelling'):
      sequence.usual_mode(tags.split())


def test_a_word_without_a_tag_is_outside_and_never_right():
  scores = sequence.sequence_scores([['B-A', None]], [['B-A', 'I-A']])
  assert scores['accuracy'] == 0.5 and scores['micro_f1'] == 0
  scores = sequence.sequence_scores([['B-A', None]], [['B-A', 'O']])
  assert scores['accuracy'] == 0.5 and scores['micro_f1'] == 1


@given(rows, st.sampled_from(sequence.MODES))
def test_perfect_predictions_score_one(gold, mode):
  scores = sequence.sequence_scores(gold, gold, mode)
  has_chunk = any(sequence.chunks(row, mode) for row in gold)
  assert scores['accuracy'] == 1
  for average in sequence.AVERAGES:
    assert scores[f'{average}_f1'] == has_chunk


@given(rows, st.sampled_from(sequence.MODES))
def test_all_outside_scores_zero_and_not_nan(gold, mode):
  nothing = [['O'] * len(row) for row in gold]
  scores = sequence.sequence_scores(nothing, gold, mode)
  assert all(scores[f'{a}_f1'] == 0 for a in sequence.AVERAGES)


@given(pairs(), st.sampled_from(sequence.MODES), st.randoms())
def test_the_order_of_sentences_does_not_matter(pair, mode, rng):
  ours, gold = pair
  order = list(range(len(gold)))
  rng.shuffle(order)
  again = [ours[i] for i in order], [gold[i] for i in order]
  one, two = (sequence.sequence_scores(*p, mode) for p in (pair, again))
  assert one == two


@given(pairs())
def test_unit_micro_f1_is_plain_f1_over_the_tags_that_are_not_o(pair):
  flat = [(a, b) for x, y in zip(*pair) for a, b in zip(x, y)]
  right = sum(a == b != 'O' for a, b in flat)
  ours, gold = (sum(t[i] != 'O' for t in flat) for i in (0, 1))
  scores = sequence.sequence_scores(*pair, 'unit')
  expected = 2 * right / (ours + gold) if ours + gold else 0
  assert scores['micro_f1'] == pytest.approx(expected, abs=1e-12)


def test_strict_equals_conll_on_valid_iob2():
  rng = random.Random(0)

  def valid():
    row = []
    while len(row) < 12:
      type_ = rng.choice('AB')
      row += rng.choice(
        [['O'], [f'B-{type_}'] + [f'I-{type_}'] * rng.randrange(3)]
      )
    return row[:12]

  for _ in range(50):
    pair = [valid()], [valid()]
    assert sequence.sequence_scores(*pair, 'conll') == (
      sequence.sequence_scores(*pair, 'strict')
    )


def test_a_type_that_is_only_predicted_lowers_macro_not_weighted():
  scores = sequence.sequence_scores([['B-A', 'B-B']], [['B-A', 'O']])
  assert scores['macro_f1'] == 0.5 and scores['weighted_f1'] == 1
  assert scores['classes']['B']['support'] == 0


def test_bad_input_is_named():
  with pytest.raises(
    ValueError, match="'S-A' has no prefix of seq_mode=strict"
  ):
    sequence.chunks(['S-A'], 'strict')
  with pytest.raises(ValueError, match="seq_mode='loose'"):
    sequence.chunks(['O'], 'loose')
  with pytest.raises(ValueError, match='sequence 0: 1 predicted tags for 2'):
    sequence.sequence_scores([['O']], [['O', 'O']])
  with pytest.raises(ValueError, match='no words'):
    sequence.sequence_scores([], [])
  with pytest.raises(ValueError, match='2 predictions for 1 labels'):
    sequence.class_scores([0, 1], [0])


def test_averages_are_metrics_of_classification():
  labels, ours = np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])
  computed = metrics.compute(
    ['macro_f1', 'weighted_f1', 'micro_f1'], ours, labels
  )
  scores = sequence.class_scores(ours, labels)
  assert computed == pytest.approx({name: scores[name] for name in computed})
  assert computed['micro_f1'] == 0.75
