"""Predictions as files: what is written is what is read back."""

import csv
import json
import os
import sys
import threading

import numpy as np
import pytest

from glue_jax.data.tasks import by_name
from glue_jax.evaluation.predictions import Predictions
from glue_jax.inference import write_predictions
from glue_jax.reporting import files

CLASSES = by_name.make(
  'own', kind='classification', columns=('text',), labels=('no, never', 'a"b')
)
SETS = by_name.make(
  'sets', kind='multilabel', columns=('text',), labels=('x', 'y\nz')
)
TEXTS = by_name.make('spans', kind='span', columns=('question', 'context'))
TAGS = by_name.make(
  'tags', kind='token_classification', columns=('tokens',), labels='O,B-x,I-x'
)


def classes(ids=(0, 'b\n"7"', 'ż'), labels=None):
  shares = np.linspace(0.1, 1 / 3, len(ids))
  return Predictions(
    CLASSES,
    'own',
    list(ids),
    np.arange(len(ids)) % 2,
    np.stack([shares, 1 - shares], 1),
    labels,
  )


def read_csv(path):
  with path.open(newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))


def test_csv_keeps_ids_names_and_every_digit(tmp_path):
  path, found = tmp_path / 'p.csv', classes(labels=np.array([1, 1, 0]))
  assert write_predictions.write_parts([found, found], path, 'csv') == 6
  rows = read_csv(path)
  assert list(rows[0]) == [
    *('idx', 'prediction', 'label', 'p(no, never)', 'p(a"b)')
  ]
  assert rows[:3] == rows[3:]
  for row, record in zip(rows, found.records()):
    assert row['idx'] == str(record['idx'])
    assert row['prediction'] == record['prediction']
    assert row['label'] == record['label']
    for name, value in record['probabilities'].items():
      assert float(row[f'p({name})']) == value
  assert b'\r' not in path.read_bytes()


def test_lists_are_json_and_texts_keep_their_lines(tmp_path):
  sets = Predictions(SETS, 's', [0, 1], [[0, 1], []], np.full((2, 2), 0.5))
  tags = Predictions(TAGS, 's', [0], [[0, 1, -1]])
  texts = Predictions(TEXTS, 's', [0, 1], ['one\n"two", 3', ''])
  texts.extra['id'] = ['q1', 'q2']
  for found in (sets, tags, texts):
    write_predictions.write(found, tmp_path / 'p.csv', 'csv')
    rows = read_csv(tmp_path / 'p.csv')
    for row, record in zip(rows, found.records(), strict=True):
      value = row['prediction']
      kept = value if found is texts else json.loads(value)
      assert kept == record['prediction']
  assert [row['id'] for row in rows] == ['q1', 'q2']


def test_parquet_is_what_json_lines_are(tmp_path):
  parquet = pytest.importorskip('pyarrow.parquet')
  path, found = tmp_path / 'p.parquet', classes()
  write_predictions.write_parts([found, found], path, 'parquet')
  file = parquet.ParquetFile(path)
  assert file.num_row_groups == 2  # written as they came
  rows = file.read().to_pylist()
  assert rows[:3] == rows[3:]
  for row, record in zip(rows, found.records()):
    assert row['idx'] == str(record['idx'])  # ids of two types: texts
    assert row['prediction'] == record['prediction']
    assert row['p(a"b)'] == record['probabilities']['a"b']
  write_predictions.write(classes(range(5)), path, 'parquet')
  assert parquet.read_table(path)['idx'].to_pylist() == [0, 1, 2, 3, 4]
  sets = Predictions(SETS, 's', [0], [[1]], np.full((1, 2), 0.5))
  write_predictions.write(sets, path, 'parquet')
  (row,) = parquet.read_table(path).to_pylist()
  assert json.loads(row['prediction']) == ['y\nz']
  before = path.read_bytes()
  with pytest.raises(ValueError, match="id 'b.*is no number of 64 bits"):
    write_predictions.write_parts([classes([1]), classes()], path, 'parquet')
  assert path.read_bytes() == before
  assert os.listdir(tmp_path) == ['p.parquet']


def test_parquet_is_refused_where_it_can_not_be(tmp_path, monkeypatch):
  with pytest.raises(ValueError, match='standard output.*--output=FILE'):
    write_predictions.write(classes(), '-', 'parquet')
  with pytest.raises(ValueError, match="format 'xml'; expected one of"):
    write_predictions.write(classes(), '-', 'xml')
  monkeypatch.setitem(sys.modules, 'pyarrow', None)
  with pytest.raises(ImportError, match=r"pip install 'glue_jax\[parquet\]'"):
    write_predictions.write(classes(), tmp_path / 'p.parquet', 'parquet')
  assert not os.listdir(tmp_path)


def test_endings_say_the_format():
  ends = {'a.csv': 'csv', 'A.TSV': 'tsv', 'x.parquet': 'parquet', '-': 'jsonl'}
  for path, style in ends.items():
    assert write_predictions.by_ending(path) == style


def test_streams_are_written_group_by_group(tmp_path, capsys):
  seen = []

  def groups():
    for number in range(3):
      yield classes([number])
      seen.append(capsys.readouterr().out)

  for style, lines in (('csv', 2), ('tsv', 2), ('jsonl', 1)):
    write_predictions.write_parts(groups(), '-', style)
    assert [text.count('\n') for text in seen] == [lines, 1, 1]
    seen.clear()
  # A pipe is written through, a link's file is replaced.
  pipe, read = tmp_path / 'pipe', []
  os.mkfifo(pipe)
  reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
  reader.start()
  write_predictions.write(classes([1]), pipe, 'csv')
  reader.join()
  assert read[0].startswith('idx,prediction') and pipe.is_fifo()
  (tmp_path / 'link.csv').symlink_to(tmp_path / 'file.csv')
  write_predictions.write(classes([1]), tmp_path / 'link.csv', 'csv')
  assert (tmp_path / 'link.csv').is_symlink()
  assert len(read_csv(tmp_path / 'file.csv')) == 1


def test_json_lines_and_tsv(tmp_path, capsys):
  found = classes([0, 1])
  write_predictions.write(found, tmp_path / 'p.jsonl')
  assert files.read_lines(tmp_path / 'p.jsonl') == list(found.records())
  assert write_predictions.write_parts([found] * 2, '-', 'tsv') == 4
  header, first, second, *again = capsys.readouterr().out.splitlines()
  assert again == [first, second]
  assert header.split('\t')[:2] == ['idx', 'prediction']
  cells = first.split('\t')
  assert cells[:2] == ['0', 'no, never']
  assert sum(map(float, cells[2:])) == pytest.approx(1, abs=2e-6)
