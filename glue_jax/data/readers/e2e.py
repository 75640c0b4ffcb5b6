"""The tokenized layout of the E2E set's rows (Wiseman et al. 2018).

Of harvardnlp/neural-template-gen, arXiv 1808.10122: a file has a text a line,
its tokens apart, then `<eos>` and where its fields stand; another one beside
it, with src_ before its name, the fields, `__start_area__ riverside
__end_area__`. Both are given back as the set's own CSV files have them.
"""

import pathlib
import re
from collections.abc import Iterator

from glue_jax.data.readers.files import Log, Record, lines

_END = ' <eos>'
_FIELD = re.compile(r'__start_(\w+?)__ (.*?) __end_\1__')
# What stands apart from its neighbour only because tokens do.
_APART = (
  (re.compile(r" ([.,;:!?]|'(?:s|t|re|ll|ve|m|d)\b)"), r'\1'),
  (re.compile('£ (?=[0-9])'), '£'),
  (re.compile(r'(?<=\w) - (?=\w)'), '-'),
)


def read_aligned(
  path: pathlib.Path, log: Log, source: str, text: str
) -> Iterator[tuple[int, Record]]:
  """Meaning representations and texts.

  Args:
    path: the texts, train.txt or train.txt.gz.
    log: where a line without fields, or without an end, is reported.
    source, text: keys of the records.

  Raises:
    ValueError: the files have different numbers of lines.
    FileNotFoundError: there is no file of the fields beside it.
  """
  texts = list(lines(path, log))
  fields = list(lines(path.with_name(f'src_{path.name}'), log))
  if len(texts) != len(fields):
    raise ValueError(
      f'{path} has {len(texts)} lines, src_{path.name} has {len(fields)}; '
      'expected equal numbers'
    )
  for (number, line), (_, given) in zip(texts, fields):
    written, end, _ = line.partition(_END)
    found = _FIELD.findall(given)
    if not end or not found:
      log.bad(number, f'{line[:40]!r}: expected a text, {_END.strip()}, fields')
      continue
    parts = (
      f'{"customer rating" if name == "customerrating" else name}[{value}]'
      for name, value in found
    )
    yield number, {source: joined(', '.join(parts)), text: joined(written)}


def joined(text: str) -> str:
  """Returns a text without the blanks that stand between its tokens."""
  for apart, together in _APART:
    text = apart.sub(together, text)
  return text
