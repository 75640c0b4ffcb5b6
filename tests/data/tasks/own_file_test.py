"""A user's own task from one YAML file: defaults, splits, and its mistakes."""

import json
import types

import pytest

from glue_jax.data import features, load, wordpiece
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Prompt
from launch import data as command

BASE = """\
name: mine
dataset: jsonl:rows.jsonl
columns: {text: text}
label_names: ['no', 'yes']
kind: classification
"""


@pytest.fixture
def folder(tmp_path):
  write(
    tmp_path / 'rows.jsonl',
    [(f'word{i} here', 'yes' if i % 2 else 'no') for i in range(40)],
  )
  return tmp_path


def write(path, rows):
  lines = [
    json.dumps({'id': i, 'text': text, 'label': label})
    for i, (text, label) in enumerate(rows)
  ]
  path.write_text('\n'.join(lines) + '\n')


def make(folder, text=BASE, **given):
  (folder / 'task.yaml').write_text(text)
  return by_name.make(str(folder / 'task.yaml'), **given)


def test_defaults_cut_a_tenth_of_the_one_file(folder):
  task = make(folder)
  assert (task.name, task.metrics, task.test_splits) == (
    'mine',
    ('accuracy',),
    (),
  )
  train, dev = (load.load(task, split) for split in ('train', 'validation'))
  assert (len(train), len(dev)) == (36, 4)
  assert train.notes == dev.notes == ()
  ids = [row['idx'] for table in (train, dev) for row in table.rows]
  assert sorted(ids) == list(range(40))
  again = load.load(make(folder), 'validation')
  assert again.rows == dev.rows
  whole = load.load(make(folder, given_back=('validation',)), 'train')
  assert len(whole) == 40


def test_splits_by_file_and_cuts_are_disjoint(folder):
  write(folder / 'more.jsonl', [('other words', 'no')] * 3)
  text = BASE + (
    'splits:\n'
    '  train: train\n'
    '  validation: {from: train, fraction: .25, seed: 1}\n'
    '  test: more\n'
  )
  task = make(folder, text)
  assert len(load.load(task, 'validation')) == 10
  assert len(load.load(task, 'train')) == 30
  assert len(load.load(task, 'test')) == 3
  both = text.replace(
    'test: more', 'test: {from: train, fraction: .5, seed: 1}'
  )
  task = make(folder, both)
  ids = [
    {row['idx'] for row in load.load(task, split).rows}
    for split in ('train', 'validation', 'test')
  ]
  assert [len(part) for part in ids] == [10, 10, 20]
  assert len(set.union(*ids)) == 40
  # A last training has back what was searched on, never what is scored.
  given = load.load(make(folder, both, given_back=('validation',)), 'train')
  assert not ids[2] & {row['idx'] for row in given.rows}
  assert len(given) == 20


def test_a_folder_has_a_file_for_each_split(tmp_path):
  (tmp_path / 'd').mkdir()
  for name in ('train', 'validation', 'test'):
    write(
      tmp_path / 'd' / f'{name}.jsonl',
      [(f'{name} {i}', 'no') for i in range(3)],
    )
  task = make(tmp_path, BASE.replace('rows.jsonl', 'd'))
  assert not task.cuts and task.test_splits == ('test',)
  assert len(load.load(task, 'test')) == 3


def test_sequence_labelling_from_one_token_a_line(tmp_path):
  (tmp_path / 'rows.conll').write_text(
    '-DOCSTART- x\n\nAnna N B-per\nsings V O\n\nin P O\nRome N B-loc\n'
  )
  text = """\
name: tags
dataset: conll:rows.conll
columns: {tokens: 0}
label_names: [O, B-per, I-per, B-loc, I-loc]
kind: sequence_labeling
metric: [f1_macro, f1_micro]
splits: {train: train, validation: {from: train, fraction: .5, seed: 0}}
seq_mode: strict
"""
  task = make(tmp_path, text)
  assert (task.kind, task.seq_mode) == ('token_classification', 'strict')
  assert task.metrics == ('macro_f1', 'micro_f1')
  tables = [load.load(task, split) for split in ('train', 'validation')]
  rows = sorted(
    (t.rows[0]['tokens'], t.rows[0]['label'], t.lines) for t in tables
  )
  assert rows == [
    (['Anna', 'sings'], [1, 0], (3,)),
    (['in', 'Rome'], [0, 3], (6,)),
  ]
  tokenizer = wordpiece.train(['Anna sings in Rome'], 60)
  examples = features.tokenize(tables[0], tokenizer)
  kept = examples.token_labels[examples.token_labels != -100]
  assert kept.tolist() == tables[0].rows[0]['label']
  with pytest.raises(ValueError, match="task.yaml:8: seq_mode: 'loose'"):
    make(tmp_path, text.replace('strict', 'loose'))


