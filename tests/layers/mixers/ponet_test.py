"""PoNet's mixer: segments, ablations, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.kernels.segment_pooling import segment_pooling
from glue_jax.layers.context import BatchContext
from glue_jax.layers.mixers import ponet
from glue_jax.layers.spec import EncoderConfig

CONFIG = EncoderConfig(
  hidden_size=8, num_heads=2, dropout=0.0, special_ids=(1, 2)
)
IDS = jnp.array([[1, 5, 6, 2, 7, 8, 2, 0], [1, 9, 2, 5, 2, 0, 0, 0]])
CONTEXT = BatchContext(IDS != 0, input_ids=IDS)


@functools.cache
def start():
  x = jax.random.normal(jax.random.key(0), (2, 8, 8))
  params = ponet.Mixer(CONFIG).init(jax.random.key(1), x, CONTEXT, False)
  return x, jax.tree.map(lambda leaf: 10 * leaf + 0.1, params)


def run(context=None, **options):
  x, params = start()
  mixer = ponet.Mixer(CONFIG, **options)
  return mixer.apply(params, x, context or CONTEXT, False)


def test_default_segments_are_the_runs_between_special_tokens():
  given = CONTEXT.replace(
    segment_ids=ponet.special_runs(IDS, (1, 2))[0] * 3 + 5
  )
  np.testing.assert_array_equal(run(), run(given))
  np.testing.assert_array_equal(run(), run(given, segments='batch'))
  other = CONTEXT.replace(segment_ids=jnp.zeros_like(IDS))
  assert np.abs(run() - run(other)).max() > 1e-3


def test_given_ids_may_come_back_on_a_tpu_too(monkeypatch):
  given = CONTEXT.replace(
    segment_ids=jnp.array([[0, 1, 0, 2, 0, 1, 3, -1], [0, 2, 1, 2, 4, 1, 1, 1]])
  )
  expected = run(given)
  pooling = functools.partial(segment_pooling.segment_pooling, interpret=True)
  monkeypatch.setattr(segment_pooling, 'segment_pooling', pooling)
  ours = run(given, implementation='tpu')
  np.testing.assert_allclose(ours, expected, atol=1e-5)
  together = given.replace(segment_ids=jnp.cumsum(IDS != 5, axis=1))
  assert np.abs(run(together) - expected).max() > 1e-3


def test_every_option_changes_the_result():
  full = run()
  for options in (
    dict(hide_special=False),
    dict(global_pooling=False),
    dict(segment_pooling=False),
    dict(local_pooling=False),
    dict(segments='equal', segment_number=3),
  ):
    assert np.abs(run(**options) - full).max() > 1e-3, options


def test_ablated_projections_have_no_parameters():
  x, _ = start()
  mixer = ponet.Mixer(CONFIG, global_pooling=False, segment_pooling=False)
  names = mixer.init(jax.random.key(0), x, CONTEXT, False)['params'].keys()
  assert names == {'gate', 'local', 'attn_out'}


@pytest.mark.parametrize(
  'options,message',
  [
    (dict(segments='words'), "segments='words'; expected one of"),
    (dict(segments='batch'), "segments='batch': the batch has no segment_ids"),
    (dict(segments='equal'), 'segment_number=0: .* needs at least 1'),
    (dict(implementation='cuda'), "implementation='cuda'; expected one of"),
  ],
)
def test_errors_say_what_to_do(options, message):
  with pytest.raises(ValueError, match=message):
    run(**options)


def test_heads_must_divide_the_width():
  mixer = ponet.Mixer(EncoderConfig(hidden_size=8, num_heads=3))
  with pytest.raises(ValueError, match='num_heads=3 does not divide'):
    mixer.init(jax.random.key(0), start()[0], CONTEXT, False)
