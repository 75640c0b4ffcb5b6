"""Plans of runs that are never begun, beside runs that are."""

import json

import jax
import pytest

from glue_jax.data import made_up
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import KINDS
from glue_jax.devices import sharding
from glue_jax.probes import plan
from glue_jax.training import begin
from tests.conftest import run_on_devices, tiny_config

# Of kinds that aren't learnt from labels.
OBJECTIVES = {
  'language_modeling': 'mlm',
  'sentence_structure': 'mlm_sso',
  'next_sentence': 'mlm_pairs',
  'sentence_order': 'mlm_pairs',
  'generation': 'generation',
  'sentences': 'simcse',
}
SCRIPT = """
import dataclasses, json
from glue_jax.config import config
from glue_jax.probes import collectives, plan, step_memory
from tests.conftest import tiny_config

def both(mesh, **changes):
  given = tiny_config(mesh=mesh, **changes)
  state, batch, step = step_memory.first_step(given)
  real = step_memory.compiled(step.lower())
  memory = step_memory.figures(state, batch, real.memory_analysis())
  table = state.all_params()['encoder']['embeddings']['word']['embedding']
  sizes = dict(model=dict(vocab_size=table.shape[0]))
  found = plan.of_config(config.complete(config.override(given, sizes)))
  return [
    dataclasses.asdict(found),
    dict(memory=memory, sent=collectives.sent(real.as_text())),
  ]

lora = (('lora', dict(rank=2, dropout=0.1)),)
print(json.dumps([
  both(dict(fsdp=4)), both(dict(fsdp=2, tensor=2), methods=lora)
]))
"""


def test_a_plan_has_the_figures_of_the_run():
  for found, real in json.loads(run_on_devices(SCRIPT, 4).splitlines()[-1]):
    assert found['memory'] == real['memory']
    assert found['sent'] == real['sent'] and sum(real['sent'].values()) > 0
    assert found['trained'] <= found['parameters']


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_of_task_is_planned(kind):
  columns = dict(span=('question', 'context'), token_classification=('words',))
  task = dict(name='own', kind=kind, columns=columns.get(kind, ('a', 'b')))
  model = dict(preset='tiny', num_layers=1, vocab_size=50)
  if kind == 'generation':
    task['columns'] = ('a',)
    model |= dict(name='llama', num_kv_heads=1, max_positions=80)
  if kind == 'multiple_choice':
    task['choices'] = ('b', 'c')
    task['columns'] = ('a', 'b', 'c')
  if kind in ('classification', 'multilabel', 'token_classification'):
    task['labels'] = ('x', 'y', 'z')
  if kind == 'sentence_structure':
    model['name'] = 'ponet'
  changes = {}
  if kind in OBJECTIVES:
    changes['objective'] = dict(name=OBJECTIVES[kind])
  config = tiny_config(task=task, model=model, **changes)
  run = plan.abstract(config)
  with sharding.enter(run.parts.mesh):
    rows = run.parts.train_data().batch(0)
    traced = run.traced(rows)
  assert rows['input_ids'].shape[-1] == 16 and rows['attention_mask'].all()
  state, metrics = traced.out_info
  assert metrics['loss'][0].shape == ()
  for leaf in jax.tree.leaves(run.host.state):
    assert isinstance(leaf, jax.ShapeDtypeStruct)
  assert jax.tree.map(lambda x: x.shape, state.params) == jax.tree.map(
    lambda x: x.shape, run.host.state.params
  )


def test_made_up_data_is_as_real_data_is():
  real = begin.begin(tiny_config(), 0).parts
  made = made_up.bundle(real.bundle.task, 50, 0, 16, 16)
  wanted, found = (b.train.batch(0) for b in (real.bundle, made))
  assert wanted.keys() == found.keys()
  for name, value in wanted.items():
    assert (value.dtype, value.shape) == (found[name].dtype, found[name].shape)
  assert made.tokenizer.vocab_size == 50
  roberta = made_up.bundle(by_name.make('rte'), 50, 1, 2, 8)
  assert roberta.tokenizer.pad_id == 1
  assert (roberta.train.batch(0)['input_ids'] != 1).all()
