"""The two-step protocol, with stand-ins for the runs."""

import ast
import json
import os
import statistics
import subprocess
import sys

import pytest

from glue_jax.data.tasks import by_name
from glue_jax.reporting.files import append_line
from glue_jax.studies import retrains, sweep, tpe, two_step
from launch.cli import sweep_flags
from tests.conftest import ROOT, tiny_config

SPACE = sweep.parse_random(['optimizer.lr=choice:1,2,3,4'])


class Runs:
  """A run scores lr at each of its three evaluations."""

  def __init__(self, workdir, fail=(), stop_at=None):
    self.workdir, self.fail, self.stop_at = workdir, fail, stop_at
    self.cells = []

  def __call__(self, cell, enough):
    if len(self.cells) == self.stop_at:
      return None
    self.cells.append(cell)
    given = dict(cell.overrides)
    if given['optimizer.lr'] in self.fail:
      return 1
    folder = self.workdir / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    if enough():  # a point that was drawn before: its run goes on
      return 0
    file = folder / 'metrics.jsonl'
    done = len(file.read_text().splitlines()) // 2 if file.is_file() else 0
    for step in range(done + 1, 4):
      record = {'validation/macro_f1': float(given['optimizer.lr'])}
      for line in ({'lr': 0.1}, record):
        append_line(file, {'step': 10 * step} | line)
      if enough():
        return 0
    if cell.name.startswith('retrain_'):
      (seed,) = ast.literal_eval(given['seeds'])
      self.predict(folder, seed)
    return 0

  def predict(self, folder, seed):
    rows = [
      {
        'idx': i,
        'label': str(i % 2),
        'prediction': str(int(i % 2 and i > seed)),
      }
      for i in range(10)
    ]
    (folder / 'predictions').mkdir()
    text = ''.join(json.dumps(row) + '\n' for row in rows)
    (folder / 'predictions' / 'test.jsonl').write_text(text)
    (folder / 'done.json').write_text('{}')


def protocol(tmp_path, runs):
  config = tiny_config(
    task=dict(name='psc'), model=dict(weights='a/b'), seeds=(0, 1, 2)
  )
  return two_step.Protocol(config, tmp_path, 'c', runs)


def search(tmp_path, runs, count=8):
  study = tpe.Study(SPACE, warmup_steps=1, startup_trials=2)
  return study, protocol(tmp_path, runs).search(study, count)


def test_a_search_sees_the_validation_split_only(tmp_path, capsys):
  runs = Runs(tmp_path)
  study, best = search(tmp_path, runs)
  done = [t.value for t in study.trials if t.state == 'complete']
  assert best.value == max(done) == float(best.overrides['optimizer.lr'])
  for cell in runs.cells:
    assert dict(cell.overrides)['data.eval_splits'] == "('validation',)"
    assert dict(cell.overrides)['seeds'] == '(0,)'
  assert {t.state for t in study.trials} == {'complete', 'pruned'}
  for trial in study.trials:
    assert len(trial.reports) == (3 if trial.state == 'complete' else 1)
  assert 'best: trial' in capsys.readouterr().out
  assert len((tmp_path / 'sweep.csv').read_text().splitlines()) == 9


@pytest.mark.parametrize('direction', ['min', 'max'])
def test_rows_of_trials_begin_with_the_best(direction):
  study = tpe.Study(SPACE, direction)
  for value in (2.0, 1.0, 3.0):
    study.ask()
    study.tell('complete', value)
  rows = two_step.trial_rows(study, direction)
  assert rows[0]['value'] == study.best().value
  assert {row['direction'] for row in rows} == {direction}


def test_a_stopped_search_goes_on_where_it_was(tmp_path):
  whole, _ = search(tmp_path / 'whole', Runs(tmp_path / 'whole'))
  part = tmp_path / 'part'
  with pytest.raises(two_step.Stopped, match='stopped in trial 3'):
    search(part, Runs(part, stop_at=3))
  runs = Runs(part)
  study, _ = search(part, runs)
  assert study.trials == whole.trials
  assert len(runs.cells) == 5


def test_failed_trials_are_passed_over(tmp_path):
  study, best = search(tmp_path, Runs(tmp_path, fail=('3',)))
  assert best.overrides == {'optimizer.lr': '2'}
  assert 'failed' in {trial.state for trial in study.trials}


def test_a_metric_that_no_run_writes_is_an_error(tmp_path):
  own = protocol(tmp_path, Runs(tmp_path))
  study = tpe.Study(SPACE)
  with pytest.raises(ValueError, match='--objective=pearson: psc measures'):
    own.search(study, 1, 'pearson')
  with pytest.raises(ValueError, match="has no 'validation/accuracy'"):
    own.search(study, 1, 'accuracy')


