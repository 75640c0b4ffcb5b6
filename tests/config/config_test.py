import pytest

from glue_jax.config import config
from tests.conftest import tiny_config


def consumer(given, *, lr: float, steps: int = 3):
  return given, lr, steps


def test_unknown_top_level_key_is_refused():
  with pytest.raises(ValueError, match=r"unknown config keys \['modle'\]"):
    config.complete({'modle': {}})


def test_a_key_that_nothing_reads_is_refused_with_its_place():
  with pytest.raises(ValueError, match=r"optimizer: nothing reads \['lrr'\]"):
    config.bind(consumer, {'lr': 1.0, 'lrr': 2.0}, 'optimizer', 'given')


def test_a_missing_key_is_named():
  with pytest.raises(ValueError, match=r"optimizer: \['lr'\] must be given"):
    config.bind(consumer, {}, 'optimizer', 'given')


def test_bind_returns_keyword_arguments():
  assert config.bind(consumer, {'lr': 1.0}, 'x', 'given') == {'lr': 1.0}


def test_unknown_part_lists_the_files():
  with pytest.raises(ValueError, match=r'methods/lroa.py; there are .*lora'):
    config.module('methods', 'lroa', 'methods')


def test_override_merges_sections_and_replaces_values():
  merged = config.override({'a': {'x': 1, 'y': 2}, 'b': [1]}, {'a': {'x': 3}})
  assert merged == {'a': {'x': 3, 'y': 2}, 'b': [1]}


def test_changes_lists_each_leaf():
  old, new = {'a': {'x': 1, 'y': 2}}, {'a': {'x': 1, 'y': 3}, 'b': 4}
  assert config.changes(old, new) == ['a.y: 2 -> 3', "b: '(absent)' -> 4"]
  assert config.changes(old, old) == []


def test_complete_configs_are_locked_and_survive_json():
  import json

  full = tiny_config()
  with pytest.raises(AttributeError):
    full.unknown = 1
  again = config.complete(json.loads(config.dumps(full)))
  assert config.changes(full, again) == []


def test_shortened_cuts_stages_as_well():
  stage = {'train': {'epochs': 3}, 'data': {'batch_size': 4}}
  short = config.shortened({'stages': (('one', stage),)}, 2, rows=5)
  cut = dict(
    epochs=None, minutes=None, steps=2, eval_every=None, save_every=None
  )
  assert short['train'] == cut and short['data'] == {'eval_limit': 5}
  assert short['stages'] == [
    ('one', {'train': cut, 'data': {'batch_size': 4, 'eval_limit': 5}})
  ]
