"""SuperGLUE's zip: each file's form, order and ids, and what is refused."""

import functools
import json
import types
import zipfile

import numpy as np
import pytest

from glue_jax.data import load
from glue_jax.data.tasks import by_name
from glue_jax.inference import predict, submit_runs, submit_superglue
from launch import submit as command
from tests.commands import status

COUNTS = {
  'BoolQ.jsonl': 3245, 'CB.jsonl': 250, 'COPA.jsonl': 500, 'RTE.jsonl': 3000,
  'WiC.jsonl': 1400, 'WSC.jsonl': 146, 'AX-b.jsonl': 1104, 'AX-g.jsonl': 356,
  'MultiRC.jsonl': 166, 'ReCoRD.jsonl': 10000,
}  # fmt: skip
NAMES = {file: task for file, (task, _) in submit_superglue.files().items()}


@functools.cache
def multirc_ids():
  """Ids of the test split's shape: 166 passages, 1820 questions."""
  questions = np.sort(np.arange(9693) % 1820)
  passages = np.sort(np.arange(1820) % 166)
  return [f'{passages[q]}-{q}-{a}' for a, q in enumerate(questions)]


def records(file, seed=0):
  """Random predictions of a file, in a random order."""
  task, rng = NAMES[file], np.random.default_rng(seed)
  names = task.labels or task.choices
  if task.name == 'record':
    rows = [
      {'idx': f'{i // 3}-{i}-{j}', 'candidate': f'Zoë {i} {j}',
       'probabilities': {'True': float(rng.random()), 'False': 0.0}}
      for i in range(10000) for j in range(2)
    ]  # fmt: skip
  else:
    ids = range(COUNTS[file])
    if task.name == 'multirc':
      ids = multirc_ids()
    if task.name == 'axg':
      ids = [f'{i // 2}-{i}' for i in ids]
    rows = [{'idx': i, 'prediction': names[rng.integers(len(names))]}
            for i in ids]  # fmt: skip
  return [rows[i] for i in rng.permutation(len(rows))]


@functools.cache
def written(folder):
  """A zip of all files, what it was made of, and its lines."""
  given = {file: records(file) for file in NAMES}
  path = folder / 'all.zip'
  rows = submit_superglue.write(path, given)
  with zipfile.ZipFile(path) as archive:
    texts = {name: archive.read(name).decode() for name in archive.namelist()}
  lines = {n: [*map(json.loads, t.splitlines())] for n, t in texts.items()}
  return path, rows, given, texts, lines


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('superglue')


def test_the_zip_has_the_ten_files_with_a_line_each(folder):
  path, rows, _, _, lines = written(folder)
  assert {n: len(found) for n, found in lines.items()} == COUNTS
  assert {r['file']: r['rows'] for r in rows} == COUNTS
  assert {r['prediction'] for r in rows} == {'from a run'}
  assert submit_superglue.read(path) == lines
  for name, found in lines.items():
    assert [line['idx'] for line in found] == [*range(COUNTS[name])], name


@pytest.mark.parametrize(
  'file, forms',
  [
    ('BoolQ.jsonl', {'True': 'true', 'False': 'false'}),
    ('WiC.jsonl', {'True': 'true', 'False': 'false'}),
    ('WSC.jsonl', {'True': 'True', 'False': 'False'}),
    ('COPA.jsonl', {'choice1': 0, 'choice2': 1}),
    ('CB.jsonl', None),
    ('RTE.jsonl', None),
    ('AX-b.jsonl', None),
    ('AX-g.jsonl', None),
  ],
)
def test_labels_are_as_each_file_has_them(folder, file, forms):
  _, _, given, _, lines = written(folder)
  forms = forms or {name: name for name in NAMES[file].labels}
  said = {
    int(str(r['idx']).split('-')[-1]): forms[r['prediction']]
    for r in given[file]
  }
  assert {line['idx']: line['label'] for line in lines[file]} == said
  assert all(list(line) == ['idx', 'label'] for line in lines[file])


