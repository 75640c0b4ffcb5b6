"""What the kept predictions do to the targets, and where they are kept."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.devices import sharding
from glue_jax.methods import self_calibration
from glue_jax.training import train
from tests.conftest import tiny_config
from tests.law_cases import Case
from tests.training.frozen_test import stopped_at


def small(**settings):
  return tiny_config(
    model=dict(num_layers=1, dropout=0.0, attention_dropout=0.0),
    data=dict(train_limit=32),
    train=dict(epochs=3, save_every=1, keep=6, log_every=1),
    methods=[['self_calibration', settings]],
  )


def test_targets_are_mixed_with_what_was_predicted_an_epoch_before():
  run = Case('self_calibration', small(beta=0.4)).run.afresh()
  data, host = run.parts.bundle.train, run.host
  with sharding.enter(run.parts.mesh):
    for _ in range(2):
      run.prepare()
      assert self_calibration.KEPT not in host.memory
      run.step(data.batch(host.step))
    run.prepare()
    said = host.predict('train').probabilities
    rows = run.parts.method.collect(host, data.batch(2))
  # Four steps are two epochs, of which this is the last.
  np.testing.assert_allclose(rows['own_share'], 0.4)
  np.testing.assert_allclose(
    rows['own_prediction'], said[rows['idx']], rtol=1e-6
  )

  logits = jnp.asarray(np.random.default_rng(0).normal(size=(16, 2)))
  loss = run.parts.method.wrap_loss(
    lambda apply, params, batch, rng: (
      apply(params, batch)['logits'].sum() * 0 + 2.0, {}
    )
  )  # fmt: skip
  total, _ = loss(lambda *_: {'logits': logits}, {}, rows, None)
  soft = -(rows['own_prediction'] * jax.nn.log_softmax(logits)).sum(-1).mean()
  assert float(total) == pytest.approx(0.6 * 2 + 0.4 * float(soft), rel=1e-5)


def test_it_goes_on_in_the_middle_of_an_epoch(tmp_path):
  config = small()
  train.train(config, tmp_path / 'whole', 0)
  train.train(config, stopped_at(3, tmp_path / 'whole', tmp_path / 'half'), 0)
  whole, half = (
    [json.loads(x) for x in (tmp_path / n / 'metrics.jsonl').open()]
    for n in ('whole', 'half')
  )
  assert whole == half and 'train/self_calibration' in whole[-1] | whole[-2]
