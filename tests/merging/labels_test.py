"""Heads with their labels in another order are merged label by label."""

import json

import numpy as np
import pytest

from glue_jax.data import label_names
from glue_jax.merging import average, labels, merge, sources, stream
from tests.merging.merge_test import hf, native

NAMES = ('down', 'flat', 'up')
ORDER = [2, 0, 1]


def labelled(folder, names, layout):
  """Names the labels of a folder."""
  hf_ = layout == 'hf'
  path = folder / ('config.json' if hf_ else 'model.json')
  record = json.loads(path.read_text())
  if hf_:
    record['id2label'] = {str(i): name for i, name in enumerate(names)}
  else:
    record['labels'] = list(names)
  path.write_text(json.dumps(record))


def turned(folder, layout):
  """Puts the rows of a head in another order, with their names."""
  import safetensors.numpy

  hf_ = layout == 'hf'
  path = folder / ('model.safetensors' if hf_ else 'params.safetensors')
  tensors = safetensors.numpy.load_file(path)
  rows = ('classifier.weight', 'classifier.bias') if hf_ else label_names.LEAVES
  for name in rows:
    value = tensors[name].take(ORDER, 0 if hf_ else -1)
    tensors[name] = np.ascontiguousarray(value)
  safetensors.numpy.save_file(tensors, path, {'format': 'pt'})
  labelled(folder, [NAMES[i] for i in ORDER], layout)


@pytest.mark.parametrize('layout', ['native', 'hf'])
def test_a_soup_of_turned_heads_is_that_of_straight_ones(tmp_path, layout):
  make = hf if layout == 'hf' else lambda f, s: native(f, s, outputs=3)
  paths = [make(tmp_path / name, i) for i, name in enumerate('ab')]
  for name in 'ab':
    labelled(tmp_path / name, NAMES, layout)

  def soup():
    group = sources.open_group(None, paths, exclude=())
    return stream.to_arrays(average.average(group.models))

  straight = soup()
  turned(tmp_path / 'b', layout)
  again = soup()
  assert straight.keys() == again.keys()
  for name, value in straight.items():
    np.testing.assert_array_equal(value, again[name], err_msg=name)
  labelled(tmp_path / 'b', ('x', 'y', 'z'), layout)
  with pytest.raises(ValueError, match=r"'x', 'y', 'z'.*--exclude"):
    soup()
  # Each model keeps its head: the names play no part.
  group = sources.open_group(None, paths)
  first, other = group.sources
  body = group.models[1]
  assert group.split and labels.matched(first, other, body, True)[0] is body
  assert group.notes == ()


def test_what_was_taken_by_position_stands_in_the_record(tmp_path):
  paths = [native(tmp_path / n, i, outputs=3) for i, n in enumerate('ab')]
  labelled(tmp_path / 'a', NAMES, 'native')
  labelled(tmp_path / 'b', ('LABEL_0', 'LABEL_1', 'LABEL_2'), 'native')
  group = sources.open_group(None, paths, exclude=())
  merge.write(tmp_path / 'out', group, average.average(group.models), {})
  record = json.loads((tmp_path / 'out' / merge.RECORD).read_text())
  (note,) = record['notes']
  assert 'placeholders, so taken by position' in note


def test_what_a_merged_head_cannot_suit_is_refused(tmp_path):
  paths = [native(tmp_path / n, i, outputs=3) for i, n in enumerate('ab')]
  labelled(tmp_path / 'a', NAMES, 'native')
  labelled(tmp_path / 'b', NAMES[::-1], 'native')
  with pytest.raises(ValueError, match='suits not both'):
    sources.open_group(None, paths, exclude=['encoder/embeddings/.*'])
  record = json.loads((tmp_path / 'b' / 'model.json').read_text())
  record['kind'] = 'token_classification'
  (tmp_path / 'b' / 'model.json').write_text(json.dumps(record))
  with pytest.raises(ValueError, match='a head of token_classification'):
    sources.open_group(None, paths, exclude=())