def test_multirc_is_nested_and_record_has_texts(folder):
  _, _, given, texts, lines = written(folder)
  said = {
    r['idx']: int(r['prediction'] == 'True') for r in given['MultiRC.jsonl']
  }
  assert {
    f'{line["idx"]}-{q["idx"]}-{a["idx"]}': a['label']
    for line in lines['MultiRC.jsonl']
    for q in line['passage']['questions']
    for a in q['answers']
  } == said
  assert texts['MultiRC.jsonl'].startswith(
    '{"idx": 0, "passage": {"questions": [{"idx": 0, "answers": [{"idx": 0, '
  )
  best = {}
  for record in given['ReCoRD.jsonl']:
    query = int(record['idx'].split('-')[1])
    share = record['probabilities']['True']
    if share > best.get(query, (-1, ''))[0]:
      best[query] = share, record['candidate']
  assert {x['idx']: x['label'] for x in lines['ReCoRD.jsonl']} == {
    query: text for query, (_, text) in best.items()
  }
  assert 'Zoë' in texts['ReCoRD.jsonl']


def test_tasks_that_were_not_run_are_filled_and_said(tmp_path):
  given = {'WSC.jsonl': records('WSC.jsonl')}
  rows = submit_superglue.write(tmp_path / 'a', given, multirc_ids())
  said = {row['file']: row['prediction'] for row in rows}
  assert said.pop('WSC.jsonl') == 'from a run'
  assert said['BoolQ.jsonl'] == 'constant false: not run'
  assert said['MultiRC.jsonl'] == said['COPA.jsonl'] == 'constant 0: not run'
  assert said['ReCoRD.jsonl'] == 'constant "": not run'
  assert len(said) == 9
  with pytest.raises(ValueError, match='MultiRC.jsonl: not run, .*--data_dir'):
    submit_superglue.write(tmp_path / 'b', given)
  submit_superglue.write(tmp_path / 'c', given, multirc_ids())
  assert (tmp_path / 'a').read_bytes() == (tmp_path / 'c').read_bytes()
  assert sorted(p.name for p in tmp_path.iterdir()) == ['a', 'c']


@pytest.mark.parametrize(
  'file, change, message',
  [
    ('WSC.jsonl', lambda r: r[:-1], '1 of 146 are missing, the first is index'),
    ('WSC.jsonl', lambda r: [*r, r[0]], r'index \d+ repeated'),
    ('WSC.jsonl', lambda r: [{**r[0], 'idx': 146}, *r[1:]], 'to 145'),
    ('WSC.jsonl', lambda r: [{**r[0], 'idx': [1]}, *r[1:]], "1.': expected"),
    ('CB.jsonl', lambda r: [{**r[0], 'prediction': 1}, *r[1:]], 'label 1;'),
    ('COPA.jsonl', lambda r: [{'idx': 3}, *r[1:]], 'unknown label None'),
    ('MultiRC.jsonl', lambda r: r[1:], '1 of 9693 are missing'),
    ('MultiRC.jsonl', lambda r: [*r, r[0]], r'answer \d+ repeated'),
    ('MultiRC.jsonl', lambda r: [{**r[0], 'idx': 7}, *r[1:]], 'id 7: .*exp'),
    ('ReCoRD.jsonl', lambda r: [x for x in r if '-5-' not in x['idx']],
     'the first is query 5'),
    ('ReCoRD.jsonl', lambda r: [{**r[0], 'candidate': None}, *r], 'candidate'),
    ('SST-2.tsv', lambda r: r, 'not a file of the zip'),
  ],
)  # fmt: skip
def test_wrong_predictions_are_refused_and_nothing_is_written(
  tmp_path, file, change, message
):
  given = {file: change(records(file) if file in NAMES else [])}
  with pytest.raises(ValueError, match=message) as error:
    submit_superglue.write(tmp_path / 'a', given, multirc_ids())
  assert f'\n{file}: ' in str(error.value)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'file, old, new, message',
  [
    (
      'WSC.jsonl',
      '"label": "True"',
      '"label": "true"',
      r'WSC.jsonl:\d+: .*true',
    ),
    ('COPA.jsonl', '"label": 1', '"label": true', 'not a line of this file'),
    ('CB.jsonl', '{"idx": 0,', '{"idx": "0",', "CB.jsonl:1: .*'0'"),
    ('CB.jsonl', '{"idx": 0,', '{"idx": 1,', 'index 1 repeated'),
    ('BoolQ.jsonl', '{"idx": 7,', '{"id": 7,', "BoolQ.jsonl:8: .*'idx'"),
    ('MultiRC.jsonl', '{"questions"', '{"question"', 'MultiRC.jsonl:1: '),
    ('ReCoRD.jsonl', '"label": "Zo', '"label": ["Zo', 'ReCoRD.jsonl:1: not a'),
    ('RTE.jsonl', '\n', '', 'RTE.jsonl:1: not a line'),
  ],
)
def test_the_reader_names_what_is_wrong(
  folder, tmp_path, file, old, new, message
):
  texts = dict(written(folder)[3])
  assert old in texts[file]
  texts[file] = texts[file].replace(old, new, 1)
  with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
    for name, text in texts.items():
      archive.writestr(name, text)
  with pytest.raises(ValueError, match=message):
    submit_superglue.read(tmp_path / 'a.zip')


