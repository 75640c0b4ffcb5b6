"""Parameters that each method trains beside the head, by abstract shapes."""

import types

import jax
import pytest

from glue_jax import config, tree
from glue_jax.method import add_leaves
from glue_jax.models import model as models
from glue_jax.plugs import Apply

# Of BERT-base.
D, F = 768, 3072


def count(name, layers, **settings):
  """Trained leaves outside the head; nothing is allocated."""
  model = models.build(
    'bert', 'base', kind='classification', num_outputs=2, num_layers=layers
  )
  context = types.SimpleNamespace(model=model)
  made = config.module('methods', name, name).make(context, **settings)
  batch = models.example_batch(model)

  def start(rng):
    params = model.init(rng, batch)['params']
    return add_leaves(rng, params, Apply(model), [made], batch)[0]

  shapes = jax.eval_shape(start, jax.random.key(0))
  labels = tree.flatten(made.labels(shapes, {}))
  learns = lambda n: labels[n] == 'train' and not n.startswith('head/')
  return tree.size(tree.partition(shapes, learns)[0])


@pytest.mark.parametrize(
  'name,settings,expected',
  [
    ('bitfit', {}, 102_912),
    ('ia3', {}, 55_296),
    ('ia3', dict(form='library'), 64_512),
  ],
)
def test_bert_base(name, settings, expected):
  assert count(name, 12, **settings) == expected


@pytest.mark.parametrize(
  'name,settings,a_layer,once',
  [
    ('lora', dict(rank=8), 2 * 2 * 8 * D, 0),
    ('pfeiffer', {}, 2 * D * 48 + 48 + D, 0),
    ('parallel_adapter', {}, 2 * D * 384 + 384 + D, 0),
    # Its LayerNorms learn too.
    ('houlsby', dict(size=64), 2 * (2 * D * 64 + 64 + D) + 4 * D, 0),
    ('prefix', dict(length=20), 2 * 20 * D, 0),
    ('prefix', dict(length=20, hidden=32), 33 * 2 * D, 20 * D + D * 32 + 32),
    ('prompt', dict(length=20), 0, 20 * D),
  ],
)
def test_formulas(name, settings, a_layer, once):
  assert count(name, 2, **settings) == 2 * a_layer + once
