"""Fields of a recipe that follow another one, and what sets them."""

import copy

import ml_collections
import pytest

from configs import own_task
from glue_jax.config import config, dependent


@pytest.fixture
def recipe():
  source = ml_collections.FieldReference('')
  rate = dependent.field(source, lambda x: 3e-5 if x else 1e-3, float)
  name = dependent.field(source, lambda x: None if x else 'bert', str)
  return ml_collections.ConfigDict(
    dict(model=dict(weights=source, name=name), optimizer=dict(lr=rate))
  )


def test_a_field_follows_until_it_is_set(recipe):
  plain = config.plain(recipe)
  assert plain == {
    'model': {'weights': '', 'name': 'bert'}, 'optimizer': {'lr': 1e-3},
  }  # fmt: skip
  own = copy.deepcopy(recipe)
  recipe.model.weights = 'acme/tiny'
  assert config.plain(recipe) == {
    'model': {'weights': 'acme/tiny', 'name': None}, 'optimizer': {'lr': 3e-5},
  }  # fmt: skip
  assert config.plain(own) == plain  # a copy follows its own field
  recipe.optimizer.lr = 1.0
  recipe.model.weights = ''
  assert recipe.optimizer.lr == 1.0 and recipe.model.name == 'bert'


def test_a_field_has_its_type(recipe):
  assert recipe.get_type('optimizer') is ml_collections.ConfigDict
  assert recipe.optimizer.get_type('lr') is float
  with pytest.raises(TypeError):
    recipe.optimizer.lr = 'much'


def test_own_data_needs_one_flag_for_weights(monkeypatch):
  monkeypatch.delenv('GLUE_JAX_WEIGHTS', raising=False)
  mine = own_task.get_config('rte')
  assert (mine.model.preset, mine.train.epochs) == ('tiny', 30)
  mine.model.weights = 'acme/tiny'
  full = config.complete(mine)
  assert full.model.to_dict() == {
    'weights': 'acme/tiny', 'name': None, 'preset': None,
  }  # fmt: skip
  assert (full.optimizer.lr, full.train.epochs) == (3e-5, 3)
  assert full.data.tokenizer == ''
