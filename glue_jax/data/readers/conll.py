"""One token a line: IOB files of the CoNLL kind.

Columns are separated by tabs, or by spaces in a file without tabs; a blank
line ends a sentence; lines that begin with -DOCSTART are no tokens.
"""

import pathlib
from collections.abc import Iterator

from glue_jax.data.readers import values
from glue_jax.data.readers.files import Log, Record, lines_or_blank

_DOCUMENT = '-DOCSTART'


def read_conll(
  path: pathlib.Path, log: Log, token: str = '0', label: str = '-1'
) -> Iterator[tuple[int, Record]]:
  """Sentences of a file.

  Args:
    path: the file.
    log: where a token line without the columns is reported.
    token, label: numbers of their columns from 0; '-1' is the last one.

  Yields:
    (line of the first token, {token: [...], label: [...]}).

  Raises:
    ValueError: no sentence, or `token` or `label` is no number.
  """
  columns = {name: _number(path, name) for name in (token, label)}
  needed = 1 + max(columns.values())
  start, words, whole, any_ = 0, [], True, False

  def sentence():
    fields = zip(*words)
    return start, dict(zip(columns, map(list, fields)))

  for number, text in lines_or_blank(path, log):
    if text.strip() and not text.startswith(_DOCUMENT):
      # A no-break space is part of a word.
      parts = text.split('\t') if '\t' in text else values.words(text)
      start = start or number
      if len(parts) < max(needed, 2):
        log.bad(
          number, f'{len(parts)} columns, expected {max(needed, 2)} or more'
        )
        whole = False  # a sentence with a hole is no sentence
      else:
        words.append([parts[place] for place in columns.values()])
      continue
    if words and whole:
      any_ = True
      yield sentence()
    start, words, whole = 0, [], True
  if words and whole:
    any_ = True
    yield sentence()
  if not any_:
    raise ValueError(f'{path}:1: no sentence; expected one token a line')


def _number(path: pathlib.Path, name: str) -> int:
  try:
    return int(name)
  except ValueError:
    raise ValueError(
      f'{path}: column {name!r} of a file with one token a line: expected a '
      'number from 0, or -1 for the last'
    ) from None


def read_nested_conll(
  path: pathlib.Path, log: Log, token: str = '0', label: str = '-1'
) -> Iterator[tuple[int, Record]]:
  """As `read_conll`; of nested labels joined by # the first, outer, is kept."""
  for number, record in read_conll(path, log, token, label):
    outer = [tag.split('#')[0] for tag in record[label]]
    yield number, record | {label: outer}