def test_retrainings_have_the_validation_rows_back(tmp_path, capsys):
  runs = Runs(tmp_path)
  own = protocol(tmp_path, runs)
  best = tpe.Trial(0, {'optimizer.lr': '4'}, state='complete', value=4.0)
  assert own.retrain(best, 3, 'test') == 0
  for seed, cell in enumerate(runs.cells):
    assert dict(cell.overrides) == {
      'optimizer.lr': '4',
      'data.eval_splits': "('test',)",
      'task.given_back': "('validation',)",
      'train.patience': '0',
      'seeds': f'({seed},)',
    }
  content = json.loads((tmp_path / 'psc_a__b.json').read_text())
  assert content['dataset_name'] == 'allegro/klej-psc'
  assert content['averaged_over'] == 3
  scores = [
    retrains.scores(
      own.task, retrains.read_predictions(tmp_path / cell.name, 'test')
    )['f1_macro']
    for cell in runs.cells
  ]
  assert len(set(scores)) == 2
  sd = statistics.stdev(scores)
  assert content['metrics_std']['f1_macro'] == pytest.approx(sd, abs=1e-9)
  assert f'{100 * sd:.4f}' in capsys.readouterr().out
  # Finished runs are not run again.
  assert own.retrain(best, 3, 'test') == 0 and len(runs.cells) == 3


def test_retrainings_keep_a_validation_split_that_has_its_own_rows():
  task = by_name.get('polemo2')
  assert dict(two_step.retrain_overrides(task, 'test')) == {
    'data.eval_splits': "('validation', 'test')"
  }


def test_a_failed_or_stopped_retraining(tmp_path):
  best = tpe.Trial(0, {'optimizer.lr': '4'})
  own = protocol(tmp_path, Runs(tmp_path, fail=('4',)))
  assert own.retrain(best, 2, 'test') == 1
  own = protocol(tmp_path, Runs(tmp_path, stop_at=0))
  with pytest.raises(two_step.Stopped, match='run 0 of 2'):
    own.retrain(best, 2, 'test')


def test_sequence_labelling_is_searched_by_micro_f1():
  assert two_step.objective(by_name.get('kpwr_ner')) == 'micro_f1'
  assert two_step.objective(by_name.get('polemo2')) == 'macro_f1'


@pytest.mark.parametrize('arg', ['cdsc_e', 'cdsc_e,small'])
def test_the_spaces_of_the_configs_fit_their_configs(monkeypatch, arg):
  monkeypatch.setenv('GLUE_JAX_WEIGHTS', 'DIR')
  base = f'--config={ROOT}/configs/suites/lepiszcze.py:{arg}'
  space = sweep.parse_random(sweep_flags.space(base))
  for field, (kind, values) in space.items():
    assert kind == 'choice' and len(values) > 1
    for value in values:
      sweep_flags.check([base], ((field, value),))


CONFIG = """
import ml_collections

SPACE = ('optimizer.lr=choice:1e-3,1e-2',)


def get_config():
  return ml_collections.ConfigDict(dict(
    task=dict(name='task.yaml'),
    data=dict(tokenizer='train', batch_size=8, buckets=(8,)),
    model=dict(name='bert', preset='tiny', num_layers=1, hidden_size=8,
               num_heads=2, intermediate_size=8, max_positions=8),
    train=dict(epochs=2),
  ))
"""

TASK = """\
name: mine
dataset: jsonl:rows.jsonl
columns: {text: text}
label_names: ['no', 'yes']
kind: classification
metric: f1_macro
splits: {train: train, test: {from: train, fraction: .25, seed: 1}}
max_length: 8
"""


def command(folder, *arguments):
  return subprocess.run(
    [sys.executable, '-m', 'launch.sweep', '--config=c.py', '--workdir=out']
    + ['--sampler=tpe', *arguments],
    cwd=folder,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'c.py').write_text(CONFIG)
  (tmp_path / 'task.yaml').write_text(TASK)
  rows = [
    {
      'text': f'{"good" if i % 3 else "bad"} w{i}',
      'label': 'no' if i % 3 else 'yes',
    }
    for i in range(40)
  ]
  text = ''.join(json.dumps(row) + '\n' for row in rows)
  (tmp_path / 'rows.jsonl').write_text(text)
  return tmp_path


def test_the_command_with_real_runs(folder):
  done = command(folder, '--trials=1', '--retrain=1', '--model_name=o/tiny')
  assert done.returncode == 0, done.stdout + done.stderr
  assert 'best: trial 0, validation/macro_f1' in done.stdout
  content = json.loads((folder / 'out' / 'mine_o__tiny.json').read_text())
  assert content['averaged_over'] == 1
  assert content['metrics_std']['f1_macro'] == 0
  (run,) = (folder / 'out').glob('retrain_*/')
  lines = (run / 'predictions' / 'test.jsonl').read_text().splitlines()
  assert len(lines) == 10
  result = json.loads((run / 'result.json').read_text())
  own = result['metrics']['test']['macro_f1']
  assert content['metrics_avg']['f1_macro'] == pytest.approx(own, abs=1e-12)


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['--retrain=2'], '--sampler=tpe needs --trials=N'),
    (['--trials=2', '--grid=optimizer.lr=1'], 'no --grid'),
    (['--trials=2', '--list'], 'no --grid, --seeds, --cell, --list'),
    (
      ['--sampler=random', '--retrain=5', '--objective=f2'],
      '--objective, --retrain: only with --sampler=tpe',
    ),
    (['--trials=2', '--random=optimizer.lrr=choice:1,2'], "['lrr']"),
    (['--trials=2', '--objective=f2'], '--objective=f2: mine measures'),
  ],
)
def test_mistakes_stop_before_anything_runs(folder, arguments, message):
  done = command(folder, *arguments)
  assert done.returncode != 0
  assert message in done.stdout + done.stderr
  assert 'Traceback' not in done.stderr
  assert 'started' not in done.stdout
