"""A way of merging, with its hyper-parameters."""

import dataclasses

from glue_jax.merging import dare

METHODS = ('average', 'task_arithmetic', 'ties', 'fisher', 'regmean')
NEED_BASE = ('task_arithmetic', 'ties')
NEED_DATA = ('fisher', 'regmean')


@dataclasses.dataclass(frozen=True)
class Settings:
  """A method and its hyper-parameters.

  Attributes:
    method: one of METHODS.
    scale: lambda of task arithmetic and TIES.
    mask_rate: share of the deltas that TIES trims.
    coefficients: of Fisher, one a model; None = 1/M each.
    normalize: Fisher: divide by the norm of each model's information.
    fisher: 'batch' (the official code's) or 'example' (the textbook's).
    alpha: RegMean: factor of the off-diagonal entries.
    examples: N, of Fisher and RegMean.
    drop: applied to every model before; None = not at all.
  """

  method: str
  scale: float = 1.0
  mask_rate: float = 0.8
  coefficients: tuple[float, ...] | None = None
  normalize: bool = True
  fisher: str = 'batch'
  alpha: float = 1.0
  examples: int = 256
  drop: dare.Drop | None = None

  def __post_init__(self):
    if self.method not in METHODS:
      raise ValueError(f'method {self.method!r}: expected one of {METHODS}')
