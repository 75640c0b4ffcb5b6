"""Plans of two stages and the table of what they measured."""

import json

import numpy as np
import pytest
import safetensors.numpy

from glue_jax.config import config
from glue_jax.studies import transfer
from glue_jax.training import runs
from tests.conftest import tiny_config


def recipe(task, form):
  """A tiny run of seconds."""
  base = config.plain(tiny_config(task=dict(name=task)))
  base = {k: v for k, v in base.items() if v}
  # One vocabulary for all tasks: that of the first one's rows.
  return base | dict(train=dict(steps=1), optimizer=dict(lr=1e-3, warmup=0.0))


def test_a_plan_has_each_source_once_and_the_target_last():
  plan = transfer.plan(
    recipe, ['rte', 'cb'], ['cb', 'mrpc'], ['adapter', 'scalearnpp'], (4, 5)
  )
  stages = dict(plan.stages)
  assert list(stages) == [
    'source_rte',
    'source_cb',
    'source_mrpc',
    'adapter_cb',
    'scalearnpp_cb',
    'adapter_mrpc',
    'scalearnpp_mrpc',
  ]
  for task in ('rte', 'cb', 'mrpc'):
    assert list(stages[f'source_{task}']['seeds']) == [4]
  # Its first seed is the source.
  assert list(stages['adapter_cb']['seeds']) == [5]
  assert list(stages['scalearnpp_cb']['seeds']) == [4, 5]
  ((name, settings),) = stages['scalearnpp_cb']['methods']
  assert name == 'scalearn' and settings['shared']
  assert list(settings['sources']) == ['stage:source_rte', 'stage:source_cb']
  ((_, settings),) = stages['scalearnpp_mrpc']['methods']
  assert settings['sources'][-1] == 'stage:source_mrpc'


def test_few_shots_are_of_the_targets_only():
  plan = transfer.plan(
    recipe, ['rte', 'cb'], ['cb'], ['adapter', 'fusion'], (0, 1), shots=4
  )
  stages = dict(plan.stages)
  assert list(stages) == [
    'source_rte',
    'source4_cb',
    'adapter4_cb',
    'fusion4_cb',
  ]
  for name, stage in stages.items():
    few = stage['data']['train_limit'] == 4
    assert few == (name != 'source_rte') == (stage['train']['steps'] == 1000)
  ((_, settings),) = stages['fusion4_cb']['methods']
  assert list(settings['sources']) == ['stage:source_rte', 'stage:source4_cb']
  # A second target needs the first one's adapter of all its rows.
  both = transfer.plan(recipe, ['rte', 'cb'], ['cb', 'rte'], shots=4)
  assert {'source_cb', 'source4_cb', 'source_rte'} <= dict(both.stages).keys()


@pytest.mark.parametrize(
  'change, message',
  [
    (dict(shots=0), 'shots=0: expected 1 or more'),
    (dict(sources=['rte', 'rte']), 'sources=.*each once'),
    (dict(targets=['nothing']), r"unknown are \['nothing'\]"),
    (dict(forms=['soup']), r"forms=.*unknown are \['soup'\]"),
    (dict(seeds=()), 'seeds=.*one or more'),
  ],
)
def test_plans_that_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    transfer.plan(recipe, **dict(sources=['rte'], targets=['cb']) | change)


def test_the_table_has_means_and_parameters(tmp_path):
  def part(*values):
    return {'primary': {'metric': 'accuracy', 'values': values, 'value': 0}}

  result = {
    'stages': {
      'source_cb': {'primary': {'metric': 'accuracy', 'value': 0.5}},
      'adapter_cb': part(0.7),
      'scalearn_cb': part(0.8, 0.9),
    }
  }
  for stage, names in (
    ('adapter_cb', ['x/adapter_up_bias']),
    ('scalearn_cb/seed_0', ['x/scaling_omega', 'x/source_up_bias']),
  ):
    folder = tmp_path / stage / 'model'
    folder.mkdir(parents=True)
    arrays = {n: np.zeros((2, 3), np.float32) for n in names}
    safetensors.numpy.save_file(arrays, folder / 'unmerged.safetensors')
    record = {'family': 'bert', 'unmerged': names, 'config': {}}
    (folder / 'model.json').write_text(json.dumps(record))
    begun = {'config': {}, 'seed': 0}
    (folder.parent / 'config.json').write_text(json.dumps(begun))
  rows = transfer.rows(result, tmp_path)
  assert [(r['form'], r['values'], r['parameters']) for r in rows] == [
    ('adapter', [0.5, 0.7], 6),
    ('scalearn', [0.8, 0.9], 6),
  ]
  text = transfer.table(rows)
  assert '60.00 ±14.14' in text and '85.00 ±7.07' in text


def test_both_stages_run_and_a_finished_source_is_not_run_again(tmp_path):
  tasks = ['mini_acceptability']
  forms = ['scalearnuniformpp']
  plan = transfer.plan(recipe, tasks, tasks, forms, (0,))
  result = runs.run(plan, tmp_path)
  rows = transfer.rows(result, tmp_path)
  # With one seed the source is the whole row of the form `adapter`.
  assert [row['form'] for row in rows] == ['adapter', *forms]
  assert rows[1]['parameters'] == 1 and len(rows[1]['values']) == 1
  source = result['stages']['source_mini_acceptability']
  assert rows[0]['values'] == [source['primary']['value']]
  alone = {'stages': {'source_mini_acceptability': source}}
  assert transfer.rows(alone, tmp_path) == rows[:1]
  done = tmp_path / 'source_mini_acceptability' / 'done.json'
  before = done.stat().st_mtime_ns
  again = runs.run(plan, tmp_path)
  assert done.stat().st_mtime_ns == before
  assert transfer.rows(again, tmp_path) == rows
