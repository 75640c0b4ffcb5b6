"""Parquet, Arrow, folders of `datasets`: rows, names of classes, faults."""

import json
import sys

import pyarrow as pa
import pytest

from glue_jax.data import load
from glue_jax.data.readers import arrow
from glue_jax.data.tasks import by_name
from glue_jax.inference import own_texts
from launch import data as command
from tests.commands import status
from tests.data.readers.tables import (
  CLASSES,
  ROWS,
  YAML,
  feather_file,
  found,
  own,
  parquet_file,
  saved,
  stream,
  table,
)

BY_NAME = [('Zażółć', 1, 'x'), ('b', 0, 'y'), ('c', 1, '007')]


@pytest.mark.parametrize(
  'dataset, write',
  [
    ('parquet:a.parquet', parquet_file),
    ('parquet:a.bin', parquet_file),
    ('arrow:a.arrow', stream),
    ('arrow:a.feather', feather_file),
    ('datasets:a', saved),
  ],
)
def test_classes_are_joined_by_name_in_every_format(tmp_path, dataset, write):
  write(tmp_path / dataset.partition(':')[2], table(features=CLASSES))
  assert found(own(tmp_path, dataset)) == BY_NAME


def test_a_column_of_numbers_is_in_the_order_of_the_labels(tmp_path):
  parquet_file(tmp_path / 'a.parquet', table())
  assert [r[1] for r in found(own(tmp_path, 'parquet:a.parquet'))] == [0, 1, 0]
  # Names that say no more than their place are taken by it, with a note.
  features = {'label': {'names': ['0', '1'], '_type': 'ClassLabel'}}
  parquet_file(tmp_path / 'a.parquet', table(features=features))
  read = own(tmp_path, 'parquet:a.parquet')
  assert [r[1] for r in found(read)] == [0, 1, 0]
  assert 'placeholders, so taken by position' in read.notes[0]


def test_classes_of_a_saved_folder_without_them_in_the_schema(tmp_path):
  saved(tmp_path / 'a', table())
  info = {'features': CLASSES}
  (tmp_path / 'a' / 'dataset_info.json').write_text(json.dumps(info))
  assert found(own(tmp_path, 'datasets:a')) == BY_NAME


def test_names_that_are_others_are_refused_and_unknown_ones_bad_rows(tmp_path):
  path = tmp_path / 'a.parquet'
  other = {'label': {'names': ['up', 'down'], '_type': 'ClassLabel'}}
  parquet_file(path, table(features=other))
  with pytest.raises(ValueError) as error:
    own(tmp_path, 'parquet:a.parquet')
  assert str(error.value) == (
    f"{path}: column 'label' has the labels ['up', 'down'], here are "
    "['no', 'yes']"
  )
  more = {'label': {'names': ['no', 'maybe', 'yes'], '_type': 'ClassLabel'}}
  for labels, words in (
    ([2, 1, 0], "2: unknown label 'maybe'"),
    ([2, 1, 3], '3: label 3; expected 0 to 2'),
  ):
    parquet_file(path, table({**ROWS, 'label': labels}, more))
    with pytest.raises(ValueError, match=f'a.parquet:{words}'):
      own(tmp_path, 'parquet:a.parquet')
  read = own(tmp_path, 'parquet:a.parquet', bad_rows='drop')
  assert found(read) == [('Zażółć', 1, 'x')] and read.left_out == 2
  assert 'line 3: label 3; expected 0 to 2' in read.notes[0]


def test_minus_one_hides_a_class_and_is_a_number_in_a_regression(tmp_path):
  hidden = table({**ROWS, 'label': [-1, -1, -1]}, CLASSES)
  for split in ('train', 'test'):
    saved(tmp_path / 'd' / split, table(features=CLASSES))
  assert own(tmp_path, 'datasets:d', 'test').labelled
  text = YAML + 'splits: {{train: train, test: {test}}}\n'
  saved(tmp_path / 'd' / 'blind', hidden)
  made = own(tmp_path, 'datasets:d', 'test', text.replace('{test}', 'blind'))
  assert not made.labelled and len(made) == 3
  with pytest.raises(ValueError, match=r'arrow:1: .*allowed in test splits'):
    own(tmp_path, 'datasets:d/blind')
  # A class may be named so; then its number isn't -1.
  minus = {'label': {'names': ['-1', '1'], '_type': 'ClassLabel'}}
  saved(tmp_path / 'signs', table(features=minus))
  text = YAML.replace('[no, yes]', '[1, -1]')
  assert [r[1] for r in found(own(tmp_path, 'datasets:signs', text=text))] == [
    1, 0, 1,
  ]  # fmt: skip
  scores = table({'text': ['a', 'b'], 'label': [-1.0, 2.5]})
  parquet_file(tmp_path / 'scores.parquet', scores)
  text = YAML.replace('label_names: [no, yes]\n', '')
  text = text.replace('classification', 'regression')
  read = own(tmp_path, 'parquet:scores.parquet', text=text)
  assert [r[1] for r in found(read)] == [-1.0, 2.5]


