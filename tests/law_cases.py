"""A tiny run of one method whose steps are taken one by one."""

import copy

import jax
import numpy as np

from glue_jax.devices import sharding
from glue_jax.training.begin import begin

TOTAL = 4


def _logits(outputs):
  return outputs['logits' if 'logits' in outputs else 'pooled']


class Case:
  """A tiny run of a config; a program of each kind is compiled once."""

  def __init__(self, name, config):
    self.name = name
    self.run = begin(config, 0, total=TOTAL)
    self.parts = self.run.parts
    self._logits = {
      id(apply): jax.jit(lambda p, b, apply=apply: _logits(apply(p, b)))
      for apply in (self.parts.apply, self.parts.plain)
    }

  def start(self):
    return self.run.afresh().host.state

  def step(self, state, count=1, batch=None):
    with sharding.enter(self.parts.mesh):
      for _ in range(count):
        rows = batch or self.parts.bundle.train.batch(int(state.step))
        rows = sharding.put_batch(rows, self.parts.mesh)
        state, metrics = self.run.programs({}, state, rows, self.run.key)
    return state, metrics

  def trained(self, steps):
    """(parameters, [{metric: value}], logits) after steps with their hooks."""
    run, data = self.run.afresh(), self.parts.bundle.train
    run.host.train_data = copy.copy(data)
    run.host.train_data.epoch_of = lambda step: (step // 2, step // 2 * 2, 2)
    lines = []
    with sharding.enter(self.parts.mesh):
      for step in range(steps):
        run.prepare()
        lines.append(jax.device_get(run.step(data.batch(step))))
      rows = sharding.put_batch(data.batch(0), self.parts.mesh)
      params = run.host.state.all_params()
      logits = jax.device_get(self._logits[id(self.parts.apply)](params, rows))
      params = sharding.gather(params, self.parts.mesh)
    return params, lines, logits

  def logits(self, apply, params):
    batch = self.parts.bundle.train.batch(0)
    return np.asarray(self._logits[id(apply)](params, batch))
