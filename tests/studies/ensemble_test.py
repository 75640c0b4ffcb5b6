"""Ensembles: any order, a temperature of other rows, marks handed on."""

import dataclasses
import json

import numpy as np
import pytest

from glue_jax.data.table import Table
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Prompt
from glue_jax.evaluation.predictions import Predictions
from glue_jax.studies import ensemble
from glue_jax.training import runs
from launch.studies import ensemble as command
from tests.commands import status
from tests.conftest import tiny_config


def predicted(task='mini_acceptability', seed=0, rows=5):
  rng = np.random.default_rng(seed)
  shares = rng.dirichlet(np.ones(2), rows)
  found = Predictions(
    by_name.get(task), 'test', list(range(rows)), shares.argmax(-1), shares
  )
  if found.task.kind == 'regression':
    found.values, found.probabilities = rng.normal(size=rows), None
  return found


@pytest.mark.parametrize('task', ['mini_acceptability', 'stsb'])
def test_the_mean_is_the_same_in_any_order(task):
  members = [predicted(task, seed) for seed in range(5)]
  one, two = (ensemble.mean(m) for m in (members, members[::-1]))
  np.testing.assert_array_equal(one.values, two.values)
  if task == 'stsb':
    expected = np.mean([m.values for m in members], axis=0)
    np.testing.assert_allclose(one.values, expected)
    return
  np.testing.assert_array_equal(one.probabilities, two.probabilities)
  expected = np.mean([m.probabilities for m in members], axis=0)
  np.testing.assert_allclose(one.probabilities, expected)
  np.testing.assert_array_equal(one.values, expected.argmax(-1))


def test_members_of_several_tasks_or_rows_are_refused():
  for other in (predicted('mini_sentiment'), predicted(rows=4)):
    with pytest.raises(ValueError, match='expected one task and one split'):
      ensemble.mean([predicted(), other])
  with pytest.raises(ValueError, match='squad_v1 is span'):
    ensemble.mean([predicted('squad_v1')])
  asked = predicted()
  asked.task = dataclasses.replace(asked.task, prompt=Prompt('{sentence}'))
  with pytest.raises(ValueError, match='mini_acceptability is generation'):
    ensemble.mean([asked, asked])
  members = [
    {'test': (None, Table(asked.task, 'test', [{'idx': 0, 'sentence': x}], x,
                          'tsv', False))}
    for x in ('here', 'there')
  ]  # fmt: skip
  with pytest.raises(ValueError, match=r'b reads other rows .*\(there\)'):
    ensemble._check_rows(['a', 'b'], members, ['test'])


def test_the_temperature_is_of_development_rows_alone(tmp_path):
  config = tiny_config(
    model=dict(num_layers=1), train=dict(epochs=1), seeds=(0, 1)
  )
  config.data.eval_limit = None
  runs.run(config, tmp_path / 'run')
  out = tmp_path / 'out'
  arguments = (f'--runs={tmp_path / "run"}', f'--out={out}')
  assert not status(command, *arguments, '--tune=validation')
  result = json.loads((out / 'result.json').read_text())
  assert result['tuned_on'] == 'validation' and result['temperature'] != 1
  assert result['split'] == 'test' and len(result['members']) == 2
  losses = [one['loss'] for one in result['member_metrics']]
  assert result['metrics']['test']['loss'] < max(losses) + 0.05
  assert 'transductive' not in result
  lines = (out / 'predictions/test.jsonl').read_text().splitlines()
  assert {'idx', 'prediction', 'probabilities'} <= json.loads(lines[0]).keys()

  with pytest.raises(ValueError, match="chosen on 'test', which is reported"):
    ensemble.run([tmp_path / 'run'], 'test', out, 'test')
  with pytest.raises(ValueError, match='2 members or more'):
    ensemble.run([tmp_path / 'run/seed_0'], 'test', out)

  path = tmp_path / 'run/seed_1/result.json'
  marked = json.loads(path.read_text()) | {'transductive': True}
  path.write_text(json.dumps(marked))
  assert 'transductive: a member' in ensemble.run(
    [tmp_path / 'run'], 'validation', out
  )
  assert json.loads((out / 'result.json').read_text())['transductive']
