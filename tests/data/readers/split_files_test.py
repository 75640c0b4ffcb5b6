"""Splits in several files: sets of shards, folders, patterns; lines, ids."""

import pytest

from glue_jax.data import load
from glue_jax.data.readers import split_files
from glue_jax.data.tasks import by_name
from tests.data.readers.tables import (
  YAML,
  own,
  parquet_file,
  saved,
  table,
)


def test_a_pattern_is_a_path_that_is_not_there(tmp_path):
  (tmp_path / 'a[1].csv').touch()
  assert not split_files.is_pattern(tmp_path / 'a[1].csv')
  assert split_files.of(tmp_path / 'a[1].csv') == [tmp_path / 'a[1].csv']
  assert split_files.of(tmp_path / 'a*') == [tmp_path / 'a[1].csv']
  with pytest.raises(FileNotFoundError, match='no data file is there'):
    split_files.of(tmp_path / 'b*')


def test_shards_folders_and_patterns_are_one_split(tmp_path):
  parts = [table({'text': [f'{i}{j}' for j in range(3)], 'label': ['no'] * 3})
           for i in range(2)]  # fmt: skip
  for number, part in enumerate(parts):
    parquet_file(tmp_path / f'train-{number:05}-of-00002.parquet', part)
  texts = ['00', '01', '02', '10', '11', '12']
  (tmp_path / 'd').mkdir()
  for number, part in enumerate(parts):
    parquet_file(tmp_path / 'd' / f'part{number}.parquet', part)
  (tmp_path / 'd' / '_SUCCESS').touch()
  text = YAML + 'splits: {{train: {train}}}\n'
  for dataset, train in (
    ('parquet:.', 'train'),
    ('parquet:.', 'd'),
    ('parquet:.', 'd/part*.parquet'),
    ('parquet:train-00001-of-00002.parquet', 'train'),
    ('parquet:d/*.parquet', 'train'),
  ):
    read = own(tmp_path, dataset, text=text.replace('{train}', train))
    assert [row['text'] for row in read.rows] == texts, (dataset, train)
    assert [row['idx'] for row in read.rows] == [*range(6)]
    assert read.place(4).endswith('.parquet:2') and '1' in read.place(4)
  # Of a known task they are found by themselves, and lines are their file's.
  rte = {'sentence1': ['a', 'b'], 'sentence2': ['c', 'd']}
  (tmp_path / 'RTE').mkdir()
  second = tmp_path / 'RTE' / 'train-00001-of-00002.parquet'
  parquet_file(second, table({**rte, 'label': [1, 7]}))
  with pytest.raises(ValueError, match='train: 1 of 2 files are missing'):
    load.load(by_name.get('rte'), 'train', tmp_path)
  first = second.with_name('train-00000-of-00002.parquet')
  parquet_file(first, table({**rte, 'label': [0, 1]}))
  with pytest.raises(ValueError, match=f'{second}:2: unknown label 7'):
    load.load(by_name.get('rte'), 'train', tmp_path)
  read = load.load(by_name.get('rte'), 'train', tmp_path, bad_rows='drop')
  assert f'1 bad rows were left out ({second}:2: unknown' in read.notes[0]
  parquet_file(second, table({**rte, 'label': [1, 0], 'idx': [5, 5]}))
  parquet_file(first, table({**rte, 'label': [1, 0], 'idx': [1, 5]}))
  with pytest.raises(ValueError, match=f'already used in {first}:2'):
    load.load(by_name.get('rte'), 'train', tmp_path)


def test_lines_may_be_in_shards_too(tmp_path):
  for number, text in enumerate(('a\tno\n', 'b\tyes\nc\tmaybe\n')):
    path = tmp_path / f'train-{number:05}-of-00002.tsv'
    path.write_text(f'text\tlabel\n{text}')
  with pytest.raises(ValueError, match=f"{path}:3: unknown label 'maybe'"):
    own(tmp_path, 'tsv:.')
  assert len(own(tmp_path, 'tsv:.', bad_rows='drop')) == 2


def test_a_saved_folder_that_is_not_whole(tmp_path):
  saved(tmp_path / 'a', table(), table())
  (tmp_path / 'a' / 'data-00001-of-00002.arrow').unlink()
  with pytest.raises(FileNotFoundError, match='00001-of-00002.arrow is miss'):
    own(tmp_path, 'datasets:a')
  state = tmp_path / 'a' / 'state.json'
  state.write_text('{"_data_files": [], "_indices_data_files": [{}]}')
  with pytest.raises(ValueError, match='flatten_indices'):
    own(tmp_path, 'datasets:a')
  state.write_text('[]')
  with pytest.raises(ValueError, match='not what `save_to_disk` writes'):
    own(tmp_path, 'datasets:a')
