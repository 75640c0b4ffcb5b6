"""Frozen leaves are written once or not at all, and only they come back."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy

from glue_jax import tree
from glue_jax.inference import open_run
from glue_jax.training import begin, checkpoint, frozen, schema
from glue_jax.training.state import TrainState
from glue_jax.training.train import train
from glue_jax.weights import saved_model
from tests.conftest import tiny_config

FROM_WEIGHTS = dict.fromkeys(
  (
    'name', 'preset', 'num_layers', 'hidden_size', 'intermediate_size',
    'max_positions',
  )
)  # fmt: skip


def state(step, **leaves):
  """A state with those frozen leaves, and one that is never frozen."""
  learns = {'x': jnp.full((2, 3), step, jnp.float32)}
  frozen_ = {'params': {n: jnp.asarray(x) for n, x in leaves.items()}}
  return TrainState(jnp.int32(step), learns, frozen_, (), {})


def kept(folder):
  return {path.name for path in (folder / 'frozen').glob('*')}


def test_what_hooks_keep_is_that_of_the_step(tmp_path, monkeypatch):
  """A save goes on beside the next steps, which change what it writes."""
  given, real = [], ocp.args.JsonSave
  monkeypatch.setattr(
    ocp.args, 'JsonSave', lambda item: given.append(item) or real(item)
  )
  saved, host = checkpoint.Checkpoints(tmp_path), {'memory': {'seen': [1]}}
  saved.save('last', 1, state(1), host)
  host['memory']['seen'].append(2)
  saved.wait()
  assert given == [{'memory': {'seen': [1]}}]


def test_a_leaf_without_a_source_is_written_once_while_it_is_used(tmp_path):
  a, half = np.ones((4, 4), np.float32), jnp.ones(3, jnp.bfloat16)
  saved = checkpoint.Checkpoints(tmp_path, keep=2)
  first = state(1, a=a, b=half)
  saved.save('last', 1, first, {})
  saved.wait()
  files = kept(tmp_path)
  assert len(files) == 2
  saved.save('last', 2, first.replace(step=jnp.int32(2)), {})
  saved.wait()
  assert kept(tmp_path) == files
  # It learns for a while and is frozen again.
  saved.save('last', 3, state(3, a=a + 1, b=half), {})
  saved.wait()
  assert len(kept(tmp_path)) == 3
  saved.save('last', 4, state(4, a=a + 1, b=half), {})
  saved.wait()
  assert len(kept(tmp_path)) == 2 and kept(tmp_path) != files
  reader = checkpoint.Checkpoints(tmp_path, create=False)
  back = reader.state('last', 3, state(0, a=0 * a, b=0 * half))
  np.testing.assert_array_equal(back.frozen['params']['a'], a + 1)
  assert back.frozen['params']['b'].dtype == jnp.bfloat16
  np.testing.assert_array_equal(back.params['x'], np.full((2, 3), 3))
  with pytest.raises(checkpoint.CheckpointError, match='no frozen leaf params'):
    reader.state('last', 3, state(0, a=a))
  (tmp_path / 'frozen' / max(kept(tmp_path))).write_bytes(b'')
  assert reader.newest() is None


def test_a_leaf_is_found_where_it_was_read_or_refused(tmp_path):
  a = np.arange(6, dtype=np.float32).reshape(2, 3)
  begun, folder = state(0, a=a), tmp_path / 'run'
  origins = {'params/a': '/backbone'}
  saved = checkpoint.Checkpoints(folder, begun=begun, origins=origins)
  saved.save('last', 1, begun, {})
  saved.wait()
  assert kept(folder) == set()
  record = json.loads((folder / 'last/1/frozen.json').read_text())
  assert record['params/a'][1] == '/backbone'
  reader = checkpoint.Checkpoints(folder, create=False)
  # It has changed since this checkpoint, as a layer that thaws does.
  other = state(0, a=a + 1)
  gone = [lambda: {}, (tmp_path / 'gone').read_text]
  back = reader.state('last', 1, other, [*gone, lambda: {'a': a}])
  np.testing.assert_array_equal(back.frozen['params']['a'], a)
  for readers in ([], gone, [lambda: {'a': a + 1}]):
    with pytest.raises(checkpoint.CheckpointError) as error:
      reader.state('last', 1, other, readers)
    assert 'a in /backbone is gone or another by now' in str(error.value)
  # Once it has learnt it is no longer the source's.
  saved.save('last', 2, other, {})
  saved.wait()
  assert len(kept(folder)) == 1


def test_a_checkpoint_of_before_holds_all_its_leaves(tmp_path, monkeypatch):
  old = state(1, a=np.ones(3, np.float32))
  saved = checkpoint.Checkpoints(tmp_path)
  monkeypatch.setattr(
    frozen.Frozen, 'take_out', lambda self, state: (state, {})
  )
  saved.save('last', 1, old, {})
  saved.wait()
  for name in ('frozen.json', 'manifest.json'):
    (tmp_path / 'last/1' / name).unlink()
  # Another process may be writing its manifest just now.
  begun = tmp_path / 'last/1/.manifest.1.json.0a1b.part'
  begun.write_text('')
  checkpoint._write_manifest(tmp_path / 'last/1')
  begun.unlink()
  assert saved.newest() == 1
  back = saved.state('last', 1, state(0, a=np.zeros(3, np.float32)))
  np.testing.assert_array_equal(back.frozen['params']['a'], np.ones(3))


@pytest.fixture(scope='module')
def backbone(tmp_path_factory):
  folder = tmp_path_factory.mktemp('backbone')
  config = tiny_config()
  parts = begin.build(schema.bind(config, 1), 0)
  saved_model.save(folder, parts.plain.model, parts.params)
  parts.bundle.tokenizer.save(folder)
  return folder


def stopped_at(step, workdir, target):
  """The workdir as it was when so many steps were saved."""
  shutil.copytree(workdir, target)
  (target / 'done.json').unlink()
  shutil.rmtree(target / 'checkpoints/best')
  for path in (target / 'checkpoints/last').iterdir():
    if int(path.name) > step:
      shutil.rmtree(path)
  return target


def everything(workdir):
  return tree.flatten(open_run.load_run(workdir).host.state.all_params())


def test_an_adapter_goes_on_from_its_backbone_and_no_other(backbone, tmp_path):
  config = tiny_config(
    data=dict(tokenizer=str(backbone)),
    model=FROM_WEIGHTS | dict(weights=str(backbone)),
    methods=(('lora', dict(rank=2)),),
    train=dict(epochs=None, steps=4, save_every=1, keep=4, eval_every=4),
  )
  train(config, tmp_path / 'run', 0)
  assert kept(tmp_path / 'run/checkpoints') == set()
  for step in '1234':
    record = tmp_path / 'run/checkpoints/last' / step / 'frozen.json'
    sources = [source for _, source in json.loads(record.read_text()).values()]
    assert set(sources) == {str(backbone)}
  flat = everything(tmp_path / 'run')
  leaves = safetensors.numpy.load_file(backbone / 'params.safetensors')
  name = 'encoder/layer_0/mixer/query/kernel'
  np.testing.assert_array_equal(flat[name], leaves[name])

  half = stopped_at(2, tmp_path / 'run', tmp_path / 'half')
  train(config, half, 0)
  again = everything(half)
  for leaf, value in flat.items():
    np.testing.assert_array_equal(again[leaf], value, err_msg=leaf)

  own = leaves[name]
  leaves[name] = own + 1
  safetensors.numpy.save_file(leaves, backbone / 'params.safetensors')
  other = stopped_at(2, tmp_path / 'run', tmp_path / 'other')
  for act in (train, lambda *args: open_run.load_run(tmp_path / 'run')):
    with pytest.raises(
      checkpoint.CheckpointError, match=f'{name} in .*gone or'
    ):
      act(config, other, 0)

  # Moved: the message names the setting and the way to go on, which works.
  leaves[name] = own
  safetensors.numpy.save_file(leaves, backbone / 'params.safetensors')
  moved = shutil.move(backbone, backbone.with_name('moved'))
  for tokenizer in ('', moved):
    config['data']['tokenizer'] = str(tokenizer)
    with pytest.raises(
      FileNotFoundError,
      match='config.model.weights: .*frozen leaves .*--allow_config_change',
    ):
      train(config, half, 0, allow_config_change=True)
  config['model']['weights'] = str(moved)
  config['train']['steps'] = 5
  train(config, half, 0, allow_config_change=True)
  assert everything(half)[name].shape == flat[name].shape
