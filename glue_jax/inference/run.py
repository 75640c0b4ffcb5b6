"""A finished run as evaluation, prediction and export receive it."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.evaluation.decisions import Decisions
from glue_jax.method import Host
from glue_jax.models import model as models
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
    variant: that was chosen by `at`; {} = that of the training.
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
  variant: Mapping[str, Any] = dataclasses.field(default_factory=dict)
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

  def at(self, **variant: Any) -> 'Run':
    """Returns the run as a variant of it, without another training.

    Args:
      **variant: rank = what low-rank updates are cut to; others are keys of the
        methods' `variants`, whose `shape` says which network it is.

    Raises:
      ValueError: a key that no method has, or a value that it doesn't take.
    """
    parts, state = self.parts, self.host.state
    shaped = {key: value for key, value in variant.items() if key != 'rank'}
    known = parts.method.variants
    unknown = sorted(shaped.keys() - set(known))
    if unknown:
      raise ValueError(
        f'a run with {parts.method.name} has no variants by {unknown}; it has '
        f'those by {list(known)}'
      )
    host = dataclasses.replace(self.host, variant=self.host.variant | shaped)
    with sharding.enter(parts.mesh):
      if 'rank' in variant:
        state = session.truncated(parts, state, variant['rank'])
      host.state = state
      model, params = parts.plain.model, session.exported(parts, state)
      if shaped:
        config = parts.apply.replace(variant=host.variant).model.config
        model = model.clone(config=config)
        gone = parts.names - models.shapes(model).keys()
        params = tree.partition(params, lambda name: name not in gone)[0]
      return dataclasses.replace(
        self,
        host=host,
        model=model,
        params=params,
        predict_fn=session.predict_fn(parts, state, host.variant),
        variant=variant,
        decisions=None,  # they were tuned for the whole
      )


def label(variant: Mapping[str, Any]) -> str:
  """Returns what a table calls a variant: 'rank 2', 'depth 1, ...'."""
  return ', '.join(f'{key} {value}' for key, value in variant.items())
