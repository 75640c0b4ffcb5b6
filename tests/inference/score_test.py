"""Commands on a workdir of stages, of seeds, of one run, and of none."""

import importlib
import json

import pytest
from absl import flags

from glue_jax.inference import open_run, submit_runs
from glue_jax.training import runs
from tests import commands
from tests.conftest import tiny_config


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """Two stages: `first` of one seed, `second` of two."""
  folder = tmp_path_factory.mktemp('runs') / 'two'
  stages = (('first', {}), ('second', {'seeds': [0, 2]}))
  runs.run(tiny_config(train=dict(epochs=1), stages=stages), folder)
  return folder


@pytest.fixture(autouse=True)
def clean_flags():
  """Takes away the flags that a command defines in this process."""
  before = set(flags.FLAGS)
  yield
  commands.forget(before)


def status(name, *arguments):
  """Exit status of a command, or its line of error."""
  module = importlib.import_module(f'launch.{name}')
  return commands.status(module, *arguments, arguments=name == 'bundle')


def test_evaluate_scores_every_stage_and_seed(workdir, tmp_path, capsys):
  out = tmp_path / 'scores'
  assert not status('evaluate', f'--workdir={workdir}', f'--output={out}')
  text = capsys.readouterr().out
  assert 'first: validation' in text and 'second: validation' in text
  homes = ['first', 'second/seed_0', 'second/seed_2']
  scores = [json.loads((out / h / 'metrics.json').read_text()) for h in homes]
  assert [part['seed'] for part in scores] == [None, 0, 2]
  values = [part['metrics']['validation']['accuracy'] for part in scores]
  row = next(line for line in text.splitlines() if line.startswith('second: '))
  assert f'{values[1]:.4f} {values[2]:.4f}' in row
  # One stage of one seed: straight into the folder.
  out = tmp_path / 'one'
  where = f'--workdir={workdir}', '--stage=second', '--seed=2'
  assert not status('evaluate', *where, f'--output={out}')
  assert json.loads((out / 'metrics.json').read_text()) == scores[2]


COMMANDS = {
  'predict': ('--workdir', '--split=validation'),
  'export': ('--workdir', '--output=OUT'),
  'bundle': ('--workdir', 'write', '--out=OUT'),
  'submit': ('--run', '--benchmark=glue', '--output=OUT'),
  'evaluate': ('--workdir', '--output=OUT'),
}


@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_every_command_has_the_same_answer(workdir, tmp_path, name):
  flag, *others = COMMANDS[name]
  others = [text.replace('OUT', str(tmp_path / 'out')) for text in others]

  def said(folder, *more):
    return status(name, *others, f'{flag}={folder}', *more)

  assert said(tmp_path / 'no').endswith('expected the workdir of a run')
  assert 'no workdir of a run' in said(tmp_path)
  assert "no stage 'x'; there are ['first', 'sec" in said(workdir, '--stage=x')
  assert 'no seed 5; there are [0]' in said(workdir / 'first', '--seed=5')
  if name != 'evaluate':  # scores all
    assert 'seeds [0, 2]; choose one' in said(workdir, '--stage=second')
  if name not in ('evaluate', 'submit'):  # take every stage
    assert "stages ['first', 'second']; choose one" in said(workdir)
  assert not (tmp_path / 'out').exists()


def test_a_run_knows_its_own_folder(workdir):
  run = open_run.open_run(workdir, stage='second', seed=2)
  assert run.workdir == workdir / 'second' / 'seed_2'
  assert list(run.begun.seeds) == [2]
  assert open_run.open_run(run.workdir).step == run.step


def test_a_submission_takes_every_stage(workdir):
  assert submit_runs.folders([workdir], seed=0) == [
    workdir / 'first',
    workdir / 'second' / 'seed_0',
  ]
