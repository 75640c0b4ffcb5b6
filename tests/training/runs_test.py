"""What a config says of earlier stages, as folders."""

import json

import pytest

from glue_jax.config import config as config_lib
from glue_jax.training import runs
from tests.conftest import tiny_config


def test_a_stage_stands_for_its_model_and_for_those_of_all_seeds(tmp_path):
  for seed in (0, 1, 2):
    (tmp_path / 'many' / f'seed_{seed}').mkdir(parents=True)
  # The last one is of an earlier config.
  (tmp_path / 'many/done.json').write_text(json.dumps({'seeds': [1, 0]}))
  (tmp_path / 'one').mkdir()
  given = {
    'weights': 'stage:many',
    'from': ['a', 'stage:many/*', 'stage:one/*'],
  }
  found = runs._resolve(given, tmp_path, 1)
  assert found == {
    'weights': str(tmp_path / 'many/seed_1/model'),
    'from': [
      'a',
      str(tmp_path / 'many/seed_1/model'),
      str(tmp_path / 'many/seed_0/model'),
      str(tmp_path / 'one/model'),
    ],
  }
  with pytest.raises(ValueError, match="'stage:one/\\*' .*expected in a list"):
    runs._resolve({'weights': 'stage:one/*'}, tmp_path, 1)


def test_all_seeds_are_those_of_an_earlier_stage(tmp_path):
  source = dict(sources=['stage:b/*'])
  stages = (('a', dict(methods=(('scalearn', source),))), ('b', {}))
  config = config_lib.complete(tiny_config(stages=stages))
  with pytest.raises(
    ValueError, match=r"'stage:b/\*'; earlier stages are \[\]"
  ):
    runs.run(config, tmp_path)
