"""Rates and plateau of the matrix mixers' table, and the rows of recall."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from absl import app

from launch.benchmarks import matrix_mixers, matrix_recall


@pytest.fixture
def corpus(tmp_path):
  """Forty lines of a few words, in train/ and valid/."""
  rng = np.random.default_rng(0)
  for split in ('train', 'valid'):
    (tmp_path / split).mkdir()
    words = rng.choice(['ta', 'ke', 'lo'], (40, 12), p=[0.7, 0.2, 0.1])
    text = '\n'.join(' '.join(line) for line in words)
    (tmp_path / split / 'a.txt').write_text(text)
  return tmp_path


def test_the_first_seed_finds_the_rate_and_runs_are_read_again(
  corpus, monkeypatch
):
  values = SimpleNamespace(
    corpus=str(corpus), workdir=str(corpus / 'runs'), mixers=['dense'],
    rates=['1e-9', '1e-2'], rate_steps=6, steps=6, seeds=['3', '4'], length=8,
    batch=4, layers=1, hidden=16,
  )  # fmt: skip
  monkeypatch.setattr(matrix_mixers, 'FLAGS', values)
  monkeypatch.setattr(matrix_mixers, 'VOCABULARY', 60)
  (row,) = matrix_mixers.mixers()
  assert row['rate'] == 1e-2 and len(row['losses']) == 2
  assert row['below'] == pytest.approx(row['unigram'] - row['loss'], abs=2e-4)
  # Three words and the pieces that they are joined of.
  assert 0.5 < row['unigram'] < 2
  names = {path.name for path in (corpus / 'runs').iterdir()}
  assert names == {
    'dense_1e-9_6_3', 'dense_1e-2_6_3', 'dense_1e-2_6_4',
  }  # fmt: skip
  result = corpus / 'runs/dense_1e-2_6_4/result.json'
  before = result.stat().st_mtime_ns
  assert list(matrix_mixers.mixers()) == [row]
  assert result.stat().st_mtime_ns == before


def test_the_value_is_that_of_the_key_and_stands_far_away():
  ids, values, before = matrix_recall.sample(jax.random.key(0), 50)
  first, values_from = matrix_recall.FILLERS, matrix_recall.FIRST_VALUE
  asked = np.arange(matrix_recall.LENGTH)[matrix_recall.ASKED]
  for row, wanted, early in zip(np.asarray(ids), values, before):
    is_key = (row >= first) & (row < values_from)
    is_key[asked] = False
    assert is_key.sum() == matrix_recall.KEYS
    for place, value, side in zip(asked, wanted, early):
      (at,) = np.flatnonzero(is_key & (row == row[place]))
      assert row[at + 1] == values_from + value
      assert bool(side) == (at < place)
      assert min(abs(at - place), abs(at + 1 - place)) > matrix_recall.APART
  assert (before.sum(1) == matrix_recall.KEYS // 2).all()
  # Each key is asked for, and on either side of it.
  assert 0 < before[:, 0].sum() < 50


def test_cells_of_recall_go_on(tmp_path, monkeypatch):
  values = SimpleNamespace(
    output=str(tmp_path), mixers=['dense'], rates=['1e-3', '1e-2'],
    seeds=['0', '1'], steps=2,
  )  # fmt: skip
  monkeypatch.setattr(matrix_recall, 'FLAGS', values)
  monkeypatch.setattr(matrix_recall, 'TEST', 64)
  monkeypatch.setattr(matrix_recall, 'WIDTH', 16)
  matrix_recall.main([])
  cells = json.loads((tmp_path / 'cells.json').read_text())
  assert len(cells) == 3 and all(
    0 <= score <= 1 for pair in cells.values() for score in pair
  )
  monkeypatch.setattr(matrix_recall, 'recall', None)
  cells['dense 1e-3 2 0'] = [1.0, 1.0]
  cells['dense 1e-3 2 1'] = [0.5, 0.0]
  (tmp_path / 'cells.json').write_text(json.dumps(cells))
  matrix_recall.main([])
  (row,) = json.loads((tmp_path / 'rows.json').read_text())
  assert (row['rate'], row['before'], row['after']) == (1e-3, 0.75, 0.5)
  assert row['accuracies'] == [1.0, 0.25]
  values.mixers = ['none']
  with pytest.raises(app.UsageError, match='no mixers'):
    matrix_recall.main([])
