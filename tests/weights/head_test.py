"""Heads of folders and teachers get the order of the task's labels."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.data import label_names
from glue_jax.data.tasks import by_name
from glue_jax.devices import sharding
from glue_jax.training import begin, build_params, schema
from glue_jax.weights import head, saved_model, source
from tests import hf_folders
from tests.conftest import tiny_config

LABELS = ('entailment', 'neutral', 'contradiction')
THERE = ('contradiction', 'entailment', 'neutral')
MNLI = by_name.get('mnli')
REGRESSION = dict(kind='regression', labels=(), metrics=('pearson',))


@pytest.fixture(scope='module', params=['bert', 'roberta'])
def folder(request, tmp_path_factory):
  """A folder of the library whose labels stand in another order."""
  names = dict(enumerate(THERE))
  model = hf_folders.theirs(
    request.param, id2label=names, label2id={n: i for i, n in names.items()}
  )
  home = tmp_path_factory.mktemp(request.param)
  return hf_folders.save(model, home)


def rows(folder):
  """{label: its row}, as the file has them."""
  tensors = hf_folders.read(folder)
  name = next(n for n in tensors if n.endswith(('classifier.weight', 'out_proj.weight')))  # fmt: skip # noqa: E501
  return dict(zip(THERE, tensors[name]))


def changed(folder, tmp_path, **values):
  """A copy with other values in its config.json."""
  copy = shutil.copytree(folder, tmp_path / 'copy')
  if 'id2label' in values and 'label2id' not in values:
    back = {name: int(i) for i, name in values['id2label'].items()}
    values['label2id'] = back
  path = copy / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | values))
  return copy


def matched(network, params, module):
  found = source.read_head(network.weights)
  return build_params.head_by_name(network, params, found, module.kind, MNLI)


def test_each_output_has_the_weights_of_its_label(folder):
  module, params, _ = hf_folders.load(folder)
  network = SimpleNamespace(weights=str(folder), fresh=())
  found, note = matched(network, params, module)
  assert not note
  kernel = tree.flatten(found)['head/out/kernel']
  for i, label in enumerate(LABELS):
    np.testing.assert_array_equal(kernel[:, i], rows(folder)[label])


def test_other_labels_are_refused_unless_the_head_is_fresh(folder, tmp_path):
  copy = changed(
    folder, tmp_path, id2label={'0': 'anger', '1': 'joy', '2': 'fear'}
  )
  module, params, _ = hf_folders.load(copy)
  network = SimpleNamespace(weights=str(copy), fresh=())
  with pytest.raises(ValueError, match=r"'anger', 'joy'.*model.fresh"):
    matched(network, params, module)
  network.fresh = ('head/.*',)
  same, note = matched(network, params, module)
  assert same is params and not note


@pytest.mark.parametrize('kind', head.PRETRAINING)
def test_a_head_of_pretraining_has_nothing_for_a_task(kind):
  leaves = ('encoder/x/kernel', 'head/dense/kernel', 'head/out/kernel')
  params = tree.unflatten({name: np.ones((2, 3)) for name in leaves})
  found = head.Head('the folder', kind, None)

  def taken(wanted, fresh=()):
    network = SimpleNamespace(weights='', fresh=fresh)
    kept, note = build_params.head_by_name(network, params, found, wanted, MNLI)
    return list(tree.flatten(kept)), note

  names, note = taken('classification')
  assert names == ['encoder/x/kernel']
  assert f'is one of {kind}: that of classification starts afresh' in note
  assert taken('classification', ('head/.*',)) == (names, '')
  assert taken(kind) == (list(leaves), '')


def test_names_that_contradict_each_other_are_refused(folder, tmp_path):
  turned = {name: i for i, name in enumerate(reversed(THERE))}
  copy = changed(folder, tmp_path, label2id=turned)
  with pytest.raises(ValueError) as error:
    source.read_head(str(copy))
  assert "id2label={'0': 'contradiction'" in str(error.value)
  assert "label2id={'neutral': 0" in str(error.value)


def test_placeholders_are_taken_by_position_with_a_note(folder, tmp_path):
  names = {str(i): f'LABEL_{i}' for i in range(3)}
  copy = changed(folder, tmp_path, id2label=names)
  module, params, _ = hf_folders.load(copy)
  same, note = head.by_name(
    params, source.read_head(str(copy)), module.kind, LABELS
  )
  assert 'by position' in note
  for name, value in tree.flatten(same).items():
    np.testing.assert_array_equal(value, tree.flatten(params)[name])


def test_a_teacher_of_the_library_is_loaded_by_name(folder):
  apply, params, _ = source.load_model(str(folder), MNLI, {'a': 1})
  kernel = tree.flatten(params)['head/out/kernel']
  assert apply.model.num_outputs == 3
  for i, label in enumerate(LABELS):
    np.testing.assert_array_equal(kernel[:, i], rows(folder)[label])


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
  """(folder of a saved model of two classes, its tokens)."""
  home = tmp_path_factory.mktemp('teacher')
  parts = begin.build(schema.bind(tiny_config(), 1), 5)
  params = sharding.gather(parts.params, parts.mesh)
  labels = parts.bundle.task.labels
  saved_model.save(home, parts.plain.model, params, labels=labels)
  parts.bundle.tokenizer.save(home)
  return home, parts.bundle.tokenizer.vocab


def test_a_teacher_with_swapped_labels_gives_the_same_rows(teacher):
  home, tokens = teacher
  task = by_name.make('mini_acceptability')
  swapped = by_name.make(
    'mini_acceptability', labels=('acceptable', 'unacceptable')
  )
  straight, turned = (
    tree.flatten(source.load_model(str(home), t, tokens)[1])
    for t in (task, swapped)
  )
  for name in straight:
    order = [1, 0] if name in label_names.LEAVES else slice(None)
    np.testing.assert_array_equal(
      np.asarray(straight[name])[..., order], turned[name]
    )


@pytest.mark.parametrize(
  'task, tokens, message',
  [
    (dict(labels=('a', 'b')), {}, r"'acceptable'\], here are \['a', 'b'\]"),
    (dict(labels=('a', 'b', 'c')), {}, '2 outputs; mini_acceptability needs'),
    (REGRESSION, {}, 'needs regression with 1'),
    ({}, {'cat': 1, 'dog': 2}, 'another vocabulary: token'),
  ],
)
def test_a_teacher_that_does_not_fit_is_refused(teacher, task, tokens, message):
  home, vocab = teacher
  with pytest.raises(ValueError, match=message):
    made = by_name.make('mini_acceptability', **task)
    source.load_model(str(home), made, tokens or vocab)


def test_another_vocabulary_of_the_same_size_is_refused(teacher, tmp_path):
  home, tokens = teacher
  ids = dict(tokens)
  a, b = sorted(ids, key=ids.get)[-2:]
  ids[a], ids[b] = ids[b], ids[a]
  methods = (('distillation', dict(teacher=str(home))),)
  begin.build(schema.bind(tiny_config(methods=methods), 1), 0)
  with pytest.raises(ValueError, match=f"vocabulary: token '({a}|{b})'"):
    source.check_vocabulary(str(home), ids)
  # Without its files the hash of the record decides.
  copy = shutil.copytree(home, tmp_path / 'copy')
  (copy / 'tokenizer.json').unlink()
  (copy / 'vocab.txt').unlink()
  record = json.loads((copy / 'model.json').read_text())
  record['vocabulary_sha256'] = 'abc'
  (copy / 'model.json').write_text(json.dumps(record))
  with pytest.raises(ValueError, match='the hash differs'):
    source.check_vocabulary(str(copy), tokens)


def test_a_run_that_starts_from_a_swapped_head_predicts_the_same(teacher):
  """The whole way: a config whose labels stand in another order."""
  home, _ = teacher

  def built(**task):
    config = config_lib.override(
      tiny_config(data=dict(tokenizer=str(home))), {'task': task}
    )
    config['model'] = {'weights': str(home)}
    return begin.build(schema.bind(config, 1), 0)

  straight = built()
  turned = built(labels=['acceptable', 'unacceptable'])
  ours, theirs = (
    tree.flatten(p.params)['head/out/kernel'] for p in (straight, turned)
  )
  np.testing.assert_array_equal(np.asarray(ours)[:, ::-1], theirs)
  assert straight.bundle.task.labels != turned.bundle.task.labels
  with pytest.raises(ValueError, match='model.fresh'):
    built(labels=['bad', 'good'])
