"""Rows of one to three texts that learn from each other, without labels.

A line of the files is a row; tabs divide its texts: a sentence; or a sentence
and one like it; or both and one unlike them, as SimCSE (Gao et al. 2021, arXiv
2104.08821) takes premises, entailed and contradicting hypotheses. Every row has
as many texts as the first.
"""

import itertools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from glue_jax.data.cache import cached
from glue_jax.data.examples import Examples
from glue_jax.data.readers import texts
from glue_jax.data.readers.files import Log, lines_or_blank
from glue_jax.data.tokenizer import Tokenizer

KIND = 'sentences'
MOST = 3


def rows(
  files: Sequence[str | os.PathLike],
  tokenizer: Tokenizer,
  max_length: int = 32,
  *,
  cache_dir: str | os.PathLike | None = None,
) -> Examples:
  """Rows of all files.

  Args:
    files: text files or folders of them.
    max_length: tokens of a text, special tokens counted; longer ones are cut.
    cache_dir: as in features.tokenize.

  Returns:
    Examples of the kind 'sentences', whose batches are (B, C, L): C texts a
    row.

  Raises:
    ValueError: a row with an empty text, or with more or fewer texts than the
      first; names file and line.
  """
  paths = texts.find(files)
  key: list[Any] = ['sentence_rows', texts.digest(paths)]
  key += [tokenizer.fingerprint, max_length]
  return cached(lambda: _rows(paths, tokenizer, max_length), key, cache_dir)


def _rows(paths, tokenizer, max_length) -> Examples:
  found: list[list[str]] = []
  for path in paths:
    log = Log(path, droppable=False)
    for number, line in lines_or_blank(path, log):
      if line:
        found.append(_texts(line, number, log, found))
  if not found:
    raise ValueError(f'{", ".join(map(str, paths))}: no line with a text')
  encoded = tokenizer.encode(
    list(itertools.chain.from_iterable(found)), max_length=max_length
  )
  return Examples(
    kind=KIND,
    pad_id=tokenizer.pad_id,
    ids=encoded.ids,
    type_ids=encoded.type_ids.astype(np.int8),
    bounds=encoded.bounds,
    idx=np.arange(len(found), dtype=np.int32),
    num_choices=len(found[0]),
    truncated=encoded.truncated,
  )


def _texts(line, number, log, before) -> list[str]:
  parts = [part.strip() for part in line.split('\t')]
  wanted = len(before[0]) if before else None
  if not all(parts):
    log.bad(number, f'text {parts.index("") + 1} of {len(parts)} is empty')
  if len(parts) > MOST or wanted not in (None, len(parts)):
    expected = f'{wanted}, as in the first row' if wanted else f'1 to {MOST}'
    log.bad(number, f'{len(parts)} texts between tabs; expected {expected}')
  return parts
