"""What a miniature found beside what it requires, and whether that suffices."""

import dataclasses
import operator

SIGNS = {'>=': operator.ge, '<=': operator.le, '>': operator.gt}


@dataclasses.dataclass(frozen=True)
class Bound:
  """A requirement.

  Attributes:
    name: of the figure.
    value: of it; not a number misses any bound.
    sign: '>=', '<=' or '>'.
    required: what it is held to.
  """

  name: str
  value: float
  sign: str
  required: float

  @property
  def met(self) -> bool:
    """Whether it is kept."""
    return bool(SIGNS[self.sign](self.value, self.required))

  def __str__(self) -> str:
    mark = 'ok' if self.met else 'MISSED'
    comparison = f'{self.value:.4g} {self.sign} {self.required:g}'
    return f'  required {self.name}: {comparison} {mark}'


def say(*bounds: Bound) -> bool:
  """Prints a line for each bound, and whether all are kept.

  Args:
    bounds: what the miniature requires; none of them misses.

  Returns:
    Whether all are kept, the miniature's answer.
  """
  for bound in bounds:
    print(bound)
  reached = bool(bounds) and all(bound.met for bound in bounds)
  print('required figures:', 'reached' if reached else 'MISSED')
  return reached
