"""Files of predictions against gold: ids as a set and as a multiset, values."""

import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from glue_jax.leaderboard.contribution import predictions
from glue_jax.leaderboard.registry import Entry, Gold
from glue_jax.leaderboard.safety import DEFAULT, Limits

LABELS = ('no', 'yes')
CLASSES = Entry(
  't', '1', 'dev', 'classification', ('accuracy',), 'accuracy', LABELS
)
NUMBERS = Entry('t', '1', 'dev', 'regression', ('pearson',), 'pearson')
TEXTS = Entry('t', '1', 'dev', 'text', ('f1',), 'f1', rule='squad_v1')
GOLD = Gold({str(i): i for i in range(4)}, np.array([0, 1, 1, 0]))
RIGHT = [(0, 'no'), (1, 'yes'), (2, 'yes'), (3, 'no')]


def parse(text, entry=CLASSES, where='p.jsonl', gold=GOLD, limits=DEFAULT):
  data = text if isinstance(text, bytes) else text.encode()
  return predictions.parse(entry, gold, data, where, limits)


def refused(text, *parts, **fields):
  """Checks that a file is refused for these reasons; returns the problems."""
  values, problems = parse(text, **fields)
  assert values is None
  for part in parts:
    assert any(part in line for line in problems), (part, problems)
  return problems


def test_values_come_in_the_order_of_gold():
  values, problems = parse(predictions.text(reversed(RIGHT)))
  assert problems == []
  np.testing.assert_array_equal(values, [0, 1, 1, 0])


def test_labels_are_names_numbers_and_booleans():
  rows = [(0, 0), (1, 'yes'), ('2', 1), (3, 'no')]
  np.testing.assert_array_equal(parse(predictions.text(rows))[0], [0, 1, 1, 0])
  boolean = Entry(
    't', '1', 'dev', 'classification', ('f1',), 'f1', ('False', 'True')
  )
  rows = [(0, False), (1, True), (2, True), (3, 'False')]
  values, _ = parse(predictions.text(rows), boolean)
  np.testing.assert_array_equal(values, [0, 1, 1, 0])


def test_a_dropped_id_is_named():
  refused(predictions.text(RIGHT[:3]), "p.jsonl:3: 1 of 4 ids missing: '3'")


def test_an_id_twice_is_named_with_its_line():
  rows = [*RIGHT, (1, 'yes')]
  refused(predictions.text(rows), "p.jsonl:5: id '1' occurs twice")
  rows = [*RIGHT[:3], (1, 'yes')]  # the count is right, the multiset is not
  refused(predictions.text(rows), 'occurs twice', "missing: '3'")


def test_an_invented_id_is_named_with_its_line():
  rows = [*RIGHT[:3], (9, 'no')]
  refused(predictions.text(rows), "p.jsonl:4: id '9' is not in the gold")


def test_no_score_from_one_right_row_repeated():
  refused(predictions.text([(0, 'no')] * 4), 'occurs twice', '3 of 4 ids')
  refused('', '4 of 4 ids missing')


def test_at_most_ten_problems_of_a_kind_are_listed():
  gold = Gold({str(i): i for i in range(100)}, np.zeros(100, int))
  rows = [(i + 100, 'no') for i in range(100)]
  problems = refused(predictions.text(rows), '90 more ids', gold=gold)
  assert len(problems) == 12
  assert problems[-1].endswith("'9' and 90 more")
  rows = [(i, 'maybe') for i in range(100)]
  problems = refused(predictions.text(rows), gold=gold)
  # The rows after the tenth were not read: nothing is said of their ids.
  assert len(problems) == 10 and all('label' in line for line in problems)


@pytest.mark.parametrize(
  'value', ['maybe', 2, -1, 0.0, None, [1], {'a': 1}, True, '=1+1', '']
)
def test_what_is_no_label_is_refused_with_its_line(value):
  rows = [*RIGHT[:2], (2, value), RIGHT[3]]
  refused(predictions.text(rows), 'p.jsonl:3: label')


@pytest.mark.parametrize(
  'token', ['NaN', 'Infinity', '-Infinity', '1e999', '"1"', 'true', 'null']
)
def test_what_is_no_finite_number_is_refused(token):
  text = predictions.text([(i, 1.5) for i in range(3)])
  refused(
    text + f'{{"idx": 3, "prediction": {token}}}\n', ':4: ', entry=NUMBERS
  )


def test_numbers():
  rows = [(0, 1), (1, -2.5), (2, 1e-3), (3, 0)]
  values, _ = parse(predictions.text(rows), NUMBERS)
  np.testing.assert_array_equal(values, [1, -2.5, 1e-3, 0])


@pytest.mark.parametrize(
  'line, what',
  [
    ('{', 'not JSON'),
    ('[]', 'keys idx and prediction'),
    ('{"idx": 3}', 'keys idx and prediction'),
    ('{"idx": 3, "prediction": "no", "x": 1}', 'keys idx and prediction'),
    ('{"idx": 3, "idx": 3, "prediction": "no"}', "'idx' occurs twice"),
    ('{"idx": 3.0, "prediction": "no"}', 'idx is 3.0'),
    ('{"idx": true, "prediction": "no"}', 'idx is True'),
    ('{"idx": "' + 'x' * 201 + '", "prediction": "no"}', 'idx of 201'),
    ('[' * 5000, 'nested deeper than 8'),
    ('', 'not JSON'),
  ],
)
def test_lines_that_are_no_prediction_are_refused(line, what):
  text = predictions.text(RIGHT[:3]) + line + '\n'
  problems = refused(text, what)
  assert all(problem.startswith('p.jsonl:') for problem in problems)
  assert all(problem.count('p.jsonl:') == 1 for problem in problems)


