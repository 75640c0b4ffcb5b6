"""Reading and stacking finished source adapters, and what is refused."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.config import config
from glue_jax.peft import source_adapters
from glue_jax.training import begin, schema
from glue_jax.weights import source
from tests import adapters
from tests.conftest import tiny_config


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """Two sources that fit, and some that don't."""
  top = tmp_path_factory.mktemp('runs')
  base = tiny_config()
  own = {}
  for name, options in {
    'one': dict(seed=1),
    'two': dict(seed=2),
    'wide': dict(seed=3, size=5),
    'other': dict(seed=4, backbone_seed=9),
    'houlsby': dict(seed=5, name='houlsby'),
    'gelu': dict(seed=6, activation='gelu'),
  }.items():
    own[name] = adapters.save(top / name, base, **options)
  parts = begin.build(schema.bind(base, 1), 0)
  return types.SimpleNamespace(top=top, own=own, parts=parts)


def read(runs, *names, **sizes):
  sizes = vars(runs.parts.plain.model.config) | sizes
  return source_adapters.read(
    source.load_tuned,
    [str(runs.top / name) for name in names],
    types.SimpleNamespace(**sizes),
  )


def test_adapters_are_put_side_by_side(runs):
  found, values = read(runs, 'one', 'two')
  assert (found.count, found.size, found.width) == (2, 4, 16)
  site = 'encoder/layer_1/ln_ffn'
  one, two = runs.own['one'], runs.own['two']
  np.testing.assert_array_equal(
    values[f'{site}/source_down_kernel'],
    np.concatenate(
      [o[f'{site}/adapter_down_kernel'] for o in (one, two)], axis=1
    ),
  )
  np.testing.assert_array_equal(
    values[f'{site}/source_up_kernel'][1], two[f'{site}/adapter_up_kernel']
  )
  assert values[f'{site}/source_up_bias'].shape == (2, 16)


@pytest.mark.parametrize(
  'names, sizes, message',
  [
    ((), {}, 'expected one or more finished adapters'),
    (('one', 'one'), {}, 'each once'),
    (('one', 'missing'), {}, 'missing holds no finished model'),
    (('one', 'wide'), {}, 'one .*wide .*other shapes(.|\n)*down_kernel'),
    (('one', 'gelu'), {}, 'activation relu.* and .*gelu'),
    (('one', 'other'), {}, 'belong to different backbones'),
    (('houlsby',), {}, "tuned with .'houlsby'.; expected"),
    (('one',), dict(num_layers=3), 'has num_layers 2, this model 3'),
  ],
)
def test_sources_that_are_refused(runs, names, sizes, message):
  with pytest.raises(ValueError, match=message):
    read(runs, *names, **sizes)


def test_leaves_of_another_shape_are_refused(runs):
  _, values = read(runs, 'one')
  site = 'encoder/layer_0/ln_ffn'
  params = {f'{site}/source_up_bias': jnp.zeros((2, 16))}
  with pytest.raises(ValueError, match='do not fit this model'):
    source_adapters.put(tree.unflatten(params), values)


def test_another_backbone_than_the_sources_is_refused(runs):
  hook = source_adapters.same_backbone(source.load_tuned, str(runs.top / 'one'))
  state = types.SimpleNamespace(all_params=lambda: runs.parts.params)
  host = types.SimpleNamespace(step=0, state=state)
  hook.before_epoch(host)  # the same: nothing is said
  other = begin.build(schema.bind(tiny_config(), 1), 3).params
  host.state = types.SimpleNamespace(all_params=lambda: other)
  with pytest.raises(ValueError, match='trained on another backbone: encoder/'):
    hook.before_epoch(host)
  host.step = 1  # looked at before the first step only
  hook.before_epoch(host)


def test_a_run_without_its_source_ends_before_training(runs):
  gone = str(runs.top / 'gone')
  for name in ('scalearn', 'adapter_fusion'):
    changed = config.override(
      tiny_config(), dict(methods=[[name, dict(sources=[gone])]])
    )
    with pytest.raises(ValueError, match='gone holds no finished model'):
      begin.build(schema.bind(config.complete(changed), 1), 0)
