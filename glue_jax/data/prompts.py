"""Rows as prompts, targets as texts, and answers back to classes.

An answer is read from its text, never from token positions: what is written
before `Prompt.closing` must name exactly one of the words. The parser is plain
Python over strings, for the host.
"""

import re
import string
from collections.abc import Mapping
from typing import Any

from glue_jax.data.tasks.task import Prompt, Task

UNREADABLE = -1


def read(section: Mapping[str, Any], labels: tuple[str, ...]) -> Prompt | None:
  """Returns the prompt of a task file, None where it has none; see `fault`.

  Args:
    section: its keys `prompt`, `words` and `closing` are read.
    labels: names of the classes: the words where the file has none.
  """
  if not {'prompt', 'words', 'closing'} & section.keys():
    return None
  words = section.get('words', labels)
  words = words if isinstance(words, (list, tuple)) else (words,)
  closing = str(section.get('closing', ''))
  return Prompt(str(section.get('prompt', '')), tuple(map(str, words)), closing)


def fields(template: str) -> tuple[str, ...]:
  """Returns the columns that a template names.

  Raises:
    ValueError: it isn't one.
  """
  try:
    parts = list(string.Formatter().parse(template))
  except ValueError as error:
    raise ValueError(
      f'prompt={template!r}: {error}; write {{column}}, and {{{{ or }}}} for a '
      'brace'
    ) from None
  return tuple(name for _, name, _, _ in parts if name is not None)


def fault(task: Task) -> str | None:
  """Returns why a task's prompt doesn't fit it, None where it does."""
  prompt = task.prompt
  if prompt is None:
    if task.kind == 'generation' and len(task.columns) > 1:
      return (
        f'columns={task.columns} are joined by a prompt; give one, as in '
        f"prompt='{{{task.columns[0]}}} {{{task.columns[1]}}}'"
      )
    return None
  if task.kind not in ('classification', 'generation') or task.candidates:
    return (
      f'prompt={prompt.template!r} serves classification and generation, the '
      f'task is {task.kind}'
    )
  try:
    named = fields(prompt.template)
  except ValueError as error:
    return str(error)
  unknown = sorted(set(named) - set(task.columns))
  if unknown or not named:
    found = f'names {unknown}' if unknown else 'names no column'
    return (
      f'prompt={prompt.template!r} {found}; expected some of '
      f'{", ".join(f"{{{name}}}" for name in task.columns)}'
    )
  if task.kind == 'generation':
    return f'words={prompt.words} are for classes' if prompt.words else None
  words = [word.strip().lower() for word in prompt.words]
  if len(words) != len(task.labels) or len(set(words)) != len(words):
    return (
      f'words={prompt.words} must be one for each label, all different (upper '
      f'and lower case are the same): {task.labels}'
    )
  return None if all(words) else f'words={prompt.words} has an empty one'


def filled(task: Task, row: Mapping[str, Any]) -> str:
  """Returns what a model is asked for a row; without a prompt, its text."""
  if task.prompt is None:
    return row[task.columns[0]]
  return task.prompt.template.format_map(
    {name: row[name] for name in task.columns}
  )


def target(task: Task, row: Mapping[str, Any]) -> str:
  """Returns what a model shall write for a labelled row.

  After a prompt that doesn't end in a blank it begins with one.
  """
  if task.prompt is None:
    return row['label']
  text = row['label']
  if task.kind == 'classification':
    text = task.prompt.words[text]
  blank = '' if task.prompt.template[-1].isspace() else ' '
  return blank + text + task.prompt.closing


def answer(prompt: Prompt | None, text: str) -> str | None:
  """Returns a written text up to the closing; None where that is missing."""
  if prompt is None or not prompt.closing:
    return text.strip()
  before, found, _ = text.partition(prompt.closing.strip() or prompt.closing)
  return before.strip() if found else None


def parse(prompt: Prompt, text: str) -> int:
  """Returns the class that a written text names, else UNREADABLE.

  Exactly one of the words must stand in the answer, as whole words, in upper or
  lower case; of words that contain others the longer one counts.

  Args:
    prompt: with the words.
    text: what was written, without the prompt.
  """
  said = answer(prompt, text)
  if said is None:
    return UNREADABLE
  ids = {word.strip().lower(): i for i, word in enumerate(prompt.words)}
  every = '|'.join(map(re.escape, sorted(ids, key=len, reverse=True)))
  found = set(re.findall(rf'(?<!\w)(?:{every})(?!\w)', said.lower()))
  return ids[found.pop()] if len(found) == 1 else UNREADABLE
