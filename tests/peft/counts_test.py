"""Parameters that each method trains beside the head, by abstract shapes."""

import types

import jax
import pytest

from glue_jax import tree
from glue_jax.config import config
from glue_jax.models import model as models
from glue_jax.plugs import Apply
from glue_jax.training.compose import add_leaves

RECORDED = [
  (name, settings, formula)
  for name, facts in config.facts('methods').items()
  for settings, formula in facts.sizes
]


def count(name, layers, settings):
  """Trained leaves of BERT-base outside the head; nothing is allocated."""
  needs = config.facts('methods')[name].needs.get('model', {})
  model = models.build(
    'bert', 'base', kind='classification', num_outputs=2, num_layers=layers,
    **needs,
  )  # fmt: skip
  context = types.SimpleNamespace(model=model, total_steps=10)
  made = config.module('methods', name, name).make(context, **settings)
  batch = models.example_batch(model)

  def start(rng):
    params = model.init(rng, batch)['params']
    return add_leaves(rng, params, Apply(model), [made], batch)[0]

  shapes = jax.eval_shape(start, jax.random.key(0))
  learns = made.learns(tree.flatten(shapes), {})
  added = {n for n in learns if not n.startswith('head/')}
  return tree.size(tree.partition(shapes, added.__contains__)[0])


@pytest.mark.parametrize('name,settings,formula', RECORDED)
def test_what_learns_is_what_the_record_says(name, settings, formula):
  encoder = models.build('bert', 'base', num_layers=2).config
  assert count(name, 2, settings) == formula(encoder)


@pytest.mark.parametrize(
  'name,settings,published',
  [
    ('bitfit', {}, 102_912),
    ('ia3', {}, 55_296),
    ('ia3', dict(form='library'), 64_512),
  ],
)
def test_published_counts_of_bert_base(name, settings, published):
  assert count(name, 12, settings) == published