def test_a_pair_task_and_a_regression(folder):
  text = BASE.replace('{text: text}', '{text: text, text_pair: other}')
  text = text.replace('kind: class', 'kind: pair_class')
  assert make(folder, text).columns == ('text', 'other')
  text = BASE.replace(
    "label_names: ['no', 'yes']\n", 'metric: mean_squared_error\n'
  )
  task = make(folder, text.replace('classification', 'regression'))
  assert (task.kind, task.direction) == ('regression', 'min')


@pytest.mark.parametrize(
  'names',
  ['no, yes', 'off, on', '010, 020', '1, 5', '1, 0', 'null, none', '~, x',
   'true, false', '2019-01-01, 2019-13-01', '1.0, 2.50', '1e3, .inf', '-1, 1',
   '0x1F, 1_000', '12:30:00, =', 'Nein, \u662f'],
)  # fmt: skip
def test_label_names_are_the_text_in_the_file(tmp_path, names):
  labels = names.split(', ')
  rows = ''.join(f't{i},{name}\n' for i, name in enumerate(labels * 2))
  (tmp_path / 'on.csv').write_text('no,010\n' + rows)
  text = BASE.replace("'no', 'yes'", names).replace(
    '{text: text}', '{text: no}'
  )
  text = text.replace('jsonl:rows.jsonl', 'csv:.') + 'target: 010\n'
  task = make(tmp_path, text + 'splits: {train: on}\n', cuts={})
  assert task.labels == tuple(labels)
  table = load.load(task, 'train')
  assert [row['label'] for row in table.rows] == [0, 1, 0, 1]


def test_multilabel(tmp_path):
  rows = [
    {'text': 'one', 'label': ['yes', 'no']},
    {'text': 'two', 'label': []},
    {'text': 'three', 'label': '["yes"]'},
  ]
  (tmp_path / 'rows.jsonl').write_text('\n'.join(map(json.dumps, rows)))
  text = BASE.replace('classification', 'multilabel')
  task = make(tmp_path, text + 'metric: [f1_micro, exact_accuracy]\n', cuts={})
  assert task.metrics == ('micro_f1', 'exact_accuracy')
  table = load.load(task, 'train')
  assert table.labels().tolist() == [[1, 1], [0, 0], [0, 1]]
  with pytest.raises(ValueError, match="task.yaml:6: metric: 'accuracy'"):
    make(tmp_path, text + 'metric: accuracy\n')


@pytest.mark.parametrize(
  'old, new, message',
  [
    ("['no', 'yes']", '[no, [a]]', "task.yaml:4: label_names: ['a'] is no"),
    ("['no', 'yes']", '[no, ~, ""]', 'has an empty name'),
    ('kind: classification', 'kind: classify', "task.yaml:5: kind: 'classify'"),
    ('columns: {text: text}', 'columns: text', 'task.yaml:3: columns'),
    ('jsonl:rows', 'hub:rows', "task.yaml:2: dataset: 'hub'"),
    ('jsonl:rows.jsonl', 'jsonl', 'expected jsonl:PATH'),
    ('name: mine', 'name: rte', "task.yaml:1: name: 'rte' is the name of a"),
    ('name: mine', 'name: a b', 'task.yaml:1: name'),
    ('name: mine', 'nmae: mine', "task.yaml:1: unknown key 'nmae'"),
    ('name: mine\n', '', 'name missing'),
    ('kind:', 'metric: [f2]\nkind:', "task.yaml:5: metric: 'f2'"),
    (
      'kind:',
      'splits: {test: rows}\nkind:',
      'task.yaml:5: splits: train and test are both',
    ),
    ('jsonl:rows.jsonl', 'tfds:a/b\nsplits: {test: t}', 'train is missing'),
    ('kind:', 'splits: {train: no}\nkind:', "splits: train: no file 'no'"),
    (
      'kind:',
      'splits: {train: train, validation: {from: train, fraction: 2}}\nkind:',
      'fraction=2',
    ),
    ('kind:', 'splits: {train: train, validation: {frm: a}}\nkind:', "'frm'"),
    ('kind:', 'unanswerable: true\nkind:', 'unanswerable: for span_qa only'),
    ("'no', 'yes'", 'a, b, c]\nmetric: [f1', 'use macro_f1 or micro_f1'),
    ('kind:', 'max_length: 2.5\nkind:', 'task.yaml:5: max_length: 2.5'),
    ('kind:', 'max_length: long\nkind:', 'task.yaml:5: max_length'),
    ('kind:', 'seq_mode: loose\nkind:', 'task.yaml:5: seq_mode'),
    ('kind:', 'seq_mode: conll\nkind:', 'for sequence labelling only'),
    ('kind:', 'name: again\nkind:', "key 'name' is given twice"),
    ('{text: text}', '{text: text', 'not YAML'),
    ("label_names: ['no', 'yes']\n", '', 'task.yaml:1: label_names: ()'),
    ("['no', 'yes']", "['no', 'no']", "task.yaml:4: label_names: 'no' is"),
  ],
)
def test_mistakes_are_named_with_file_and_line(folder, old, new, message):
  assert old in BASE
  with pytest.raises(ValueError) as error:
    make(folder, BASE.replace(old, new))
  assert message in str(error.value)


