"""Vega v1's stages: at the full size as shapes, at the small one as a run."""

import json

from configs.finetune import vega_v1
from tests.conftest import run_on_devices

SCRIPT = """
import json
from configs.finetune import vega_v1
from glue_jax import tree
from glue_jax.config import config
from glue_jax.probes import plan, step_memory

given = vega_v1.get_config('rte').to_dict()
stages, found = dict(given.pop('stages')), {}
for name in ('pretrain', 'finetune'):
  stage = config.override(given, stages[name])
  stage['optimizer']['warmup'] = 0  # of few rows that are made up
  if name == 'finetune':
    stage['model'] |= dict(weights='', name='deberta_v2', preset='v2_xxlarge')
    stage['model'].pop('fresh')
    stage['data'] |= dict(tokenizer='', pseudo=None)
  run = plan.abstract(config.complete(stage))
  params = run.host.state.all_params()
  blocks = {n: x for n, x in params['encoder'].items() if 'layer_' in n}
  found[name] = dict(
    names=sorted(params),
    encoder=tree.size(params['encoder']),
    blocks=tree.size(blocks),
    whole=tree.size(params),
    device=step_memory.on_one_device(params),
    methods=run.parts.method.name,
  )
print(json.dumps(found))
"""


def test_the_full_size_is_shared_by_16_devices():
  found = json.loads(run_on_devices(SCRIPT, 16).splitlines()[-1])
  first, last = found['pretrain'], found['finetune']
  assert first['methods'] == 'rtd+contrastive'
  assert last['methods'] == 'sift+self_calibration'
  assert {'contrastive', 'generator', 'encoder'} <= set(first['names'])
  assert 'contrastive' not in last['names']
  assert first['encoder'] == last['encoder']
  # Published are 1.3B; whether they are just these blocks isn't known.
  assert abs(first['blocks'] - 1.3e9) < 0.06 * 1.3e9
  for sizes in found.values():
    assert sizes['device'] < 1.05 * 4 * sizes['whole'] / 16


def test_the_stages_are_in_their_order():
  for task, names in {
    'rte': ['pretrain', 'mnli', 'label', 'finetune'],
    'sst2': ['pretrain', 'label', 'finetune'],
  }.items():
    stages = dict(vega_v1.get_config(task).stages)
    assert list(stages) == names
    start = 'mnli' if 'mnli' in names else 'pretrain'
    for name in ('label', 'finetune'):
      assert stages[name]['model']['weights'] == f'stage:{start}'
    assert 'pseudo' not in stages['label']['data']
    assert 'test' in stages['label']['data']['eval_splits']
  assert list(dict(vega_v1.get_config('rte,small').stages)) == names[1:]
