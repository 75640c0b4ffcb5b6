"""Bundles give back the run's logits bit for bit, or an error."""

import json
import shutil

import jax
import numpy as np
import optax
import pytest
import safetensors.numpy

from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.devices import sharding
from glue_jax.export import bundle, peft_folder
from glue_jax.inference.run import Run
from glue_jax.method import Host
from glue_jax.training import begin, first_state, schema
from glue_jax.weights import bundle_folder, saved_model
from tests import hub_server
from tests.conftest import tiny_config

METHODS = {
  'bitfit': {},
  'lora': dict(rank=2),
  'prefix': dict(length=3, hidden=4),
}
SIZES = dict(max_positions=32, stack='first_token')


def save_backbone(folder, seed, **sizes):
  """A saved model without meaning, with its tokenizer."""
  parts = begin.build(schema.bind(tiny_config(model=SIZES | sizes), 1), seed)
  params = sharding.gather(parts.params, parts.mesh)
  # Of the head a fresh one is drawn.
  saved_model.save(folder, parts.plain.model, params)
  parts.bundle.tokenizer.save(folder)
  return folder


@pytest.fixture(scope='module')
def backbone(tmp_path_factory):
  return save_backbone(tmp_path_factory.mktemp('backbone') / 'tiny', 7)


def opened(backbone, methods, adapter=None):
  """An open run as if it had been trained: what learns was moved."""
  config = tiny_config(methods=methods)
  config = config_lib.override(
    config, {'data': {'tokenizer': str(backbone)}, 'seeds': [3]}
  )
  config['model'] = {'weights': str(backbone), 'fresh': ['head/.*']}
  config['model']['adapter'] = adapter and str(adapter)
  config = config_lib.complete(config)
  data = dict(train_split='', eval_splits=())
  parts = begin.build(schema.bind(config, 1), 3, **data)
  with sharding.enter(parts.mesh):
    state = first_state.initial_state(
      parts, optax.identity(), jax.random.key(0)
    )
    moved = jax.tree.map(lambda x: x * 1.25 + 0.01, state.params)
    state = state.replace(params=moved, step=jax.numpy.int32(5))
  host = Host(None, 1, 1, state, step=5)
  return Run.of(parts, host, config=config, begun=config)


@pytest.fixture(scope='module')
def lora(backbone, tmp_path_factory):
  """The folder of LoRA's bundle."""
  folder = tmp_path_factory.mktemp('bundles') / 'lora'
  bundle.write(opened(backbone, (('lora', METHODS['lora']),)), folder)
  return folder


@pytest.fixture
def copy(lora, tmp_path):
  """LoRA's bundle, to be damaged."""
  return shutil.copytree(lora, tmp_path / 'copy')


def rewrite(folder, change):
  """Changes a bundle's record."""
  path = folder / bundle_folder.RECORD
  record = json.loads(path.read_text())
  change(record)
  path.write_text(json.dumps(record))


def logits(run):
  ids = np.random.default_rng(0).integers(5, 40, (4, 16)).astype(np.int32)
  batch = {'input_ids': ids, 'attention_mask': np.ones_like(ids)}
  batch |= {'token_type_ids': ids * 0, 'weight': np.ones(4, np.float32)}
  batch |= {'idx': np.arange(4), 'label': np.zeros(4, np.int32)}
  return np.asarray(run.predict_fn(batch)['logits'])


@pytest.mark.parametrize('name', METHODS)
def test_logits_are_those_of_the_run(backbone, tmp_path, name):
  run = opened(backbone, ((name, METHODS[name]),))
  written = bundle.write(run, tmp_path)
  loaded = bundle.load(tmp_path, str(backbone))
  np.testing.assert_array_equal(logits(loaded), logits(run))
  ours, theirs = (tree.flatten(r.params) for r in (loaded, run))
  assert ours.keys() == theirs.keys()
  for leaf in theirs:
    np.testing.assert_array_equal(ours[leaf], theirs[leaf])
  # All that learnt and the head, but not the backbone.
  learnt = tree.flatten(run.host.state.params).keys()
  assert learnt <= written.leaves.keys()
  assert not any(n.endswith('ffn_in/kernel') for n in written.leaves)
  assert loaded.step == 5


def test_record_names_what_it_belongs_to(lora, backbone):
  record = bundle_folder.read(lora).record
  assert record['backbone']['id'] == backbone.name
  assert record['config']['methods'] == [['lora', {'rank': 2}]]
  assert record['labels'] == ['unacceptable', 'acceptable']
  assert str(backbone) not in json.dumps(record)
  assert set(record['leaves']) >= {'head/out/kernel', 'head/out/bias'}


def test_another_backbone_is_refused(lora, tmp_path):
  other = save_backbone(tmp_path / 'wide', 7, intermediate_size=48)
  with pytest.raises(ValueError, match='intermediate_size: 32 -> 48'):
    bundle.load(lora, str(other))


def test_other_weights_of_the_same_sizes_are_refused(lora, tmp_path):
  other = save_backbone(tmp_path / 'other', 8)
  with pytest.raises(ValueError, match='same sizes but other values'):
    bundle.load(lora, str(other))