def test_the_command_fills_multirc_from_the_data_folder(tmp_path, capsys):
  lines = [json.dumps(record) + '\n' for record in records('CB.jsonl')]
  (tmp_path / 'cb.jsonl').write_text(''.join(lines))
  passages = {}
  for idx in multirc_ids():
    p, q, a = map(int, idx.split('-'))
    answers = passages.setdefault(p, {}).setdefault(q, [])
    answers.append({'idx': a, 'text': 'x'})
  place = tmp_path / 'superglue' / 'MultiRC'
  place.mkdir(parents=True)
  with (place / 'test.jsonl').open('w') as file:
    for p, questions in passages.items():
      asked = [{'idx': q, 'question': f'{q}?', 'answers': a}
               for q, a in questions.items()]  # fmt: skip
      line = {'idx': p, 'passage': {'text': 't', 'questions': asked}}
      file.write(json.dumps(line) + '\n')
  stopped = status(
    command,
    '--benchmark=superglue',
    f'--predictions=CB.jsonl={tmp_path}/cb.jsonl',
    f'--data_dir={tmp_path}',
    f'--output={tmp_path}/a.zip',
  )
  assert stopped in (0, None)
  assert '9 of 10 files hold a constant' in capsys.readouterr().out
  found = submit_superglue.read(tmp_path / 'a.zip')
  assert len(found['MultiRC.jsonl']) == 166


def test_a_run_of_rte_predicts_the_diagnostics_too(tmp_path, monkeypatch):
  """By the same model, unless they have a source of their own."""
  asked = []

  def predicted(name):
    one = types.SimpleNamespace(records=lambda: [{'of': name}])
    asked.append(name)
    return one

  config = types.SimpleNamespace(task={'name': 'superglue_rte'})
  monkeypatch.setattr(
    submit_runs.run_folder, 'read_config', lambda path: config
  )
  monkeypatch.setattr(
    predict, 'predict_split', lambda run, split: predicted(split)
  )
  monkeypatch.setattr(
    predict, 'predict_task', lambda run, task, split, data: predicted(task.name)
  )
  (tmp_path / 'g.jsonl').write_text('{"of": "file"}\n')
  found = submit_runs.records(
    submit_runs.boards()['superglue'],
    [tmp_path],
    [f'AX-g.jsonl={tmp_path}/g.jsonl'],
    lambda path, splits: types.SimpleNamespace(config=None),
    'data',
  )
  assert found == {
    'AX-g.jsonl': [{'of': 'file'}],
    'RTE.jsonl': [{'of': 'test'}],
    'AX-b.jsonl': [{'of': 'axb'}],
  }
  assert asked == ['test', 'axb']


def test_ids_are_those_that_the_readers_give(tmp_path):
  line = {
    'premise': 'p',
    'hypothesis': 'h',
    'pair_id': 9,
    'label': 'entailment',
  }
  place = tmp_path / 'superglue' / 'AX-g'
  place.mkdir(parents=True)
  text = ''.join(json.dumps({**line, 'idx': i}) + '\n' for i in range(4))
  (place / 'AX-g.jsonl').write_text(text)
  table = load.load(by_name.get('axg'), 'test', tmp_path)
  assert [row['idx'] for row in table.rows] == ['0-0', '0-1', '1-2', '1-3']
