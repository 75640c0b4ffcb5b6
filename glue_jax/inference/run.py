"""A finished run as evaluation, prediction and export receive it."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from glue_jax.devices import sharding
from glue_jax.evaluation.decisions import Decisions
from glue_jax.method import Host
from glue_jax.training import session
from glue_jax.training.parts import Parts


@dataclasses.dataclass
class Run:
  """A run's parts with the parameters of one checkpoint.

  Attributes:
    config, task, tokenizer, bundle: as in training, but without training data.
    model: the plain module.
    params: its tree after the method's export (merged), on the host.
    predict_fn: batch -> outputs; what `evaluate` and `predict` take.
    step: of the checkpoint.
    parts: everything else.
    host: holds the state, before export, and its variant.
    begun: the config as it was at the start: `config` may have other weights.
    rank: that was chosen by `at_rank`; None = that of the training.
    workdir: folder of this one run; None for a bundle, which has none.
    decisions: thresholds and temperature that its predictions use; None = the
      likeliest class, labels above a half.
  """

  config: Any
  task: Any
  tokenizer: Any
  bundle: Any
  model: Any
  params: Any
  predict_fn: Callable
  step: int
  parts: Parts
  host: Host
  begun: Any
  rank: int | None = None
  workdir: pathlib.Path | None = None
  decisions: Decisions | None = None

  @classmethod
  def of(cls, parts: Parts, host: Host, **fields: Any) -> 'Run':
    """Returns the run of built parts and a restored state.

    Args:
      parts: as `begin` builds them.
      host: with the state, its variant and its step.
      **fields: config, begun and, where there is one, workdir.
    """
    with sharding.enter(parts.mesh):
      return cls(
        task=parts.bundle.task,
        tokenizer=parts.bundle.tokenizer,
        bundle=parts.bundle,
        model=parts.plain.model,
        params=session.exported(parts, host.state),
        predict_fn=session.predict_fn(parts, host.state, host.variant),
        step=host.step,
        parts=parts,
        host=host,
        **fields,
      )

  def at_rank(self, rank: int) -> 'Run':
    """Returns the run with its low-rank update cut to a smaller rank.

    Raises:
      ValueError: see `session.truncated`.
    """
    with sharding.enter(self.parts.mesh):
      state = session.truncated(self.parts, self.host.state, rank)
      return dataclasses.replace(
        self,
        host=dataclasses.replace(self.host, state=state),
        params=session.exported(self.parts, state),
        predict_fn=session.predict_fn(self.parts, state, self.host.variant),
        rank=rank,
        decisions=None,  # they were tuned for the whole rank
      )