def test_values_of_every_type(tmp_path):
  """Bytes, categories and views are text; what is none is named."""
  path = tmp_path / 'a.parquet'
  columns = {'text': ['a', 'b'], 'label': ['yes', 'no']}
  for kind in (
    pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string()),
  ):  # fmt: skip
    parquet_file(path, table(columns, text=kind, label=kind))
    assert found(own(tmp_path, 'parquet:a.parquet')) == [
      ('a', 1, 0), ('b', 0, 1),
    ]  # fmt: skip
  flags = {'text': ['a', 'b'], 'label': [True, False]}
  parquet_file(path, table(flags))
  assert [r[1] for r in found(own(tmp_path, 'parquet:a.parquet'))] == [1, 0]
  for wrong, words in (
    (None, "column 'text' is null"),
    ('  ', "column 'text' is empty"),
    (b'\xff', 'invalid UTF-8 at byte 0 of a text'),
  ):
    kind = pa.binary() if isinstance(wrong, bytes) else pa.string()
    parquet_file(path, table({**columns, 'text': ['a', wrong]}, text=kind))
    with pytest.raises(ValueError, match=f'a.parquet:2: {words}'):
      own(tmp_path, 'parquet:a.parquet')
    assert len(own(tmp_path, 'parquet:a.parquet', bad_rows='drop')) == 1
  numbers = {'text': [1, 2], 'label': ['yes', 'no']}
  parquet_file(path, table(numbers))
  with pytest.raises(ValueError, match="column 'text' is a number"):
    own(tmp_path, 'parquet:a.parquet')
  parquet_file(path, table({**columns, 'label': ['yes', None]}))
  with pytest.raises(ValueError, match='a.parquet:2: label None'):
    own(tmp_path, 'parquet:a.parquet')


def test_a_string_column_with_bytes_that_are_no_text(tmp_path):
  wrong = pa.array([b'a', b'\xffz', b'c']).view(pa.string())
  made = pa.table({'text': wrong, 'label': ['yes', 'no', 'no']})
  parquet_file(tmp_path / 'a.parquet', made)
  with pytest.raises(ValueError, match=r'a.parquet:2: invalid UTF-8 at byte 0'):
    own(tmp_path, 'parquet:a.parquet')
  read = own(tmp_path, 'parquet:a.parquet', bad_rows='drop')
  assert [r[0] for r in found(read)] == ['a', 'c'] and read.lines == (1, 3)


def test_columns_that_are_missing_or_there_twice(tmp_path):
  path = tmp_path / 'a.parquet'
  parquet_file(path, table({'txt': ['a'], 'label': ['no']}))
  with pytest.raises(ValueError, match="columns 'txt', 'label' were found; "):
    own(tmp_path, 'parquet:a.parquet')
  twice = pa.table([['a'], ['b'], ['no']], names=['text', 'text', 'label'])
  stream(tmp_path / 'a.arrow', twice)
  with pytest.raises(ValueError, match="'text' is there 2 times"):
    own(tmp_path, 'arrow:a.arrow')
  twice = pa.table(
    [['a'], ['b'], ['no'], ['c']], names=['text', 'x', 'label', 'x']
  )
  stream(tmp_path / 'a.arrow', twice)
  assert found(own(tmp_path, 'arrow:a.arrow')) == [('a', 0, 0)]
  parquet_file(path, table({'text': [], 'label': []}))
  with pytest.raises(ValueError, match='a.parquet: no rows'):
    own(tmp_path, 'parquet:a.parquet')


