"""`model.adapter`: a run that starts from a bundle or a folder of peft."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.export import bundle, peft_folder
from glue_jax.training import begin, build_adapter, schema
from glue_jax.training.learning import Leaves
from glue_jax.weights import bundle_folder
from tests.conftest import tiny_config
from tests.export.bundle_test import logits, opened, save_backbone

LORA = dict(rank=2, alpha=4.0)


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  """A backbone, a bundle of LoRA on it, and the same as a folder of peft."""
  folder = tmp_path_factory.mktemp('adapters')
  save_backbone(folder / 'backbone', 0)
  run = opened(folder / 'backbone', (('lora', LORA),))
  peft_folder.write(folder / 'peft', bundle.write(run, folder / 'bundle'))
  return folder


def build(home, adapter, fresh=(), methods=(('lora', LORA),)):
  config = tiny_config(
    methods=methods, data={'tokenizer': str(home / 'backbone')}
  )
  model = {'weights': str(home / 'backbone'), 'fresh': list(fresh)}
  config['model'] = model | {'adapter': adapter and str(adapter)}
  data = dict(train_split='', eval_splits=())
  return begin.build(schema.bind(config, 1), 3, **data)


def test_leaves_and_head_come_from_a_bundle(home):
  parts = build(home, home / 'bundle')
  ours = bundle.on_host(parts.params, parts.mesh)
  theirs = bundle_folder.read(home / 'bundle').params
  assert any(n.startswith('head/') for n in theirs)
  for name, value in theirs.items():
    np.testing.assert_array_equal(ours[name], value, err_msg=name)
  assert parts.adapter == {
    'folder': str(home / 'bundle'),
    'methods': ['lora'],
    'leaves': len(theirs),
    'fresh': [],
    'head': 'taken',
  }


@pytest.fixture(scope='module')
def started(home):
  """(adapter, **changes) -> `start_from` on a run built once."""
  parts = build(home, None)
  plain, own = tree.partition(parts.params, lambda n: n in parts.names)
  owners = dict.fromkeys(tree.flatten(own), 'lora')
  leaves = Leaves(parts.names, owners, {})

  def start(adapter, shift=0.0, fresh=(), methods=None, labels=None):
    network = dataclasses.replace(
      parts.sections.model, adapter=str(adapter), fresh=tuple(fresh)
    )
    task = parts.bundle.task
    return build_adapter.start_from(
      network,
      parts.plain,
      jax.tree.map(lambda x: x + shift, plain),
      parts.params,
      {'lora': LORA} if methods is None else methods,
      parts.method,
      leaves,
      dataclasses.replace(task, labels=labels) if labels else task,
    )

  return start


def test_a_folder_of_peft_names_no_labels(home, started):
  params, record = started(home / 'peft')
  ours, theirs = (
    tree.flatten(params),
    bundle_folder.read(home / 'bundle').params,
  )
  assert record['head'] == 'fresh: the folder names no labels'
  taken = {n for n in theirs if not n.startswith('head/')}
  assert record['leaves'] == len(taken)
  for name in taken:
    np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6)
  assert not np.array_equal(ours['head/out/bias'], theirs['head/out/bias'])


@pytest.mark.parametrize(
  'changes,head',
  [
    (dict(labels=('other', 'names')), 'fresh: the labels there are'),
    (dict(fresh=['head/.*']), 'fresh: model.fresh matches it'),
  ],
)
def test_a_head_for_other_labels_starts_afresh(home, started, changes, head):
  params, record = started(home / 'bundle', **changes)
  assert record['head'].startswith(head)
  theirs = bundle_folder.read(home / 'bundle').params
  fresh = tree.flatten(params)['head/out/kernel']
  assert not np.array_equal(fresh, theirs['head/out/kernel'])


def test_dropout_may_differ(home, started):
  methods = {'lora': LORA | dict(dropout=0.1, targets=['value', 'query'])}
  assert started(home / 'bundle', methods=methods)[1]['head'] == 'taken'


@pytest.mark.parametrize(
  'changes,message',
  [
    (dict(methods={}), "leaves of 'lora'; config.methods has none"),
    (
      dict(methods={'lora': LORA | dict(alpha=8.0)}),
      r'settings of lora than the config .*: alpha: 4.0 -> 8.0',
    ),
    (
      dict(methods={'lora': LORA | dict(layers=[0])}),
      r'layers: None -> \[0\]',
    ),
    (dict(shift=1.0), 'belongs to a backbone with the hash'),
  ],
)
def test_what_does_not_agree_is_refused(home, started, changes, message):
  with pytest.raises(ValueError, match=message) as caught:
    started(home / 'bundle', **changes)
  assert str(caught.value).startswith('config.model.adapter: ')
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  'change,message',
  [
    (lambda n, x: None if n.endswith('value/lora_b') else x, 'lacks .*lora_b'),
    (lambda n, x: x[:1] if n.endswith('lora_b') else x, 'has the shape .1, 16'),
    (lambda n, x: x, 'has pooler/new; the model has no such leaf'),
  ],
)
def test_other_leaves_are_refused_by_name(
  home, started, change, message, tmp_path
):
  stored = bundle_folder.read(home / 'bundle')
  leaves = {n: change(n, x) for n, x in stored.leaves.items()}
  leaves = {n: x for n, x in leaves.items() if x is not None}
  if 'pooler' in message:
    leaves['pooler/new'] = np.zeros(3, np.float32)
  bundle_folder.save(tmp_path, stored.record, leaves)
  with pytest.raises(ValueError, match=message):
    started(tmp_path)


def test_a_folder_that_is_no_adapter(home, started, tmp_path):
  with pytest.raises(ValueError, match='no bundle.json and no adapter_config'):
    started(home / 'backbone')
  begun = {'config': {}, 'seed': 0}
  (tmp_path / 'config.json').write_text(json.dumps(begun))
  with pytest.raises(ValueError, match='python -m launch.bundle write --work'):
    started(tmp_path)


def test_an_adapter_needs_its_backbone():
  with pytest.raises(ValueError, match='give its folder as model.weights'):
    schema.bind(tiny_config(model={'adapter': 'folder'}), 1)


def test_a_bundle_of_such_a_run_needs_its_backbone_only(home, tmp_path):
  run = opened(home / 'backbone', (('lora', LORA),), home / 'bundle')
  bundle.write(run, tmp_path)
  record = bundle_folder.read(tmp_path).record
  assert 'adapter' not in config_lib.plain(record['config'])['model']
  loaded = bundle.load(tmp_path, str(home / 'backbone'))
  np.testing.assert_array_equal(logits(loaded), logits(run))
