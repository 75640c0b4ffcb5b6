"""Cross-validation: every row once, by a model that has not seen it."""

import csv
import json
import shutil

import numpy as np
import pytest

from glue_jax.data.tasks import by_name
from glue_jax.reporting import files
from glue_jax.studies import folds
from launch.studies import folds as command
from tests.commands import status
from tests.conftest import tiny_config

TASK = """
name: rooms
dataset: csv:rooms.csv
columns: {text: text}
kind: classification
label_names: [no, yes]
metric: [accuracy, f1_macro]
"""


@pytest.fixture(scope='module')
def config(tmp_path_factory):
  """Of an own task in YAML, 26 rows of 13 people."""
  top = tmp_path_factory.mktemp('rooms')
  rng = np.random.default_rng(0)
  words = ['room', 'calm', 'loud', 'bright', 'dim', 'small', 'old']
  lines = ['id,text,label,who']
  for i in range(26):
    text = ' '.join(rng.choice(words, 4))
    lines.append(f'r{i},{text},{"yes" if "calm" in text else "no"},p{i // 2}')
  (top / 'rooms.csv').write_text('\n'.join(lines) + '\n')
  (top / 'rooms.yaml').write_text(TASK)
  return tiny_config(
    task=dict(name=str(top / 'rooms.yaml')),
    data=dict(train_limit=None),
    model=dict(num_layers=1),
    train=dict(epochs=1),
  )


@pytest.fixture(scope='module')
def done(config, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('folds')
  return workdir, folds.run(config, workdir, 2, 'who')


def test_every_row_is_predicted_once(done):
  workdir, _ = done
  records = files.read_lines(workdir / folds.PREDICTIONS)
  assert sorted(r['idx'] for r in records) == sorted(f'r{i}' for i in range(26))
  fold = {r['idx']: r['fold'] for r in records}
  assert all(fold[f'r{2 * i}'] == fold[f'r{2 * i + 1}'] for i in range(13))
  right = np.mean([r['prediction'] == r['label'] for r in records])
  content = json.loads((workdir / folds.RECORD).read_text())
  assert content['all_rows']['accuracy'] == pytest.approx(right)
  values = [row['accuracy'] for row in content['folds']]
  assert content['mean']['accuracy'] == pytest.approx(np.mean(values))
  assert content['sd']['accuracy'] == pytest.approx(np.std(values, ddof=1))
  for number, row in enumerate(content['folds']):
    result = json.loads((workdir / f'fold_{number}/result.json').read_text())
    assert row['accuracy'] == result['metrics']['fold']['accuracy']
    assert row['rows'] + row['trained on'] == 26


def test_the_table(done):
  workdir, text = done
  with (workdir / folds.TABLE).open() as file:
    rows = list(csv.DictReader(file))
  assert [r['fold'] for r in rows] == ['0', '1', 'mean', 'sd', 'all rows']
  assert rows[-1]['rows'] == '26' and set(rows[0]) == {
    *('fold', 'trained on', 'rows', 'accuracy', 'macro_f1')
  }
  assert 'rooms, 2 folds (mean ± sample sd): accuracy 0.' in text
  assert ' ± 0.' in text


def test_what_is_finished_is_not_run_again(done, config):
  workdir, text = done
  before = (workdir / folds.PREDICTIONS).read_text()
  ended = (workdir / 'fold_0' / 'result.json').stat().st_mtime_ns
  shutil.rmtree(workdir / 'fold_1')
  (workdir / folds.PREDICTIONS).unlink()
  assert folds.run(config, workdir, 2, 'who') == text
  assert (workdir / folds.PREDICTIONS).read_text() == before
  assert (workdir / 'fold_0/result.json').stat().st_mtime_ns == ended
  with pytest.raises(ValueError, match='another config'):
    folds.run(config, workdir, 3, 'who')


def test_plans(config):
  named = tiny_config()
  plans = folds.plan(named, 3, seed=4)
  for number, plan in enumerate(plans):
    task = by_name.make(**plan.task)
    assert task.eval_splits == ('fold',) and set(task.cuts) == {'fold'}
    cut = task.cuts['fold']
    assert (cut.folds, cut.fold, cut.seed) == (3, number, 4)
    assert plan.data.eval_limit is None
  with pytest.raises(ValueError, match='folds=1: expected 2'):
    folds.plan(named, 1)
  with pytest.raises(ValueError, match='one seed and no stages'):
    folds.plan(tiny_config(seeds=(0, 1)), 2)
  with pytest.raises(ValueError, match='squad_v1 .span.: folds are for tasks'):
    folds.plan(tiny_config(task=dict(name='squad_v1')), 2)


@pytest.mark.parametrize(
  'kind, given, ours, gold, expected',
  [
    ('regression', {}, [1.0, 2.0], [1.0, 4.0], dict(mean_squared_error=2.0)),
    (
      'multilabel',
      dict(labels='a,b'),
      [['a'], ['a', 'b']],
      [['a'], ['b']],
      dict(exact_accuracy=0.5),
    ),
    (
      'token_classification',
      dict(labels='O,B-x'),
      [['O', 'B-x'], ['O']],
      [['O', 'B-x'], ['B-x']],
      dict(accuracy=2 / 3),
    ),
  ],
)
def test_scores_over_all_rows(kind, given, ours, gold, expected):
  task = by_name.make(
    't', kind=kind, columns=('text',), metrics=tuple(expected), **given
  )
  records = [
    {'idx': i, 'prediction': o, 'label': g}
    for i, (o, g) in enumerate(zip(ours, gold))
  ]
  assert folds.score(task, records) == pytest.approx(expected)


def test_the_command_refuses_in_a_line(config):
  task = f'--config=configs/own_task.py:{config.task.name}'
  said = status(command, task, '--workdir=unused', '--folds=1')
  assert '--folds' in said and 'error: ' in said
