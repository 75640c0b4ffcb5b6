"""Merging model folders: both layouts, what is written, what is refused."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy

from glue_jax import tree
from glue_jax.merging import merge, sources
from glue_jax.merging.dare import Drop
from glue_jax.merging.settings import Settings
from glue_jax.models import model as models_lib
from glue_jax.training import transductive
from glue_jax.weights import huggingface, saved_model
from tests import hf_folders

SIZES = dict(
  vocab_size=40,
  num_layers=2,
  hidden_size=16,
  num_heads=4,
  intermediate_size=24,
  max_positions=12,
)


def native(folder, seed, outputs=2, **changes):
  """A saved model with random parameters."""
  module = models_lib.build(
    'bert', 'tiny', 'classification', outputs, **(SIZES | changes)
  )
  batch = models_lib.example_batch(module)
  params = module.init(jax.random.key(seed), batch)['params']
  saved_model.save(folder, module, jax.device_get(params))
  return str(folder)


def hf(folder, seed, kind='classification', num_labels=3, **changes):
  """A folder of the library, with other values for other seeds."""
  model = hf_folders.theirs('bert', kind, num_labels=num_labels, **changes)
  for i, parameter in enumerate(model.parameters()):
    parameter.data.add_(0.1 * np.sin(seed + i))
  return str(hf_folders.save(model, folder))


def params_of(folder):
  return tree.flatten(saved_model.load(folder)[1])


def merged(base, paths, out, exclude=None, **settings):
  settings = Settings(**settings)
  group = sources.open_group(base, paths, exclude)
  found = merge.combine(
    settings, group.base, merge.drop(settings, group.base, group.models)
  )
  return merge.write(out, group, found, {'x': 1})


def test_runs_get_a_folder_each_with_their_own_head(tmp_path):
  base = native(tmp_path / 'base', 0)
  paths = [native(tmp_path / 'a', 1), native(tmp_path / 'b', 2, outputs=5)]
  (tmp_path / 'a' / 'vocab.txt').write_text('x\ny\n')
  folders = merged(
    base, paths, tmp_path / 'out', method='task_arithmetic', scale=0.5
  )
  assert [f.name for f in folders] == ['a', 'b']
  assert not transductive.marked(folders[1])
  start, a, b = (params_of(p) for p in (base, *paths))
  for folder, own in zip(folders, (a, b)):
    found = params_of(folder)
    assert found.keys() == own.keys()
    for name, value in found.items():
      if name.startswith('head/'):
        np.testing.assert_array_equal(value, own[name])
      else:
        expected = start[name] + 0.5 * (a[name] + b[name] - 2 * start[name])
        np.testing.assert_allclose(value, expected, atol=1e-6)
  assert (folders[0] / 'vocab.txt').read_text() == 'x\ny\n'
  body = safetensors.numpy.load_file(tmp_path / 'out' / 'body.safetensors')
  assert not [name for name in body if name.startswith('head/')]
  assert json.loads((tmp_path / 'out' / 'merge.json').read_text()) == {
    'x': 1,
    'notes': [],
  }
  (tmp_path / 'b/result.json').write_text('{"transductive": true}')
  folders = merged(base, paths, tmp_path / 'out', method='task_arithmetic')
  assert all(map(transductive.marked, folders))


def test_the_base_may_be_of_the_other_layout(tmp_path):
  """Same values in both layouts, so the deltas are zero."""
  base = native(tmp_path / 'base', 0)
  module, params = saved_model.load(base)
  huggingface.save_hf(tmp_path / 'hf', module, params)
  model = native(tmp_path / 'm', 1)
  for a, b in ((base, tmp_path / 'hf'), (tmp_path / 'hf', base)):
    group = sources.open_group(str(a), [str(b)])
    assert group.split
    count = 0
    for name in group.names:
      zero, one = (
        w.tensors[name].array() for w in (group.base, group.models[0])
      )
      np.testing.assert_array_equal(zero, one)
      count += zero.size
    assert count == sum(
      x.size
      for n, x in tree.flatten(params).items()
      if not n.startswith('head/')
    )
  settings = dict(method='ties', drop=Drop(0.5))
  one = merged(base, [model], tmp_path / 'x', **settings)
  two = merged(str(tmp_path / 'hf'), [model], tmp_path / 'y', **settings)
  a, b = params_of(one[0]), params_of(two[0])
  assert all((a[name] == b[name]).all() for name in a)


def test_hugging_face_folders_stay_as_they_are(tmp_path):
  base = hf(tmp_path / 'base', 0, 'encoder')  # without the prefix `bert.`
  paths = [hf(tmp_path / 'a', 1), hf(tmp_path / 'b', 2, num_labels=5)]
  folders = merged(
    base, paths, tmp_path / 'out', method='task_arithmetic', scale=0.3
  )
  start, a, b = (
    safetensors.numpy.load_file(f'{p}/model.safetensors')
    for p in (base, *paths)
  )
  found = safetensors.numpy.load_file(folders[1] / 'model.safetensors')
  assert found.keys() == b.keys()
  for name, value in found.items():
    if name.startswith('classifier'):
      np.testing.assert_array_equal(value, b[name])
    else:
      zero = start[name.removeprefix('bert.')]
      expected = zero + 0.3 * (a[name] + b[name] - 2 * zero)
      np.testing.assert_allclose(value, expected, atol=1e-6)
  config = json.loads((folders[1] / 'config.json').read_text())
  assert len(config['id2label']) == 5
  model, _, missing = hf_folders.load(folders[0])
  assert model.num_outputs == 3
  assert not missing


def test_families_that_are_not_known_here_are_merged_by_name(tmp_path):
  paths = []
  for name in 'abc':
    folder = tmp_path / name
    folder.mkdir()
    (folder / 'config.json').write_text('{"model_type": "unknown"}')
    value = {'w': np.full((3, 2), ord(name) - 97, np.float32)}
    safetensors.numpy.save_file(value, folder / 'model.safetensors')
    paths.append(str(folder))
  out = tmp_path / 'out'
  # Nothing is kept by the models, so there is one.
  assert merged(paths[0], paths[1:], out, method='average') == [out]
  found = safetensors.numpy.load_file(out / 'model.safetensors')
  np.testing.assert_array_equal(found['w'], np.full((3, 2), 1.5))
  assert (out / 'config.json').is_file()
  other = tmp_path / 'a' / 'config.json'
  other.write_text('{"model_type": "unknown", "num_attention_heads": 3}')
  with pytest.raises(ValueError, match=r'a has num_attention_heads=3'):
    merged(paths[0], paths[1:], out, method='average')


def test_other_architectures_are_refused(tmp_path):
  a = native(tmp_path / 'a', 1)
  wide = native(tmp_path / 'wide', 2, hidden_size=32)
  with pytest.raises(
    ValueError, match=r'wide.*tensor encoder/\S+ has shape .*another archit'
  ):
    sources.open_group(None, [a, wide])
  deep = native(tmp_path / 'deep', 2, num_layers=3)
  with pytest.raises(
    ValueError,
    match=r'a/params.* has no tensor encoder/layer_2/\S+, which.*'
    'deep',
  ):
    sources.open_group(None, [a, deep])
  heads = native(tmp_path / 'heads', 2, num_heads=2)
  with pytest.raises(ValueError, match=r'heads has num_heads=2, but .* has 4'):
    sources.open_group(None, [a, heads])
  library = hf(tmp_path / 'hf', 0)
  with pytest.raises(ValueError, match='the other a Hugging Face folder'):
    sources.open_group(None, [a, library])


def test_other_vocabularies_are_refused(tmp_path):
  a, b = native(tmp_path / 'a', 1), native(tmp_path / 'b', 2)
  for folder, words in ((a, 'x y z'), (b, 'x z y')):
    text = '\n'.join(words.split()) + '\n'
    (tmp_path / folder / 'vocab.txt').write_text(text)
  with pytest.raises(
    ValueError,
    match=r"token 'y' has id 2 there and 1 here.*tensor encoder/embeddings",
  ):
    sources.open_group(None, [a, b])
  more = native(tmp_path / 'more', 2, vocab_size=41)
  with pytest.raises(ValueError, match=r'more.*word/embedding.*vocabulary'):
    sources.open_group(None, [a, more])


def test_what_is_no_model_is_refused(tmp_path):
  a = native(tmp_path / 'a', 1)
  with pytest.raises(FileNotFoundError, match='is no model'):
    sources.open_group(None, [a, str(tmp_path)])
  with pytest.raises(ValueError, match='given twice'):
    sources.open_group(None, [a, a])
  with pytest.raises(ValueError, match="exclude='nothing' matches none"):
    sources.open_group(None, [a], ['nothing'])
  with pytest.raises(ValueError, match='no tensor is left'):
    sources.open_group(None, [a], ['.*'])
  with pytest.raises(ValueError, match='ties needs --base'):
    merged(None, [a], tmp_path / 'out', method='ties')
  with pytest.raises(ValueError, match='--dare needs --base'):
    merged(None, [a], tmp_path / 'out', method='average', drop=Drop(0.5))
  with pytest.raises(ValueError, match='choose another out'):
    merged(None, [a], tmp_path, method='average')
  record = json.loads((tmp_path / 'a' / 'model.json').read_text())
  record['unmerged'] = ['lora/a']
  (tmp_path / 'a' / 'model.json').write_text(json.dumps(record))
  with pytest.raises(ValueError, match='is no plain model'):
    sources.open_group(None, [a])
  with pytest.raises(ValueError, match="method 'x'"):
    Settings('x')


def test_names_of_models():
  names = sources.model_names
  assert names(['r/rte/seed_0', 'r/mrpc/seed_0']) == ['rte', 'mrpc']
  assert names(['r/rte', 'r/mrpc']) == ['rte', 'mrpc']
  assert names(['r/a/x', 'q/a/x', 'q/a/y']) == ['0_x', '1_x', '2_y']
  for alone in ('r/rte', 'r/rte/seed_0', 'r/rte/seed_3/model'):
    assert names([alone]) == ['rte']
  assert names(['r/a/seed_0', 'r/a/seed_1']) == ['seed_0', 'seed_1']


def test_a_mask_is_that_of_the_model_and_not_of_its_company(tmp_path):
  base = native(tmp_path / 'base', 0)
  paths = [native(tmp_path / 'a', 1), native(tmp_path / 'b', 2)]
  settings = dict(method='average', drop=Drop(0.9, seed=3))
  alone = merged(base, paths[1:], tmp_path / 'x', **settings)
  group = sources.open_group(base, paths)
  both = merge.drop(Settings(**settings), group.base, group.models)
  found = params_of(alone[0])
  for name, tensor in both[1].tensors.items():
    np.testing.assert_array_equal(tensor.array(), found[name])
