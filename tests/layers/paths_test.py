"""Patterns of places inside a model: which paths they mean, and which not."""

import re

import pytest

from glue_jax.layers import paths


@pytest.mark.parametrize(
  ('pattern', 'path', 'meant'),
  [
    (paths.BLOCK, 'decoder/layer_11', True),
    (paths.BLOCK, 'decoder/layer_1/ffn', False),
    (paths.of('ffn'), 'encoder/layer_0/ffn', True),
    (paths.of('ffn'), 'teacher/encoder/layer_0/ffn', False),
    (paths.of(f'{paths.ATTENTION}/key'), 'decoder/layer_2/cross/key', True),
    (paths.of('ffn', [1, 12]), 'decoder/layer_12/ffn', True),
    (paths.of('ffn', [1, 12]), 'decoder/layer_2/ffn', False),
    (paths.table('word'), 'decoder/embeddings/word', True),
  ],
)
def test_what_a_pattern_means(pattern, path, meant):
  assert bool(re.fullmatch(pattern, path)) == meant


def test_where_a_path_lies():
  place = paths.split('decoder/layer_3/mixer/query/kernel')
  assert place == ('decoder', 3, 'mixer/query/kernel')
  assert place.block == 'decoder/layer_3'
  assert paths.split('decoder/final_norm/scale') is None
  assert paths.in_stack('decoder/final_norm/scale')
  assert not paths.in_stack('head/out/kernel')