def test_missing_files(folder):
  with pytest.raises(FileNotFoundError, match='none.yaml does not exist'):
    by_name.make(str(folder / 'none.yaml'))
  with pytest.raises(FileNotFoundError, match='nothing.jsonl does not exist'):
    make(folder, BASE.replace('rows.jsonl', 'nothing.jsonl'))


@pytest.fixture
def check(capsys, monkeypatch):
  """Runs the command's check; other tests may hold flags of these names."""
  defaults = dict(
    data_dir=None,
    files=[],
    splits=[],
    bad_rows='error',
    seed=0,
    examples=2,
    tokenizer=None,
    max_length=None,
  )
  monkeypatch.setattr(command, 'FLAGS', types.SimpleNamespace(**defaults))
  return lambda task: (command.check(task), capsys.readouterr().out)


def test_check_finds_what_whole_splits_have_wrong(folder, check):
  write(folder / 'more.jsonl', [('word3 here', 'yes'), ('new', 'no')])
  write(folder / 'only.jsonl', [(f'word{i} here', 'yes') for i in range(9)])
  text = BASE + 'splits: {train: only, test: more}\n'
  errors, out = check(make(folder, text))
  assert errors == 2, out
  assert 'test: 1 rows have a text that is also in' in out
  assert 'more.jsonl:1 is' in out and 'only.jsonl:4' in out
  assert "more.jsonl:2 has the label 'no', which no row of train has" in out
  assert check(make(folder))[0] == 0


@pytest.mark.parametrize(
  'line, message',
  [
    ({'id': 0, 'text': 'a', 'label': 'no'}, 'rows.jsonl:41: id 0 was already'),
    ({'id': 99, 'text': 'a', 'label': 'maybe'}, "41: unknown label 'maybe'"),
    (
      {'id': 99, 'label': 'no'},
      "rows.jsonl:41: keys ['id', 'label'] lack text",
    ),
    ({'id': 99, 'text': '', 'label': 'no'}, "rows.jsonl:41: column 'text'"),
  ],
)
def test_check_finds_bad_rows(folder, check, line, message):
  with (folder / 'rows.jsonl').open('a') as file:
    file.write(json.dumps(line) + '\n')
  errors, out = check(make(folder))
  assert errors == 2 and message in out  # train and validation share the file


def test_check_finds_an_empty_split(folder, check):
  (folder / 'more.jsonl').write_text('')
  text = BASE + 'splits: {train: train, test: more}\n'
  errors, out = check(make(folder, text))
  assert errors == 1 and 'more.jsonl:1: the file is empty' in out


def test_a_file_may_ask_by_a_prompt(folder):
  asked = "prompt: 'so: {text}?'\nclosing: '.'\n"
  task = make(folder, BASE + asked)
  assert task.prompt == Prompt('so: {text}?', ('no', 'yes'), '.')
  written = make(
    folder,
    'name: mine\ndataset: jsonl:rows.jsonl\ncolumns: {text: text}\n'
    'target: label\nkind: generation\nmetric: rouge1\n',
  )
  assert load.load(written, 'train').labels()[0] in ('no', 'yes')
  for text, words in (
    ('words: [a, b]\n', "prompt='' names no column"),
    (asked + 'words: a\n', 'must be one for each label'),
    (asked + 'words: [a, A]\n', 'all different'),
  ):
    with pytest.raises(ValueError) as error:
      make(folder, BASE + text)
    assert words in str(error.value)
