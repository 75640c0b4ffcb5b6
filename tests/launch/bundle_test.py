"""python -m launch.bundle on a run of seconds; its exit statuses."""

import functools
import json

import pytest

from glue_jax.devices import sharding
from glue_jax.training import begin, runs, schema
from glue_jax.weights import bundle_folder, saved_model
from tests.commands import run_command
from tests.conftest import tiny_config

command = functools.partial(run_command, 'bundle')


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  """A backbone, a run of LoRA on it, and the run's bundle."""
  home = tmp_path_factory.mktemp('bundle')
  parts = begin.build(schema.bind(tiny_config(), 1), 7)
  params = sharding.gather(parts.params, parts.mesh)
  saved_model.save(home / 'backbone', parts.plain.model, params)
  parts.bundle.tokenizer.save(home / 'backbone')
  config = json.loads(tiny_config(train=dict(epochs=1)).to_json())
  config['methods'] = [['lora', dict(rank=2)]]
  config['data']['eval_limit'] = None  # as launch.bundle evaluates
  config['model'] = dict(weights=str(home / 'backbone'), fresh=['head/.*'])
  config['data']['tokenizer'] = str(home / 'backbone')
  runs.run(config, home / 'run')
  done = command(
    'write', f'--workdir={home / "run"}', f'--out={home / "bundle"}'
  )
  assert done.returncode == 0, done.stderr
  assert 'leaves' in done.stdout
  return home


def test_a_bundle_scores_as_its_run(home):
  done = command(
    'evaluate',
    f'--bundle={home / "bundle"}',
    f'--backbone={home / "backbone"}',
  )
  assert done.returncode == 0, done.stderr
  result = json.loads((home / 'run/result.json').read_text())
  (values,) = result['metrics'].values()
  for name, value in values.items():
    assert name in done.stdout
    assert f'{value:.4f}' in done.stdout, (name, value, done.stdout)


def test_to_peft_and_back(home):
  done = command(
    'to_peft', f'--bundle={home / "bundle"}', f'--out={home / "peft"}'
  )
  assert done.returncode == 0, done.stderr
  done = command(
    'from_peft', f'--peft={home / "peft"}', f'--backbone={home / "backbone"}',
    '--task=mini_acceptability', '--max_length=16', f'--out={home / "again"}',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  first, again = (bundle_folder.read(home / n) for n in ('bundle', 'again'))
  assert first.leaves.keys() == again.leaves.keys()
  for name, value in first.leaves.items():
    assert (value == again.leaves[name]).all(), name


def test_errors_are_one_line(home):
  done = command('show', f'--bundle={home / "run"}')
  assert done.returncode == 2
  assert 'holds no whole bundle' in done.stderr
  assert 'Traceback' not in done.stderr
