"""Scoring all contributions: incremental, parallel, one bad one stops none."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from glue_jax.leaderboard import board as board_lib
from glue_jax.leaderboard import scoring
from launch.miniatures import jarvis_leaderboard
from tests.leaderboard import boards


@pytest.fixture
def home(tmp_path):
  return boards.make(tmp_path / 'board', methods=3, tasks=4, seeds=2)


def cells(board):
  return {
    (name, task): (cell.values, cell.draws.tolist(), cell.confusion)
    for name, method in board.methods.items()
    for task, cell in method.cells.items()
  }


def test_only_what_changed_is_scored_again(home, tmp_path):
  cache = tmp_path / 'cache'
  first = board_lib.evaluate(home, cache)
  assert first.scored == ('method-0', 'method-1', 'method-2')
  again = board_lib.evaluate(home, cache)
  assert again.scored == () and cells(again) == cells(first)
  path = home / 'contributions/method-1/task-0/seeds/1/predictions.jsonl'
  jarvis_leaderboard.tamper(path)
  third = board_lib.evaluate(home, cache)
  assert third.scored == ('method-1',)
  changed = {k for k, v in cells(third).items() if v != cells(first)[k]}
  assert changed == {('method-1', 'task-0')}
  assert cells(third) == cells(board_lib.evaluate(home))


def test_other_gold_or_metrics_are_scored_anew(home, tmp_path):
  board_lib.evaluate(home, tmp_path / 'cache')
  boards.change_task(home, 1, primary='accuracy')
  board = board_lib.evaluate(home, tmp_path / 'cache')
  assert len(board.scored) == 3
  assert board.methods['method-0'].cells['task-1'].primary == 'accuracy'


def test_a_damaged_cache_is_no_harm(home, tmp_path):
  cache = tmp_path / 'cache'
  first = board_lib.evaluate(home, cache)
  for path in cache.glob('*.npz'):
    path.write_bytes(path.read_bytes()[:100])
  second = board_lib.evaluate(home, cache)
  assert len(second.scored) == 3 and cells(second) == cells(first)


def test_processes_give_the_same_board(home):
  assert cells(board_lib.evaluate(home, jobs=2)) == cells(
    board_lib.evaluate(home)
  )


def test_a_score_that_fails_is_a_problem_of_its_method(home, monkeypatch):
  real = scoring.score

  def fail(entry, gold, runs):
    if entry.name == 'task-3' and len(runs) == 1:
      raise MemoryError('too much\x1b[2J')
    return real(entry, gold, runs)

  shutil.rmtree(home / 'contributions/method-1/task-3/seeds/1')
  data = json.loads((home / 'contributions/method-1/metadata.json').read_text())
  data['runs']['task-3'] = data['runs']['task-3'] | {'seeds': [0]}
  boards.change(
    home / 'contributions/method-1/metadata.json', runs=data['runs']
  )
  monkeypatch.setattr(scoring, 'score', fail)
  board = board_lib.evaluate(home)
  assert sorted(board.methods) == ['method-0', 'method-2']
  (problem,) = board.refused['method-1']
  assert 'MemoryError' in problem and '\x1b' not in problem


def test_places_follow_the_known_order(home):
  board = board_lib.evaluate(home)
  for place, name in enumerate(('method-0', 'method-1', 'method-2'), 1):
    method = board.methods[name]
    assert method.complete and method.borda == method.kemeny == place
    assert board.places('task-0')[name] == place
  assert board.kemeny_exact


def test_equal_scores_share_a_place(home):
  for task in (home / 'contributions/method-0').glob('task-*'):
    shutil.rmtree(home / 'contributions/method-1' / task.name)
    shutil.copytree(task, home / 'contributions/method-1' / task.name)
  board = board_lib.evaluate(home)
  assert list(board.places('task-0').values()) == [1, 1, 3]
  assert [m.borda for m in board.methods.values()] == [1, 1, 3]


def test_methods_that_lack_tasks_have_no_place(home):
  boards.drop_task(home / 'contributions/method-2', 'task-0')
  method = board_lib.evaluate(home).methods['method-2']
  assert not method.complete
  assert method.borda is method.kemeny is method.score is None


def test_glue_average_is_that_of_the_boards_tasks(home):
  path = home / 'registry.json'
  registry = json.loads(path.read_text())
  for entry, name in zip(registry['tasks'], ('rte', 'mrpc', 'cola', 'stsb')):
    entry['boards'] = ['glue']
    old, entry['name'] = entry['name'], name
    for method in (home / 'contributions').iterdir():
      (method / old).rename(method / name)
  path.write_text(json.dumps(registry))
  for method in (home / 'contributions').iterdir():
    data = json.loads((method / 'metadata.json').read_text())
    runs = dict.fromkeys(
      ('rte', 'mrpc', 'cola', 'stsb'), data['runs']['task-0']
    )
    boards.change(method / 'metadata.json', runs=runs)
  board = board_lib.evaluate(home)
  method = board.methods['method-0']

  def mean(task, *metrics):
    return np.mean([method.cells[task].mean(metric) for metric in metrics])

  expected = np.mean(
    [
      mean('cola', 'matthews'),
      mean('mrpc', 'f1', 'accuracy'),
      mean('stsb', 'pearson', 'spearman'),
      mean('rte', 'accuracy'),
    ]
  )
  assert method.averages['glue'].value == pytest.approx(expected, rel=1e-12)
  for task in ('sst2', 'qqp', 'mnli', 'qnli', 'wnli'):
    assert task in method.averages['glue'].convention


def test_no_contributions_and_unknown_methods_are_named(home, tmp_path):
  with pytest.raises(ValueError, match=r"no contribution \['x'\]"):
    board_lib.evaluate(home, only=['x'])
  shutil.rmtree(home / 'contributions')
  with pytest.raises(FileNotFoundError, match='holds the contributions'):
    board_lib.evaluate(home)
  with pytest.raises(FileNotFoundError, match='registry.json is missing'):
    board_lib.evaluate(tmp_path)


def test_gold_that_was_changed_stops_the_build_for_its_owner(home):
  path = home / 'gold/task-0.jsonl'
  path.write_text(path.read_text().replace('yes', 'no', 1))
  with pytest.raises(ValueError, match='the gold was changed'):
    board_lib.evaluate(home)


def test_a_method_holds_no_score_of_its_metadata(home):
  method = board_lib.evaluate(home).methods['method-0']
  keys = json.dumps(dataclasses.asdict(method)['metadata'])
  assert 'score' not in keys and 'accuracy' not in keys
