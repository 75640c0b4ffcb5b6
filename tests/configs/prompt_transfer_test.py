"""Vega v2 at full size, made of shapes alone: what learns, of how much."""

from configs.finetune import large, prompt_transfer
from configs.pretrain import self_evolution
from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.probes import plan
from glue_jax.training import schema
from tests.configs import files_test

# As one device of a mesh would begin; no batch of its size: rows don't enter.
SMALL = dict(mesh=dict(fsdp=1), data=dict(batch_size=8))


def test_self_evolution_has_the_published_sizes():
  published = files_test.with_weights(_built(self_evolution, 'corpus'))
  (config,) = schema.check(published).values()
  with config.unlocked():
    config.model = dict(name='roberta', preset='base', dtype='bfloat16')
  run = plan.abstract(config_lib.complete(config_lib.override(config, SMALL)))
  size = tree.size(run.host.state.all_params()) / 1e6
  assert abs(size - 125) <= 1.25, size
  # 6 billion, as the next test counts them.
  (config,) = schema.check(_built(self_evolution, 'corpus,vega')).values()
  sizes = large.SIZES['vega_6b']
  assert {name: config.model[name] for name in sizes} == sizes


def test_prompts_and_a_head_learn_on_6_billion_parameters():
  stages = schema.check(_built(prompt_transfer, 'cb,vega'))
  assert list(stages) == ['source', 'teacher', 'student']
  assert all(config.seeds[0] == 0 for config in stages.values())
  config = config_lib.override(stages['student'], SMALL)
  # The student's prompt is the source's; its teacher isn't there yet.
  config = config_lib.override(
    config_lib.plain(config),
    {'methods': config_lib.plain(stages['source'])['methods']},
  )
  layers = config['model']['num_layers']
  assert layers == 72
  (one, of_one), (two, of_two) = (_sizes(config, count) for count in (1, 2))
  # The blocks are equal, and take long to trace.
  whole = one + (layers - 1) * (two - one)
  prompts = of_one + (layers - 1) * (of_two - of_one)
  assert prompts == 20 * 2 * 72 * 2560
  assert abs(whole - prompts - 6e9) <= 6e7


def _sizes(config, layers):
  """(all parameters, those of prompts); a head alone learns with them."""
  cut = config_lib.override(config, dict(model=dict(num_layers=layers)))
  state = plan.abstract(config_lib.complete(cut)).host.state
  learns = tree.flatten(state.params)
  assert all('/prefix_' in n or n.startswith('head/') for n in learns)
  prompts = sum(x.size for n, x in learns.items() if '/prefix_' in n)
  return tree.size(state.all_params()), prompts


def test_all_of_superglue_are_targets():
  for task in prompt_transfer.TASKS:
    config = _built(prompt_transfer, f'{task},vega')
    assert schema.check(config)['student'].task.name == task


def _built(file, argument):
  return config_lib.plain(file.get_config(argument))
