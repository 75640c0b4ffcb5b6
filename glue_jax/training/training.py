"""A run that is being trained: its state, and how it takes a step."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from glue_jax.devices import sharding
from glue_jax.evaluation.selection import Criterion
from glue_jax.method import Hook, Host
from glue_jax.training import learning
from glue_jax.training.parts import Parts
from glue_jax.training.step import Programs


@dataclasses.dataclass
class Training:
  """A run that is being trained.

  Attributes:
    parts: all that its config names.
    tx: the optimizer, wrapped by the methods.
    rates: {name in the log: step -> learning rate}.
    key: of the run, typed; each step folds its number in.
    programs: the compiled steps.
    hooks: the methods' and the run's own, in order.
    host: state, step and all else that changes; what hooks see.
    new_host: () -> the same of the run before its first step, with a state
      of its own.
    best: what the best checkpoint is chosen by; None of a run that is opened
      without its training data.
  """

  parts: Parts
  tx: Any
  rates: Mapping[str, Callable[[int], Any]]
  key: jax.Array
  programs: Programs
  hooks: tuple[Hook, ...]
  host: Host
  new_host: Callable[[], Host]
  best: Criterion | None = None

  def call(self, moment: str) -> None:
    """Calls every hook of that moment ('before_epoch', ...)."""
    for hook in self.hooks:
      if getattr(hook, moment):
        getattr(hook, moment)(self.host)

  def prepare(self) -> None:
    """Makes ready for the next step: its hooks, then what learns in it."""
    host = self.host
    host.epoch, first, _ = host.train_data.epoch_of(host.step)
    if host.step == first:
      self.call('before_epoch')
    self.call('before_step')
    host.state = learning.relabel(
      host, self.parts.method, self.tx, self.parts.rules, self.parts.mesh
    )

  def step(self, rows: Mapping[str, Any]) -> dict[str, Any]:
    """Takes the next step; returns its metrics, still on the device.

    Args:
      rows: this process's rows of the batch.
    """
    host, batch = self.host, self._collected(rows)
    host.state, metrics = self.programs(
      host.variant, host.state, batch, self.key
    )
    host.step += 1
    return metrics

  def _collected(self, rows: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The next step's batch, with what methods collect for it."""
    collect = self.parts.method.collect
    batch = collect(self.host, rows) if collect else rows
    return sharding.put_batch(batch, self.parts.mesh)

  def end(self) -> int:
    """Returns the step that ends the run, as its epochs' lengths are now."""
    host = self.host
    schedule = self.parts.sections.train
    return schedule.end(host.total_steps, host.train_data.first_step)

  def traced(self, rows: Mapping[str, Any]) -> jax.stages.Traced:
    """Returns the program of the next step; nothing is compiled or run.

    Args:
      rows: this process's rows of the batch.
    """
    host, batch = self.host, self._collected(rows)
    return self.programs.traced(host.variant, host.state, batch, self.key)

  def afresh(self, step: int = 0) -> 'Training':
    """Returns the run as it begins, with a state of its own.

    The programs are shared. Steps use up their state, so take none of the run
    itself if it shall begin several times.

    Args:
      step: finished steps, for what depends on their number alone.
    """
    host = self.new_host()
    host.step = step
    if host.train_data is not None:
      host.epoch, _, _ = host.train_data.epoch_of(step)
    return dataclasses.replace(self, host=host)
