"""Labels and ids: what hides a label, types, names of booleans."""

import pytest

from glue_jax.data.readers import rows
from glue_jax.data.readers.files import Log
from glue_jax.data.tasks import by_name


def make(kind='classification', labels=('a', 'b'), **fields):
  return by_name.make(
    'mine', kind=kind, columns=('text',), labels=labels, **fields
  )


NUMBERS = make('regression', ())
RATED = make('regression', (), label_range=(0, 5))
TAGS = make('token_classification', ('O', 'B-X'))


@pytest.mark.parametrize('split', ['train', 'test'])
@pytest.mark.parametrize('value', [-1, '-1', '-1.0', -1.0, '-100', 0, '0'])
def test_every_number_is_a_value_in_regression(value, split):
  assert rows.parse_label(NUMBERS, split, value) == float(value)


@pytest.mark.parametrize(
  'task, value',
  [
    (NUMBERS, None),
    (NUMBERS, ' '),
    (RATED, '-1'),
    (RATED, -1.0),
    (make(), -1),
    (make(), ''),
    (make(labels=('-1', '1')), ''),
    (make(labels=('-1', '1')), None),
    (make('multilabel'), None),
    (TAGS, None),
  ],
)
def test_a_hidden_label_in_test_splits_only(task, value):
  assert rows.parse_label(task, 'test', value) is None
  with pytest.raises(ValueError, match='marks a hidden label'):
    rows.parse_label(task, 'train', value)


@pytest.mark.parametrize(
  'labels, value, expected',
  [
    (('-1', '1'), -1, 0),
    (('-1.0', '1.0'), -1.0, 0),
    (('-1', '0', '1'), '-1', 0),
    (('true', 'false'), True, 0),
    (('yes', 'no'), True, 0),
    (('no', 'yes'), True, 1),
    (('False', 'True'), False, 0),
    (('1', '0'), True, 0),
    (('None', 'some'), 'None', 0),
    (('010', '020'), '020', 1),
  ],
)
def test_names_of_classes(labels, value, expected):
  assert rows.parse_label(make(labels=labels), 'train', value) == expected


@pytest.mark.parametrize(
  'task, value',
  [
    (NUMBERS, True),
    (NUMBERS, 'nan'),
    (NUMBERS, [1]),
    (make(), float('nan')),
    (make(), True),
    (make(labels=('yes', 'other')), False),
    (TAGS, ['O', True]),
    (make('multilabel'), [True]),
    (make(), '1_0'),
    (make(), '\u0661'),
    (make(labels=('-1', '0')), -1.5),
    (make(labels=('None', 'b')), {}),
    (TAGS, 5),
    (TAGS, [1, -100]),
    (TAGS, [0, -1]),
    (TAGS, ['O', None]),
    (make('token_classification', ('None', 'X')), [None]),
    (TAGS, [[0]]),
    (make('multilabel'), 'a'),
    (make('multilabel'), [-1]),
  ],
)
def test_other_values_are_refused(task, value):
  with pytest.raises(ValueError, match='label'):
    rows.parse_label(task, 'test', value)


def converted(ids, drop=False, name='id'):
  records = [(i, {'text': 't', 'label': 'a', name: x}) for i, x in ids]
  names = {'text': 'text', 'label': 'label', 'idx': name}
  log = Log('f', drop)
  return rows.convert(make(), 'train', records, log, names)


def test_ids_are_kept():
  given = ['7', '007', 'a-1', '--5', '\u00b2', 12, None, '-3']
  found = [row['idx'] for row in converted(list(enumerate(given)))]
  assert found == [7, '007', 'a-1', '--5', '\u00b2', 12, 6, -3]
  with pytest.raises(ValueError, match="f:2: id 'x' was already used in line"):
    converted([(1, 'x'), (2, 'x')])
  with pytest.raises(ValueError, match='f:2: row number 1 stands for an id'):
    converted([(1, 1), (2, None)])
  with pytest.raises(ValueError, match='f:1: id has half a surrogate'):
    converted([(1, '\ud83d')])


@pytest.mark.parametrize('value', [1, '1', ' 1 '])
def test_a_choice_goes_by_its_name_whatever_type_it_has(value):
  task = by_name.make(
    'mine', kind='multiple_choice', columns=('text', '1', '2'),
    choices=('1', '2'),
  )  # fmt: skip
  assert rows.parse_label(task, 'train', value) == 0


@pytest.mark.parametrize(
  ('cell', 'tags'),
  [
    ('["O", "B-X"]', [0, 1]),
    ('O B-X', [0, 1]),
    ('[]', []),
  ],
)
def test_a_list_may_stand_as_text(cell, tags):
  assert rows.parse_label(TAGS, 'train', cell) == tags


@pytest.mark.parametrize(
  'labels, value, message',
  [
    (('neg', 'pos'), '01', "'01' .*or its number$"),
    (('neg', 'pos'), '1.0', 'or its number: a whole number, 1$'),
    (('neg', 'pos'), 0.0, 'or its number: a whole number, 0$'),
    (('1', '2', '3'), 0, r"expected one of \['1', '2', '3'\]$"),
    (('caf\u00e9', 'bar'), 'cafe\u0301', 'the same in another Unicode form'),
  ],
)
def test_an_unknown_label_is_told_what_is_expected(labels, value, message):
  with pytest.raises(ValueError, match=message):
    rows.parse_label(make(labels=labels), 'train', value)


def test_a_hidden_label_where_no_split_is_a_test():
  task = by_name.make(
    'mine', kind='classification', columns='text', labels=('a', 'b'),
    test_splits=(),
  )  # fmt: skip
  with pytest.raises(ValueError, match='only, and this task names none'):
    rows.parse_label(task, 'train', '')


def test_a_list_of_python_is_no_list_of_words():
  names = {'text': 'text', 'label': 'label', 'idx': 'idx'}
  for words, tags, column in (
    ('a b', "['B-X', 'O']", 'label'),
    ("['a', 'b']", 'B-X O', "column 'text'"),
  ):
    record = {'text': words, 'label': tags}
    with pytest.raises(ValueError, match=f'{column} is .* a JSON list'):
      rows.convert(TAGS, 'train', [(1, record)], Log('f'), names)


@pytest.mark.parametrize(
  'task, labels, noted',
  [
    (make(), ['a', 'b', ' 1'], True),
    (make(labels=('no', 'yes')), ['no', True], False),
    (make(), [0, '1'], False),
    (make(labels=('0', '1')), [0, '1'], False),
    (TAGS, ['O', 'O 1'], True),
  ],
)
def test_names_mixed_with_numbers_get_a_note(task, labels, noted):
  text = ' '.join(['t'] * 2)
  records = [
    (i, {'text': text if ' 1' in str(x)[1:] else 't', 'label': x})
    for i, x in enumerate(labels, 1)
  ]
  log = Log('f')
  names = {'text': 'text', 'label': 'label', 'idx': 'idx'}
  rows.convert(task, 'train', records, log, names)
  assert [('number of a class' in note) for note in log.notes] == [True] * noted
