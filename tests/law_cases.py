"""A tiny run of one method whose steps are taken one by one."""

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.devices import sharding
from glue_jax.method import Host
from glue_jax.training import build, session, train
from glue_jax.training.step import Programs, make_step

TOTAL = 4


class Case:
  """A tiny run of a config; a program of each kind is compiled once."""

  def __init__(self, name, config):
    self.name, self.config = name, config
    self.parts = build.build(self.config, 0, total_steps=lambda _: TOTAL)
    parts = self.parts
    self.key = jax.random.key(0)
    self.tx, _ = session.make_optimizer(config, parts)
    self.programs = Programs(
      lambda variant: make_step(
        parts.apply.replace(variant=variant),
        parts.objective,
        parts.method,
        self.tx,
      )
    )
    self._logits = {
      id(apply): jax.jit(lambda p, b, apply=apply: apply(p, b)['logits'])
      for apply in (parts.apply, parts.plain)
    }

  def start(self):
    with sharding.enter(self.parts.mesh):
      state = session.initial_state(self.parts, self.tx, self.key)
      # A step donates its state; what is shared with `parts` must outlive it.
      return jax.tree.map(jnp.copy, state)

  def step(self, state, count=1, batch=None):
    with sharding.enter(self.parts.mesh):
      for _ in range(count):
        rows = batch or self.parts.bundle.train.batch(int(state.step))
        rows = sharding.put_batch(rows, self.parts.mesh)
        state, metrics = self.programs({}, state, rows, self.key)
    return state, metrics

  def trained(self, steps):
    """(parameters, [{metric: value}], logits) after steps with their hooks."""
    data = self.parts.bundle.train
    host = Host(data, 2, TOTAL, self.start())
    lines = []
    with sharding.enter(self.parts.mesh):
      for host.step in range(steps):
        host.epoch = host.step // host.steps_per_epoch
        if host.step % host.steps_per_epoch == 0:
          train.run_hooks(self.parts, 'before_epoch', host)
        train.run_hooks(self.parts, 'before_step', host)
        host.state = session.relabel(self.parts, host, self.tx)
        rows = sharding.put_batch(data.batch(host.step), self.parts.mesh)
        host.state, metrics = self.programs(
          host.variant, host.state, rows, self.key
        )
        lines.append(jax.device_get(metrics))
      rows = sharding.put_batch(data.batch(0), self.parts.mesh)
      predict = self._logits[id(self.parts.apply)]
      logits = jax.device_get(predict(host.state.all_params(), rows))
      params = sharding.gather(host.state.all_params(), self.parts.mesh)
    return params, lines, logits

  def logits(self, apply, params):
    batch = self.parts.bundle.train.batch(0)
    return np.asarray(self._logits[id(apply)](params, batch))
