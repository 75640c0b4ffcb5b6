"""What reads another model, or is an optimizer, on a decoder: the same keys."""

import dataclasses
import importlib
import types

import numpy as np
import pytest

from glue_jax import tree
from glue_jax.config import config
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Prompt
from glue_jax.probes import input_norms, neuron_importance
from glue_jax.training import begin, schema, train
from glue_jax.weights import saved_model
from tests.conftest import tiny_config
from tests.methods.families_test import MODELS

EXPERTS = dict(size=12, inside=False, gate_options=dict(gamma=1.0))


def small(name, **changes):
  base = dict(
    model=MODELS[name], data=dict(train_limit=16, batch_size=8),
    train=dict(epochs=1),
  )  # fmt: skip
  return tiny_config(**config.override(base, changes))


def params(settings):
  return tree.flatten(begin.build(schema.bind(settings, 4), 0).params)


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
  """A finished GPT-2 with the importance of its neurons."""
  folder = tmp_path_factory.mktemp('teacher')
  train.train(small('gpt2'), folder, 0)
  scores, _ = neuron_importance.of_run(folder, 'validation', limit=5)
  np.savez(folder / 'importance.npz', **scores)
  return folder


def distilled(teacher, **changes):
  arguments = dict(teacher=str(teacher))
  return small('gpt2', methods=[['distillation', arguments]], **changes)


def experts(teacher, name='gpt2', **changes):
  """MoEBERT's config."""
  arguments = dict(
    teacher=str(teacher), importance=f'{teacher}/importance.npz', shared=8
  )
  ours = dict(ffn='experts', options=dict(experts=EXPERTS | changes))
  return small(name, model=ours, methods=[['moebert', arguments]])


def test_half_of_the_weights_go_by_their_norms(tmp_path):
  norms, _ = input_norms.of_config(small('llama'), examples=8)
  np.savez(tmp_path / 'norms.npz', **norms)
  arguments = dict(norms=str(tmp_path / 'norms.npz'))
  pruned = params(small('llama', methods=[['wanda', arguments]]))
  inside = [n for n in pruned if '/layer_' in n and n.endswith('/kernel')]
  assert {name.removesuffix('/kernel') for name in inside} == norms.keys()
  for name in inside:
    assert (pruned[name] == 0).mean() == 0.5, name


def test_a_student_learns_from_a_decoder(teacher, tmp_path):
  train.train(distilled(teacher), tmp_path, 0)
  assert 'train/distillation' in (tmp_path / 'metrics.jsonl').read_text()


def test_experts_of_a_decoder_are_pruned_dense_layers(teacher, tmp_path):
  dense = tree.flatten(saved_model.load(teacher)[1])
  with np.load(teacher / 'importance.npz') as file:
    best = np.argsort(-file['layer_0'], kind='stable')[:8]
  ours = params(experts(teacher))
  layer = 'decoder/layer_0/ffn'
  for expert in np.asarray(ours[f'{layer}/experts_in/kernel']):
    np.testing.assert_array_equal(
      expert[:, :8], dense[f'{layer}/ffn_in/kernel'][:, best]
    )
  result = train.train(experts(teacher), tmp_path, 0)
  assert 0 <= result['primary']['value'] <= 1


def test_what_experts_do_not_go_with_is_refused(teacher, tmp_path):
  with pytest.raises(ValueError, match=r"options\['experts'\] inside=False"):
    params(experts(teacher, inside=True))
  parts = begin.build(schema.bind(small('bart'), 4), 0)
  saved_model.save(tmp_path, parts.plain.model, parts.params)
  np.savez(tmp_path / 'importance.npz', layer_0=np.arange(32.0))
  with pytest.raises(ValueError, match='an encoder-decoder has two'):
    params(experts(tmp_path, 'bart'))


def test_gradients_of_a_decoder_are_projected(tmp_path):
  optimizer = dict(name='natural_galore', args=dict(rank=2))
  train.train(small('llama', optimizer=optimizer), tmp_path, 0)
  params = tree.flatten(saved_model.load(tmp_path)[1])
  assert all(np.isfinite(x).all() for x in params.values())


@pytest.mark.parametrize(
  'name, settings',
  [
    ('bootstrapping', {}),
    ('distillation', dict(teacher='t')),
    ('moebert', dict(teacher='t', importance='i')),
    ('prompt_transfer', dict(teacher='t')),
    ('self_calibration', {}),
    ('sift', {}),
  ],
)
def test_losses_of_classes_are_refused_where_a_word_is_written(name, settings):
  asked = Prompt('{sentence1}', ('no', 'yes'))
  task = dataclasses.replace(by_name.get('rte'), prompt=asked)
  make = importlib.import_module(f'glue_jax.methods.{name}').make
  with pytest.raises(ValueError, match='rte is generation'):
    make(types.SimpleNamespace(task=task), **settings)
