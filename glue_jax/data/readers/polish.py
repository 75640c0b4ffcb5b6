"""Layouts in which some Polish data sets are packed."""

import pathlib
from collections.abc import Iterator

from glue_jax.data.readers.files import Log, Record, lines

# Marks that PolEval 2021 task 1 restores; an ellipsis counts as a full stop.
MARKS = '.,-:?!;'


def read_labelled_lines(
  path: pathlib.Path, log: Log, text: str, label: str
) -> Iterator[tuple[int, Record]]:
  """Lines of a label, a space, and a text (WCCRS and 8TAGS).

  Args:
    path: the file.
    log: where lines without a text are reported.
    text, label: keys of the records.
  """
  for number, line in lines(path, log):
    first, _, rest = line.partition(' ')
    if not rest.strip():
      log.bad(number, f'{line[:40]!r}: expected a label, a space and a text')
      continue
    yield number, {label: first, text: rest.strip()}


def read_punctuation(
  path: pathlib.Path, log: Log, tokens: str, label: str
) -> Iterator[tuple[int, Record]]:
  """Words and the mark that follows each, of PolEval 2021's two files.

  `in.tsv` has an id and the bare words, `expected.tsv` beside it the text with
  its marks, line by line. A word's tag is 'B-' and the first of MARKS between
  it and the next word, or O.

  Args:
    path: in.tsv or in.tsv.gz.
    log: where a line whose words are not in its text is reported.
    tokens, label: keys of the records; 'idx' holds the id.

  Raises:
    ValueError: the files have different numbers of lines.
    FileNotFoundError: there is no expected.tsv.
  """
  name = path.name.replace('in.', 'expected.', 1)
  bare = list(lines(path, log))
  marked = list(lines(path.with_name(name), log))
  if len(bare) != len(marked):
    raise ValueError(
      f'{path} has {len(bare)} lines, {name} has {len(marked)}; expected equal '
      'numbers'
    )
  for (number, line), (_, text) in zip(bare, marked):
    idx, _, words = line.partition('\t')
    sequence = words.split()
    tags = _marks_after(sequence, text)
    if tags is None:
      log.bad(number, f'{idx}: the words are not those of {name}')
      continue
    yield number, {'idx': idx, tokens: sequence, label: tags}


def _marks_after(words: list[str], text: str) -> list[str] | None:
  """A tag for each word; None where the text, in any case, has others."""
  spans, at, text = [], 0, text.lower()
  for word in map(str.lower, words):
    while at < len(text) and not text.startswith(word, at):
      if not (text[at].isspace() or text[at] in MARKS):
        return None
      at += 1
    if at == len(text):
      return None
    spans.append((at, at + len(word)))
    at += len(word)
  ends = [start for start, _ in spans[1:]] + [len(text)]
  gaps = [text[end:stop] for (_, end), stop in zip(spans, ends)]
  if gaps and gaps[-1].strip(f'{MARKS} '):
    return None
  marks = [next((c for c in gap if c in MARKS), '') for gap in gaps]
  return [f'B-{mark}' if mark else 'O' for mark in marks]
