"""Data fetched from a hub and from the network: rows, sums, what breaks off."""

import json
import os
import sys

import pytest

from glue_jax.data import fetch, load
from glue_jax.data.readers import arrow
from glue_jax.data.tasks import by_name
from launch import data as command
from tests import hub_server
from tests.commands import status
from tests.data.readers.tables import parquet_file, table

NAMES = ['entailment', 'not_entailment']
# The Hub's order of the names may be another than the record's.
CLASSES = {'label': {'names': NAMES[::-1], '_type': 'ClassLabel'}}
COUNTS = {'train': 6, 'validation': 2, 'test': 3}


@pytest.fixture(scope='module')
def hub():
  with hub_server.serve() as served:
    yield served


@pytest.fixture
def rte(hub, tmp_path, monkeypatch):
  """A repository with RTE in few rows, of which the record knows."""
  task = by_name.get('rte')
  for split, count in COUNTS.items():
    monkeypatch.setitem(task.splits, split, count)
  monkeypatch.setattr(hub, 'repositories', {})
  repository = hub.add(task.hub.repository, rows(tmp_path), kind='dataset')
  monkeypatch.delenv('GLUE_JAX_DATA', raising=False)
  with hub.client(tmp_path / 'cache'):
    yield repository


def rows(tmp_path, name='rte/{}-{:05}-of-{:05}.parquet', shards=2):
  """{path in the repository: content}; train is in shards."""
  files, path = {'README.md': b'RTE'}, tmp_path / 'made.parquet'
  for split, count in COUNTS.items():
    parts = shards if split == 'train' else 1
    for part in range(parts):
      numbers = range(part, count, parts)
      made = {
        'sentence1': [f'{split} {i}' for i in numbers],
        'sentence2': ['b'] * len(numbers),
        'label': [-1 if split == 'test' else i % 2 for i in numbers],
        'idx': [*numbers],
      }
      parquet_file(path, table(made, CLASSES))
      files[name.format(split, part, parts)] = path.read_bytes()
  return files


def prepare(*arguments):
  return status(command, 'prepare', *arguments, arguments=True)


def test_parquet_of_the_hub_becomes_a_data_folder(rte, tmp_path, capsys):
  data = tmp_path / 'data'
  stopped = prepare('--task=rte', '--source=hub', f'--data_dir={data}')
  assert stopped == 0
  said = capsys.readouterr().out
  for text in (
    'ok       train: 6 rows\n',
    f'rte: prepared in {data}/RTE (nyu-mll/glue, rte, commit {rte.commit})\n',
    f'data_dir: {data}\n',
    f'next: python -m launch.data check --task=rte --data_dir={data}\n',
  ):
    assert text in said
  assert sorted(p.name for p in (data / 'RTE').iterdir()) == [
    'source.json',
    'test-00000-of-00001.parquet',
    'train-00000-of-00002.parquet',
    'train-00001-of-00002.parquet',
    'validation-00000-of-00001.parquet',
  ]
  about = json.loads((data / 'RTE' / 'source.json').read_text())
  assert (about['commit'], about['rows']) == (rte.commit, COUNTS)
  task = by_name.get('rte')
  train = load.load(task, 'train', data)
  # Label 0 there is not_entailment, by its name.
  assert [(r['idx'], r['label']) for r in train.rows] == [
    (0, 1), (2, 1), (4, 1), (1, 0), (3, 0), (5, 0),
  ]  # fmt: skip
  assert not train.notes and not load.load(task, 'test', data).labelled
  # Again, it replaces what it brought, and fetches nothing anew.
  assert prepare('--task=rte', '--source=hub', f'--data_dir={data}') == 0
  assert load.load(task, 'train', data).rows == train.rows