@pytest.mark.parametrize('dataset', ['parquet:a.parquet', 'arrow:a.arrow'])
def test_a_file_that_is_cut_or_another_is_named(tmp_path, dataset):
  style, _, name = dataset.partition(':')
  path = tmp_path / name
  parquet_file(path, table()) if style == 'parquet' else stream(path, table())
  whole = path.read_bytes()
  for content in (
    whole[: len(whole) // 2],
    whole[:7],
    b'',
    b'text,label\na,no',
  ):
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
      own(tmp_path, dataset)
    said = str(error.value)
    assert said.startswith(f'{path}: ') and '\n' not in said, said
    assert 'not a whole' in said or 'no rows' in said, said


def test_tokens_choices_and_answers(tmp_path):
  tags = {'ner': {'feature': {'names': ['O', 'B-PER'], '_type': 'ClassLabel'},
                  '_type': 'Sequence'}}  # fmt: skip
  words = table(
    {'tokens': [['Ann', 'runs'], ['Bo']], 'ner': [[1, 0], [1]]}, tags
  )
  saved(tmp_path / 'ner', words)
  text = (
    'name: mine\ndataset: {dataset}\ncolumns: {{tokens: tokens}}\n'
    'target: ner\nkind: sequence_labeling\nlabel_names: [B-PER, O]\n'
  )
  assert found(own(tmp_path, 'datasets:ner', text=text)) == [
    (['Ann', 'runs'], [0, 1], 0), (['Bo'], [0], 1),
  ]  # fmt: skip
  choices = table({
    'ctx': ['What?', 'Who?'],
    'endings': [['a', 'b', 'c'], ['d', 'e', 'f']],
    'answer': [{'label': 2}, {'label': 0}],
  })  # fmt: skip
  parquet_file(tmp_path / 'c.parquet', choices)
  text = (
    'name: mine\ndataset: {dataset}\n'
    'columns: {{text: ctx, choices: [endings.0, endings.1, endings.2]}}\n'
    'target: answer.label\nkind: multiple_choice\n'
  )
  rows = [('What?', 'a', 'b', 'c', 2, 0), ('Who?', 'd', 'e', 'f', 0, 1)]
  assert found(own(tmp_path, 'parquet:c.parquet', text=text)) == rows
  lines = [json.dumps(record) + '\n' for record in choices.to_pylist()]
  (tmp_path / 'c.jsonl').write_text(''.join(lines))
  assert found(own(tmp_path, 'jsonl:c.jsonl', text=text)) == rows
  short = table(
    {'ctx': ['a'], 'endings': [['a', 'b']], 'answer': [{'label': 0}]}
  )
  parquet_file(tmp_path / 'c.parquet', short)
  with pytest.raises(
    ValueError, match="c.parquet:1: column 'endings.2' is null"
  ):
    own(tmp_path, 'parquet:c.parquet', text=text)


def test_questions_have_their_answers_in_lists(tmp_path):
  questions = table({
    'id': ['a', 'b'],
    'question': ['Who?', 'What?'],
    'context': ['See Ann.', 'Zażółć x'],
    'answers': [
      {'text': ['Ann'], 'answer_start': [4]}, {'text': [], 'answer_start': []},
    ],
  })  # fmt: skip
  parquet_file(tmp_path / 'train-00000-of-00001.parquet', questions)
  task = by_name.get('squad_v2')
  read = load.load(task, 'train', tmp_path)
  assert [row['answers'] for row in read.rows] == [
    {'text': ['Ann'], 'answer_start': [4]}, {'text': [], 'answer_start': []},
  ]  # fmt: skip
  assert [row['id'] for row in read.rows] == ['a', 'b']
  with pytest.raises(ValueError, match='question b: no answer'):
    load.load(by_name.get('squad_v1'), 'train', tmp_path)


def test_own_texts_of_tables_keep_their_ids(tmp_path):
  task = by_name.get('sst2')
  made = table({'sentence': ['a, b', ''], 'id': ['x', 'y'], 'z': [1, 2]})
  expected = [{'sentence': 'a, b', 'idx': 'x'}, {'sentence': '', 'idx': 'y'}]
  (tmp_path / 'd').mkdir()
  for name, write in (
    ('a.parquet', parquet_file), ('b', parquet_file), ('c', stream),
    ('e', feather_file), ('d/data-00000-of-00001.parquet', parquet_file),
  ):  # fmt: skip
    write(tmp_path / name, made)
  for name in ('a.parquet', 'b', 'c', 'e', 'd'):
    path = str(tmp_path / name)
    assert [*own_texts.groups(path, task, size=1)] == [[r] for r in expected]
  again = own_texts.groups(str(tmp_path / 'b'), task, 'parquet')
  assert [*again] == [expected]
  with pytest.raises(ValueError, match='tables are read from files'):
    next(own_texts.groups('-', task, 'parquet'))
  with pytest.raises(ValueError, match="expected 'sentence1', 'sentence2'"):
    next(own_texts.groups(str(tmp_path / 'b'), by_name.get('rte')))


def test_data_check_reads_them(tmp_path, capsys):
  texts = [f'word{i} here' for i in range(20)]
  made = table({'text': texts, 'label': [i % 2 for i in range(20)]}, CLASSES)
  saved(tmp_path / 'd' / 'train', made.slice(0, 12))
  saved(tmp_path / 'd' / 'validation', made.slice(12))
  (tmp_path / 'task.yaml').write_text(YAML.format(dataset='datasets:d'))
  stopped = status(
    command, 'check', f'--task={tmp_path}/task.yaml', arguments=True
  )
  assert stopped == 0
  said = capsys.readouterr().out
  assert 'ok       train: 12 rows, labelled, arrow' in said
  assert 'ok       validation: 8 rows' in said and ' 0 errors' in said


def test_without_the_library_one_line_says_what_to_install(
  tmp_path, monkeypatch
):
  parquet_file(tmp_path / 'a.parquet', table())
  monkeypatch.setitem(sys.modules, 'pyarrow', None)
  with pytest.raises(ImportError, match=r"pip install 'glue_jax\[parquet\]'"):
    own(tmp_path, 'parquet:a.parquet')


def test_columns_that_no_one_reads_are_not_read(tmp_path):
  parquet_file(tmp_path / 'a.parquet', table({'a': ['x'], 'image': [b'\xff']}))
  read = arrow.read(tmp_path / 'a.parquet', None, 'parquet', ['a'], kept=['a'])
  assert [*read] == [(1, {'a': 'x'})]
