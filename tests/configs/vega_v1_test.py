"""Vega v1's stages: at the full size as shapes, at the small one as a run."""

import json

from configs.finetune import vega_v1
from glue_jax.models import deberta_v2
from tests.conftest import run_on_devices

SCRIPT = """
import dataclasses
import json
from configs.finetune import vega_v1
from glue_jax import tree
from glue_jax.config import config
from glue_jax.models import deberta_v2
from glue_jax.probes import plan, step_memory

WHOLE = deberta_v2.PRESETS['v2_xxlarge']
given = vega_v1.get_config('rte').to_dict()
stages = dict(given.pop('stages'))


def sizes(name, layers):
  blocks = 'convolved', *['post'] * (layers - 1)
  deberta_v2.PRESETS['v2_xxlarge'] = dataclasses.replace(
    WHOLE, num_layers=layers, per_layer=(('block', blocks),)
  )
  stage = config.override(given, stages[name])
  stage['optimizer']['warmup'] = 0  # of few rows that are made up
  if name == 'finetune':
    stage['model'] |= dict(weights='', name='deberta_v2', preset='v2_xxlarge')
    stage['model'].pop('fresh')
    stage['data'] |= dict(tokenizer='', pseudo=None)
  run = plan.abstract(config.complete(stage))
  params = run.host.state.all_params()
  blocks = {n: x for n, x in params['encoder'].items() if 'layer_' in n}
  return dict(
    names=sorted(params),
    encoder=tree.size(params['encoder']),
    blocks=tree.size(blocks),
    whole=tree.size(params),
    device=step_memory.on_one_device(params),
    methods=run.parts.method.name,
  )


print(json.dumps({
  name: [sizes(name, layers) for layers in (2, 4)]
  for name in ('pretrain', 'finetune')
}))
"""


def test_the_full_size_is_shared_by_16_devices():
  found = json.loads(run_on_devices(SCRIPT, 16).splitlines()[-1])
  (first, _), (last, _) = found['pretrain'], found['finetune']
  assert first['methods'] == 'rtd+contrastive'
  assert last['methods'] == 'sift+self_calibration'
  assert {'contrastive', 'generator', 'encoder'} <= set(first['names'])
  assert 'contrastive' not in last['names']
  first, last = (_at_full_depth(*sizes) for sizes in found.values())
  assert first['encoder'] == last['encoder']
  # Published are 1.3B; whether they are just these blocks isn't known.
  assert abs(first['blocks'] - 1.3e9) < 0.06 * 1.3e9
  for sizes in (first, last):
    assert sizes['device'] < 1.05 * 4 * sizes['whole'] / 16


def _at_full_depth(two, four):
  """Sizes of all layers: every pair but the first adds the same.

  A block of the generator comes with two of the encoder. Blocks take long to
  trace.
  """
  pairs = deberta_v2.PRESETS['v2_xxlarge'].num_layers // 2
  return {
    name: two[name] + (pairs - 1) * (four[name] - two[name])
    for name in ('encoder', 'blocks', 'whole', 'device')
  }


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
