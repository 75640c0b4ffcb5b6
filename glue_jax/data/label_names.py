"""Label names of two models or files: the same, in another order, or others.

Whatever is joined row by row (a head and a task, the heads of two models, the
logits of teacher and student, the predictions of one task for another) is
joined by these names: the same place in two lists means nothing.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

# Kinds of tasks whose heads have a row for each label.
KINDS = ('classification', 'multilabel', 'token_classification')
# The leaves that hold them, on the last axis.
LEAVES = ('head/out/kernel', 'head/out/bias')


@dataclasses.dataclass(frozen=True)
class Match:
  """How the labels of one side stand on the other.

  Attributes:
    order: for each of our labels its place there.
    note: what was assumed where the other side names no labels; '' = nothing.
  """

  order: tuple[int, ...]
  note: str = ''

  @property
  def permuted(self) -> bool:
    """Whether the places differ."""
    return self.order != tuple(range(len(self.order)))


def match(
  ours: Sequence[str], theirs: Sequence[str] | None, what: str
) -> Match:
  """Decides by the names where each of our labels stands on the other side.

  Names that differ in case, blanks, '-' and '_' only are the same, where no two
  labels become one by that. A side with placeholders (`LABEL_0`, `0`) or no
  names at all is taken by position, with a note.

  Args:
    ours: label names in id order.
    theirs: the same of the other side; None = it doesn't say.
    what: the other side, for the message and the note.

  Raises:
    ValueError: the names are others.
  """
  here = tuple(range(len(ours)))
  if theirs is None:
    note = f'{what} names no labels; taken by position as {shown(ours)}'
    return Match(here, note)
  for form in (str, _plain):
    places = {form(name): i for i, name in enumerate(theirs)}
    keys = [form(name) for name in ours]
    if len(set(keys)) == len(keys) == len(theirs) and set(keys) == set(places):
      return Match(tuple(places[key] for key in keys))
  if len(theirs) == len(ours) and any(map(is_placeholder, (ours, theirs))):
    note = (
      f'{what} has the labels {shown(theirs)}, here are {shown(ours)}: '
      'placeholders, so taken by position'
    )
    return Match(here, note)
  raise ValueError(
    f'{what} has the labels {shown(theirs)}, here are {shown(ours)}'
  )


def check_ids(labels: Sequence[str], given: Any, where: str) -> None:
  """Holds a folder's `label2id` against its `id2label`.

  Args:
    labels: names of `id2label` in id order.
    given: `label2id`; None, or placeholders, say nothing.
    where: the file, for the message.

  Raises:
    ValueError: a name has another id there.
  """
  names = {str(i): name for i, name in enumerate(labels)}
  back = given if isinstance(given, Mapping) else {}
  if not back or is_placeholder([str(name) for name in back]):
    return
  if {str(i): str(name) for name, i in back.items()} != names:
    raise ValueError(
      f'{where}: id2label={names} and label2id={dict(back)} contradict each '
      'other; write into both what the rows of the head are'
    )


def is_placeholder(names: Sequence[str]) -> bool:
  """Whether names say no more than their place: LABEL_0, LABEL_1, or 0, 1."""
  return bool(names) and all(
    re.fullmatch(rf'((label|class)[ _-]?)?{i}', str(name).strip().lower())
    for i, name in enumerate(names)
  )


def _plain(name: str) -> str:
  return re.sub(r'[\s_-]+', '', str(name)).casefold()


def shown(names: Sequence[str], most: int = 8) -> str:
  """A list, cut where it is long."""
  more = f' and {len(names) - most} more' if len(names) > most else ''
  return f'{list(names[:most])}{more}'
