"""Which settings both arms get, what a budget is, and cells that go on."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from absl import app

from launch.benchmarks import comet_search as search


@pytest.fixture
def small(tmp_path, monkeypatch):
  """The flags of a run of seconds."""
  values = SimpleNamespace(
    output=str(tmp_path), trials=2, seeds=1, steps=3, search_steps=2, draws=3
  )
  monkeypatch.setattr(search, 'FLAGS', values)
  monkeypatch.setattr(search, 'GAMMAS', (1.0,))
  return values


def test_cells_are_paired_and_go_on(small, tmp_path, monkeypatch):
  search.main([])
  record = json.loads((tmp_path / 'cells.json').read_text())
  plain, searched = (record['cells'][f'0 {arm}'] for arm in search.ARMS)
  drawn = 'lr', 'entropy', 'gamma'
  for ours, theirs in zip(plain['rows'], searched['rows'], strict=True):
    assert [ours[n] for n in drawn] == [theirs[n] for n in drawn]
    assert ours['test_loss'] != theirs['test_loss'] > 0
  assert plain['single'] == searched['single'] > 0
  results = json.loads((tmp_path / 'results.json').read_text())
  assert [row['arm'] for row in results['arms']] == list(search.ARMS)

  fresh = []

  def cell(seed, arm):
    fresh.append((seed, arm))
    return plain

  monkeypatch.setattr(search, 'cell', cell)
  del record['cells']['0 COMET+']
  (tmp_path / 'cells.json').write_text(json.dumps(record))
  small.seeds = 2
  search.main([])
  assert fresh == [(0, 'COMET+'), (1, 'COMET'), (1, 'COMET+')]
  small.steps = 4
  with pytest.raises(app.UsageError, match='was begun with'):
    search.main([])


def test_expected_error_is_that_of_all_draws():
  validation = np.array([0.3, 0.1, 0.2, 0.4])
  test = np.array([3.0, 1.5, 2.0, 0.5])
  sparse = np.array([True, True, False, True])
  found = search.expected(validation, test, sparse, 9.0)
  for m in (1, 3):
    best = []
    for draw in itertools.product(range(4), repeat=m):
      chosen = [i for i in draw if sparse[i]]
      first = min(chosen, key=lambda i: validation[i], default=None)
      best.append(9.0 if first is None else test[first])
    assert found[m - 1] == pytest.approx(np.mean(best))
  assert search.expected(validation, test, sparse & False, 9.0)[-1] == 9.0


def cells(scales):
  """Cells of two seeds whose errors are drawn alike, times an arm's scale."""
  made = {}
  for seed in range(2):
    errors = np.random.default_rng(seed).uniform(0.1, 1, 40)
    for arm, scale in zip(search.ARMS, scales):
      rows = [
        dict(validation_loss=e, test_loss=e * scale, validation_sparse=1.0)
        for e in errors
      ]
      made[f'{seed} {arm}'] = dict(single=2.0, seconds=1.0, rows=rows)
  return made


def test_budget_of_equal_better_and_worse():
  equal, better, worse = (
    search.summary(cells((1.0, scale)), 20) for scale in (1.0, 0.5, 30.0)
  )
  assert equal['budget'] == [50, 50, 50] and equal['gain'] == [0, 0, 0]
  assert equal['reached'] == 1
  assert better['budget'][0] < 50 and better['gain'][0] == 0.5
  assert better['times_fewer'][0] == pytest.approx(
    50 / better['budget'][0], abs=1e-4
  )
  assert worse['budget'] == [None] * 3 and worse['reached'] == 0
  assert worse['times_fewer'] == [0, 0, 0]