def test_bytes_other_than_utf8_are_refused_with_their_line():
  data = predictions.text(RIGHT).encode().replace(b'yes', b'y\xffs', 1)
  refused(data, 'p.jsonl:2: byte 0xFF is not UTF-8')


def test_a_file_may_have_twice_the_rows_of_gold_and_no_more():
  problems = refused('\n' * 10, '10 lines; at most 9 allowed')
  assert problems == ['p.jsonl:10: 10 lines; at most 9 allowed']


def test_a_single_line_of_10_mb_is_refused():
  text = '{"idx": 0, "prediction": "' + 'x' * 10_000_000 + '"}'
  (problem,) = refused(text, 'p.jsonl:1: line of 10000028 bytes')
  assert len(problem) < 100
  refused('x' * 101, 'line of 101 bytes', limits=Limits(line_bytes=100))


def test_texts_are_bounded():
  rows = [(0, ''), (1, 'zażółć'), (2, '<b>'), (3, 'x' * 10_000)]
  values, problems = parse(predictions.text(rows), TEXTS)
  assert not problems and values[1] == 'zażółć'
  rows[3] = (3, 'x' * 10_001)
  refused(predictions.text(rows), 'p.jsonl:4: prediction', entry=TEXTS)


def test_tsv_gives_the_same_values():
  lines = ['index\tprediction', *(f'{i}\t{label}' for i, label in RIGHT)]
  for end in ('\n', '\r\n'):
    values, problems = parse(end.join(lines), where='p.tsv')
    assert problems == []
    np.testing.assert_array_equal(values, [0, 1, 1, 0])
  lines = ['index\tprediction', *(f'{i}\t{i / 2}' for i in range(4))]
  values, _ = parse('\n'.join(lines), NUMBERS, 'p.tsv')
  np.testing.assert_array_equal(values, [0, 0.5, 1, 1.5])


@pytest.mark.parametrize(
  'line, what',
  [
    ('3', '1 fields'),
    ('3\tno\tx', '3 fields'),
    ('3\tmaybe', "label 'maybe'"),
    ('3\t' + '1' * 50, 'label'),
    ('3\tNA', "label 'NA'"),  # pandas would read a missing value
  ],
)
def test_tsv_lines_that_are_no_prediction_are_refused(line, what):
  lines = ['index\tprediction', *(f'{i}\t{label}' for i, label in RIGHT[:3])]
  refused('\n'.join([*lines, line]), what, where='p.tsv')
  refused('\n'.join([*lines[1:], '3\tno']), 'p.tsv:1: ', where='p.tsv')


@pytest.mark.parametrize('token', ['nan', 'inf', '1' * 70, '', '1_0', '0x1'])
def test_tsv_numbers_are_plain_and_short(token):
  lines = ['index\tprediction', *(f'{i}\t1' for i in range(3)), f'3\t{token}']
  refused('\n'.join(lines), 'p.tsv:5: ', entry=NUMBERS, where='p.tsv')


LINES = st.lists(
  st.tuples(
    st.integers(-1, 5)
    | st.sampled_from(['0', '1', '-0', '01', '2', '3', 'a"']),
    st.sampled_from(['no', 'yes', 'x', 'é', 0, 1, 2, True, 1.0, 0.5, -3, 1e5]),
  ),
  max_size=6,
)


@hypothesis.settings(deadline=None, max_examples=300)
@hypothesis.given(LINES, st.booleans(), st.sampled_from([CLASSES, NUMBERS]))
def test_the_fast_way_agrees_with_line_by_line(rows, whole, entry):
  if whole:  # mostly valid files
    rows = [(i, value) for i, (_, value) in enumerate(rows[:4])]
    rows += RIGHT[len(rows) :]
  text = predictions.text(rows)
  fast = parse(text, entry)
  # A space before the colon is JSON, but no line that the fast way takes.
  slow = parse(text.replace('": ', '" : '), entry)
  assert fast[1] == slow[1]
  if fast[0] is not None:
    np.testing.assert_array_equal(fast[0], slow[0])
    assert fast[0].dtype == slow[0].dtype


@hypothesis.settings(deadline=None)
@hypothesis.given(st.permutations(range(4)))
def test_shuffled_rows_change_nothing(order):
  values, _ = parse(predictions.text(RIGHT[i] for i in order))
  np.testing.assert_array_equal(values, [0, 1, 1, 0])


@hypothesis.settings(deadline=None)
@hypothesis.given(st.binary(max_size=120))
def test_any_bytes_are_refused_without_a_crash(data):
  for where in ('p.jsonl', 'p.tsv'):
    values, problems = parse(data, where=where)
    assert values is None and problems


def test_text_writes_one_json_object_a_line():
  text = predictions.text([(0, 'a\nb'), ('x', 1.5)])
  assert [json.loads(line) for line in text.splitlines()] == [
    {'idx': 0, 'prediction': 'a\nb'},
    {'idx': 'x', 'prediction': 1.5},
  ]
