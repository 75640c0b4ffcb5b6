"""SiFT on the tasks and families that the laws don't meet."""

import types

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.methods import sift
from glue_jax.training import begin, gradients, schema
from tests import quick
from tests.conftest import tiny_config

SCORES = """
name: scores
dataset: csv:{folder}
columns: {{text: text}}
kind: regression
"""
SMALL = dict(num_layers=1, dropout=0.0, attention_dropout=0.0)


def built(model, task='mini_acceptability', **sift):
  config = tiny_config(
    task=dict(name=task),
    data=dict(batch_size=4, train_limit=8, eval_limit=4),
    model=SMALL | model,
    methods=[['sift', dict(sigma=0.1, eps=0.1) | sift]],
  )
  return begin.build(schema.bind(config, 4), 0)


def slopes(parts, accumulate=1, weight=None):
  """What the gradient of a batch is made of, as `gradients` gives it."""
  method, key = parts.method, jax.random.key(0)
  rows = dict(parts.bundle.train.batch(0))
  if weight is not None:
    rows['weight'] = weight
  loss = method.wrap_loss(parts.objective.loss)

  def of(params):
    batch = method.prepare(parts.apply, params, rows, key)
    return gradients.gradients(
      lambda *given: (*loss(parts.apply, *given), {}),
      params, batch, key, accumulate, (), {},
    )  # fmt: skip

  return of


def test_micro_batches_give_the_gradient_of_the_large_batch():
  parts = built({})
  weight = np.float32([1, 1, 1, 0])
  whole, joined = (
    quick.jit(slopes(parts, n, weight))(parts.params) for n in (1, 2)
  )
  for name in ('loss', 'adversarial'):
    for a, b in zip(whole.metrics[name], joined.metrics[name]):
      np.testing.assert_allclose(a, b, rtol=1e-5)
  whole, joined = (tree.flatten(x.of['loss']) for x in (whole, joined))
  for name, value in whole.items():
    np.testing.assert_allclose(joined[name], value, atol=1e-5, err_msg=name)


def test_a_regression_is_pulled_towards_its_own_scores(tmp_path):
  for split in ('train', 'validation'):
    lines = [f'{"good " * i}film,{i / 4}' for i in range(8)]
    (tmp_path / f'{split}.csv').write_text('\n'.join(['text,label', *lines]))
  task = tmp_path / 'task.yaml'
  task.write_text(SCORES.format(folder=tmp_path))
  parts, plain = (built({}, str(task), weight=w) for w in (5.0, 0.0))
  found, without = (quick.jit(slopes(p))(p.params) for p in (parts, plain))
  total, count = found.metrics['adversarial']
  assert total > 0 and count == 4
  np.testing.assert_array_equal(
    found.metrics['loss'][0], without.metrics['loss'][0]
  )
  a, b = (x.of['loss']['head']['out']['kernel'] for x in (found, without))
  assert np.abs(a - b).max() > 1e-6


@pytest.mark.parametrize(
  'model',
  [
    dict(name='deberta_v2'),
    dict(name='electra', embedding_size=8),
    dict(name='modernbert', num_layers=3),
    dict(name='fnet'),
    dict(name='ponet'),
    dict(name='hydra'),
  ],
  ids=lambda model: model['name'],
)
def test_it_sits_on_every_kind_of_encoder(model):
  parts = built(model)
  found = jax.eval_shape(slopes(parts), parts.params)
  assert found.of['loss'].keys() == parts.params.keys()


@pytest.mark.parametrize(
  ('model', 'words'),
  [
    (dict(name='t5', head_dim=4, max_positions=0), 'no layer encoder/embed'),
    (dict(name='gpt2'), 'no layer encoder/embeddings/ln'),
  ],
)
def test_families_without_that_norm_are_refused(model, words):
  with pytest.raises(ValueError, match=f'sift: the model has {words}'):
    built(model | dict(num_heads=4))


def test_tasks_without_sentence_logits_are_refused():
  task = types.SimpleNamespace(kind='span', form='span', name='squad')
  with pytest.raises(ValueError, match='sift needs .*, squad is span'):
    sift.make(types.SimpleNamespace(task=task))