def test_a_commit_that_is_named_and_a_folder_that_nobody_names(
  rte, hub, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  old = rte.commit
  monkeypatch.setitem(COUNTS, 'train', 7)
  hub.add('nyu-mll/glue', rows(tmp_path), kind='dataset')
  assert prepare('--task=rte', '--source=hub', f'--revision={old}') == 0
  assert f'commit {old}' in capsys.readouterr().out
  assert len(load.load(by_name.get('rte'), 'train', 'data')) == 6
  # The newest has a row too many for the record: said, and exit status 1.
  assert prepare('--task=rte', '--source=hub') == 1
  said = capsys.readouterr().out
  assert 'WARNING  train: 7 rows, the official split has 6' in said
  assert 'source.json' in os.listdir('data/RTE')
  assert 'goes with --source=hub' in prepare('--task=rte', '--revision=x')


def test_the_conversion_is_taken_where_main_has_no_parquet(
  rte, hub, tmp_path, capsys
):
  hub.add('nyu-mll/glue', {'glue.py': b''}, kind='dataset')
  converted = {
    f'rte/{split}/0000.parquet': content
    for path, content in rows(tmp_path, shards=1).items()
    if (split := path.split('/')[-1].split('-')[0]) in COUNTS
  }
  data = f'--data_dir={tmp_path}/data'
  said = prepare('--task=rte', '--source=hub', data)
  assert said.startswith('error: nyu-mll/glue has no Parquet files of train, ')
  assert said.endswith('--revision names another branch, tag or commit')
  hub.add('nyu-mll/glue', converted, kind='dataset', revision=fetch.CONVERTED)
  assert prepare('--task=rte', '--source=hub', data) == 0
  assert len(load.load(by_name.get('rte'), 'train', tmp_path / 'data')) == 6
  said = prepare('--task=rte', '--source=hub', data, '--revision=main')
  assert (
    'no Parquet files of train, validation, test under rte/ at main;' in said
  )


def test_a_download_that_breaks_off_leaves_nothing_and_goes_on(rte, tmp_path):
  name = 'rte/train-00001-of-00002.parquet'
  rte.cut = {name: 100}
  ask = '--task=rte', '--source=hub', f'--data_dir={tmp_path}/data'
  said = prepare(*ask)
  assert said.startswith('error: nyu-mll/glue: ') and '\n' not in said
  assert not (tmp_path / 'data').exists()
  rte.cut = {}
  assert prepare(*ask) == 0
  assert len(load.load(by_name.get('rte'), 'train', tmp_path / 'data')) == 6


def test_a_file_that_is_another_than_the_hub_says_is_refused(rte, tmp_path):
  ask = '--task=rte', '--source=hub', f'--data_dir={tmp_path}/data'
  assert prepare(*ask) == 0
  [blob, *_] = [
    path.resolve()
    for path in (tmp_path / 'cache').rglob('train-00000-of-00002.parquet')
  ]
  blob.write_bytes(blob.read_bytes().replace(b'train 0', b'train 9'))
  before = load.load(by_name.get('rte'), 'train', tmp_path / 'data').rows
  said = prepare(*ask)
  assert f'the Hub says {blob.name}; remove {blob}' in said
  assert (
    load.load(by_name.get('rte'), 'train', tmp_path / 'data').rows == before
  )
  # A set that lacks a shard is no split.
  rte.push({p: c for p, c in rte.files.items() if '00001-of-00002' not in p})
  assert 'train: 1 of 2 files are missing' in prepare(*ask)


def test_what_the_hub_does_not_give_is_one_line(rte, hub, tmp_path):
  ask = '--source=hub', f'--data_dir={tmp_path}/data'
  assert 'has no such dataset' in prepare('--task=cb', *ask)
  assert "no branch, tag or commit 'x'" in prepare(
    '--task=rte', *ask, '--revision=x'
  )
  rte.gated = True
  assert 'ask at' in prepare('--task=rte', *ask)
  assert 'names no repository of the Hub' in prepare(
    '--task=mini_sentiment', *ask
  )
  with hub.client(tmp_path / 'empty', HF_HUB_OFFLINE=True):
    assert 'HF_HUB_OFFLINE' in prepare('--task=rte', *ask)
  assert not (tmp_path / 'data').exists()


def test_other_files_of_the_task_are_in_the_way(rte, tmp_path, monkeypatch):
  ask = '--task=rte', '--source=hub', f'--data_dir={tmp_path}/data'
  folder = tmp_path / 'data' / 'RTE'
  folder.mkdir(parents=True)
  (folder / 'dev.tsv').write_text('x')
  said = prepare(*ask)
  assert (
    f"{folder}/dev.tsv is there, another file of split 'validation'" in said
  )
  (folder / 'dev.tsv').unlink()
  version = tmp_path / 'data' / 'glue' / 'rte' / '2.0.0'
  version.mkdir(parents=True)
  (version / 'dataset_info.json').write_text('{}')
  assert f'{version} is there and would be read instead' in prepare(*ask)
  monkeypatch.setitem(sys.modules, 'pyarrow', None)
  with pytest.raises(ImportError, match=r'glue_jax\[parquet\]'):
    arrow.library()


def test_every_task_names_what_is_its(rte):
  named = {
    task.name: (task.hub.repository, task.hub.config)
    for task in by_name.TASKS.values()
    if task.hub
  }
  assert named['axb'] == ('aps/super_glue', 'axb')
  assert named['superglue_rte'] == ('aps/super_glue', 'rte')
  assert named['squad_v1'] == ('rajpurkar/squad', 'plain_text')
  assert named['mnli'] == ('nyu-mll/glue', 'mnli')
  assert len(named) == 10 + 10 + 2 + 5