def test_another_tokenizer_is_refused(lora, backbone, tmp_path):
  folder = shutil.copytree(backbone, tmp_path / 'tokens')
  path = folder / 'tokenizer.json'
  content = json.loads(path.read_text())
  content['normalizer']['clean_text'] = False
  path.write_text(json.dumps(content))
  with pytest.raises(ValueError, match='its hash differs'):
    bundle.load(lora, str(backbone), str(folder))


def test_a_changed_value_is_refused(copy, backbone):
  leaves = safetensors.numpy.load_file(copy / bundle_folder.LEAVES)
  leaves['head/out/bias'] = leaves['head/out/bias'] + 1
  safetensors.numpy.save_file(leaves, copy / bundle_folder.LEAVES)
  with pytest.raises(ValueError, match='another hash'):
    bundle.load(copy, str(backbone))


def test_a_missing_leaf_is_refused(copy, backbone):
  leaves = safetensors.numpy.load_file(copy / bundle_folder.LEAVES)
  del leaves['head/out/kernel']
  safetensors.numpy.save_file(leaves, copy / bundle_folder.LEAVES)
  with pytest.raises(ValueError, match='head/out/kernel: .*absent'):
    bundle.load(copy, str(backbone))


def test_a_leaf_that_was_never_in_it_is_refused(copy, backbone):
  """Neither file nor record has it: it must not be drawn at random."""
  stored = bundle_folder.read(copy)
  leaves = {n: x for n, x in stored.leaves.items() if n != 'head/out/kernel'}
  bundle_folder.save(copy, stored.record, leaves)
  with pytest.raises(ValueError, match='do not fit its methods'):
    bundle.load(copy, str(backbone))


def test_an_unknown_method_is_refused(copy):
  rewrite(copy, lambda r: r['config'].update(methods=[['lorax', {}]]))
  with pytest.raises(ValueError, match="unknown method 'lorax'"):
    bundle_folder.read(copy)


def test_other_settings_of_the_method_are_refused(copy, backbone):
  rewrite(copy, lambda r: r['config'].update(methods=[['lora', {'rank': 3}]]))
  with pytest.raises(ValueError, match=r'found \(16, 2\), expected \(16, 3\)'):
    bundle.load(copy, str(backbone))


def test_labels_in_another_order_keep_their_rows(lora, copy, backbone):
  rewrite(copy, lambda r: r['labels'].reverse())
  ours, theirs = (logits(bundle.load(f, str(backbone))) for f in (copy, lora))
  np.testing.assert_array_equal(ours, theirs[:, ::-1])


def test_other_labels_are_refused(copy, backbone):
  rewrite(copy, lambda r: r['labels'].append('unsure'))
  with pytest.raises(ValueError, match="'unsure'.*mini_acceptability"):
    bundle.load(copy, str(backbone))


def test_another_format_is_refused(copy):
  rewrite(copy, lambda r: r.update(format=99))
  with pytest.raises(ValueError, match='format 99'):
    bundle_folder.read(copy)


@pytest.mark.parametrize('name', [bundle_folder.RECORD, bundle_folder.LEAVES])
def test_half_a_bundle_is_refused(copy, name):
  (copy / name).unlink()
  with pytest.raises(ValueError, match='holds no whole bundle'):
    bundle_folder.read(copy)


def test_full_fine_tuning_has_no_bundle(backbone, tmp_path):
  run = opened(backbone, ())
  with pytest.raises(bundle.NothingShared, match='no leaf of the backbone'):
    bundle.write(run, tmp_path)
  begun = config_lib.override(run.begun, {'model': {'weights': None}})
  run.begun = config_lib.complete(begun)
  with pytest.raises(ValueError, match='began from its seed'):
    bundle.write(run, tmp_path)


def test_digest_sees_names_types_shapes_and_values():
  base = {'a': np.zeros((2, 3), np.float32)}
  others = [
    {'b': base['a']},
    {'a': base['a'].T},
    {'a': base['a'].astype(np.int32)},
    {'a': base['a'] + 1},
  ]
  assert len({bundle_folder.digest(x) for x in [base, *others]}) == 5
  assert bundle_folder.digest(base) == bundle_folder.digest(dict(base))


def test_a_backbone_of_the_hub_is_kept_at_its_commit(backbone, tmp_path):
  """Written and read though the branch went on, and named for `peft`."""
  name, methods = 'acme/tiny', (('lora', METHODS['lora']),)
  with hub_server.serve() as hub, hub.client(tmp_path / 'cache'):
    repository = hub.add(name, backbone)
    old = repository.commit
    run = opened(name, methods)
    hub.add(name, {'model.json': b'{}', 'params.safetensors': b''})
    written = bundle.write(run, tmp_path / 'bundle')
    back = bundle.load(tmp_path / 'bundle', f'{name}@{old}')
  kept = written.record['backbone']
  assert (kept['id'], kept['commit']) == (name, old)
  ours, theirs = (tree.flatten(r.host.state.all_params()) for r in (run, back))
  for leaf, value in ours.items():
    np.testing.assert_array_equal(value, theirs[leaf], err_msg=leaf)
  peft_folder.write(tmp_path / 'peft', written)
  made = json.loads((tmp_path / 'peft' / 'adapter_config.json').read_text())
  assert (made['base_model_name_or_path'], made['revision']) == (name, old)
