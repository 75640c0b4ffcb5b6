"""Studies by cells: what is finished isn't run again; what the tables say."""

import types

import pytest

from launch.benchmarks import dylora, lamda
from launch.benchmarks.parts import glue_cells


@pytest.fixture(autouse=True)
def flags(monkeypatch, tmp_path):
  values = types.SimpleNamespace(
    out=str(tmp_path), rank=8, eta=0.3, rows=4, length=8, tasks=['rte'],
    arms=['lora', 'lamda'],
  )  # fmt: skip
  for module in (glue_cells, lamda):
    monkeypatch.setattr(module, 'FLAGS', values)


@pytest.mark.parametrize(
  'length, train',
  [
    ({'epochs': 0.5}, {'epochs': 0.5, 'steps': None}),
    ({'steps': 7}, {'epochs': None, 'steps': 7}),
    ({}, {'epochs': 2, 'steps': None}),  # configs/glue.py's for RTE
  ],
)
def test_a_cell_is_as_long_as_the_flags_say(length, train):
  given = {'epochs': None, 'steps': None, 'train_limit': 64, 'lr': 1e-3}
  vars(glue_cells.FLAGS).update(given | length, data_dir='x', weights='y')
  config = glue_cells.settings('rte', 3, (('bitfit', {}),))
  assert {key: config.train.get(key) for key in train} == train
  assert config.data.train_limit == 64 and tuple(config.seeds) == (3,)


def test_finished_cells_are_kept():
  run = []

  def finish(cell):
    run.append(cell)
    if cell['seed'] == 1 and len(run) == 2:
      raise KeyboardInterrupt
    return {'score': cell['seed'] / 2}

  cells = [{'task': 'rte', 'seed': seed} for seed in (0, 1, 2)]
  with pytest.raises(KeyboardInterrupt):
    glue_cells.rows(cells, finish)
  rows = glue_cells.rows(cells, finish)
  assert [cell['seed'] for cell in run] == [0, 1, 1, 2]
  assert [row['score'] for row in rows] == [0.0, 0.5, 1.0]


def test_the_ranks_table(capsys):
  scores = {1: 0.5, 2: 0.6}
  cut = {'scores': {'1': 0.1, '2': 0.7}}
  rows = [
    {
      'task': 'rte', 'seed': 0, 'method': 'dylora', 'mode': 'frozen',
      'rank': 2, 'seconds': 8.0, 'scoring_seconds': 2.0,
      'scores': {str(b): value for b, value in scores.items()},
    },
    {'task': 'rte', 'method': 'lora', 'rank': 1, 'seconds': 19.0,
     'scores': {'1': 0.4}},
    {'task': 'rte', 'method': 'lora', 'rank': 2, 'seconds': 21.0} | cut,
  ]  # fmt: skip
  dylora.report(rows, [1, 2], 'frozen')
  text = capsys.readouterr().out
  assert 'search over 2 ranks 40.0 s, ratio 4.00' in text
  # +10 points at rank 1, -10 at rank 2.
  assert 'mean difference to LoRA +0.00 points' in text
  cells = [line.split() for line in text.splitlines() if '0.' in line]
  assert ['1', '0.5000', '0.4000', '0.1000', '19.0'] in cells


def test_the_memory_table(capsys):
  step = {'learning': 10, 'temporary_mb': 1.5, 'optimizer_mb': 0.25}
  memory = [
    {'arm': arm, 'updated': 1234.5, 'early': step, 'late': step}
    for arm in ('lora', 'lamda')
  ]
  scores = [
    {'arm': arm, 'task': 'rte', 'score': 0.5, 'seconds': 3.0}
    for arm in ('lora', 'lamda')
  ]
  lamda.report(memory, scores)
  lines = capsys.readouterr().out.splitlines()
  assert sum('1.5 / 1.5' in line for line in lines) == 2
  assert sum(line.split()[1:] == ['0.5000', '3.0'] for line in lines) == 2
