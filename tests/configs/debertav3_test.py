"""DeBERTaV3's sizes as published, and what its recipes ask for."""

import math

import pytest

from configs.finetune import debertav3 as tuning
from configs.pretrain import debertav3
from glue_jax.models import model as models
from glue_jax.objectives import rtd_shared

# Millions of a discriminator's parameters beside the table of words.
BACKBONE = {'xsmall': 22, 'small': 44, 'base': 86, 'large': 304}


@pytest.mark.parametrize('form', [*debertav3.PAPER])
def test_sizes_are_the_published_ones(form):
  config = debertav3.get_config(f'mnli,{form}' if form else 'mnli')
  stages = dict(config.stages)
  preset = stages['pretrain']['model']['preset']
  model = models.build('deberta_v2', preset, kind='replaced_tokens')
  shapes = models.shapes(model)
  words = shapes.pop('encoder/embeddings/word/embedding').shape
  assert words[0] == (251_000 if form == 'mdeberta' else 128_100)
  backbone = sum(math.prod(x.shape) for x in shapes.values())
  # Theirs has a table of positions, which nothing reads.
  backbone += model.config.max_positions * model.config.hidden_size
  published = BACKBONE.get(form or 'large', 86)
  assert backbone / 1e6 == pytest.approx(published, rel=0.01)
  generator = rtd_shared.generator_config(model.config)
  assert generator.num_layers * 2 == model.config.num_layers
  assert generator.hidden_size == model.config.hidden_size


def test_each_size_is_tuned_as_its_script_has_it():
  large = tuning.get_config('rte')
  assert (large.train.epochs, large.optimizer.warmup) == (6, 50)
  assert (large.optimizer.lr, large.data.batch_size) == (1e-5, 32)
  assert (large.model.head_dropout, large.data.max_length) == (0.3, 320)
  sift = tuning.get_config('mnli,xsmall_sift')
  assert (sift.train.epochs, sift.optimizer.lr) == (10, 5e-5)
  assert sift.methods[0][1]['weight'] == 3
  with pytest.raises(ValueError, match="no task 'rte'"):
    tuning.get_config('rte,small')


def test_released_weights_come_from_the_environment(monkeypatch):
  monkeypatch.setenv('GLUE_JAX_WEIGHTS', 'microsoft/deberta-v3-base')
  pretrain = debertav3.get_config('mnli,continued').stages[0][1]
  assert pretrain['model']['weights'] == 'microsoft/deberta-v3-base'
  assert 'preset' not in pretrain['model']


def test_the_compared_arms_differ_in_the_objective_alone():
  arms = {
    arm: debertav3.get_config(f'rte,{arm}').to_dict()['stages']
    for arm in debertav3.COMPARED
  }
  first, second = arms.values()
  assert first[1:] == second[1:]
  one, two = first[0][1], second[0][1]
  same = ('task', 'data', 'optimizer', 'seeds')
  assert all(one[name] == two[name] for name in same)
  sizes = [
    {k: v for k, v in stage['model'].items() if k not in ('head', 'stack')}
    for stage in (one, two)
  ]
  assert sizes[0] == sizes[1]
