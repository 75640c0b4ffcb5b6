"""What data selection does with one piece of a corpus.

The local path and the Beam pipeline call the same functions, each piece on
whatever worker, as often as it takes: a result depends on nothing but its
arguments.
"""

import dataclasses
import functools
import gzip
import io
import json
from collections.abc import Iterator, Sequence

import numpy as np

from glue_jax.data.selection import corpus_files, dsir, filters

FORMATS = ('txt', 'jsonl', 'txt.gz', 'jsonl.gz')
LENGTH_BINS = 32  # upper edges: 2, 2 sqrt 2, 4, ... tokens
COLUMNS = 'id\tfile\tline\tchunk\ttarget\tlog_weight\n'


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is counted, and which documents may be selected.

  Attributes:
    documents: how lines become documents.
    n: longest n-gram.
    buckets: B.
    min_length: least tokens of a raw document that may be selected.
    quality: whether it must also pass the paper's quality filter.
  """

  documents: corpus_files.Documents = corpus_files.Documents()
  n: int = 2
  buckets: int = 10000
  min_length: int = 100
  quality: bool = False

  def hasher(self) -> dsir.Hasher:
    """The process's table of n-grams for these settings."""
    return _hasher(self.n, self.buckets)


@functools.lru_cache(1)
def _hasher(n: int, buckets: int) -> dsir.Hasher:
  return dsir.Hasher(n, buckets)


@dataclasses.dataclass
class Scan:
  """Features of a batch of documents.

  Attributes:
    batch: the texts and lines.
    ids, sizes: see `dsir.Hasher`.
    valid: (D,) bool, whether a document may be selected.
  """

  batch: corpus_files.Batch
  ids: np.ndarray
  sizes: np.ndarray
  valid: np.ndarray


@dataclasses.dataclass
class Totals:
  """Sums over one piece.

  Attributes:
    piece: its index.
    lines, documents, grams, valid: how many there are.
    short: documents that are too short; the others that are not valid fail
      the quality filter.
    counts: (B,) n-grams in each bucket, int64.
  """

  piece: int
  lines: int
  documents: int
  grams: int
  valid: int
  short: int
  counts: np.ndarray


def without_counts(totals: Totals) -> Totals:
  """The numbers alone: counts of all pieces of a corpus would be large."""
  return dataclasses.replace(totals, counts=np.zeros(0, np.int64))


def scan(
  piece: corpus_files.Piece,
  settings: Settings,
  opener: corpus_files.Opener = corpus_files.open_local,
) -> Iterator[Scan]:
  """Yields the features of a piece's documents, batch after batch.

  Raises:
    ValueError: see `corpus_files.batches`.
  """
  hasher = settings.hasher()
  for batch in corpus_files.batches(piece, settings.documents, opener):
    ids, sizes = hasher(batch.texts)
    valid = dsir.token_counts(sizes, settings.n) >= settings.min_length
    if settings.quality:
      for i in np.flatnonzero(valid):
        valid[i] = filters.good(batch.texts[i])
    yield Scan(batch, ids, sizes, valid)


class Adder:
  """Adds up scans to the totals of their piece."""

  def __init__(self, piece: corpus_files.Piece, settings: Settings):
    self._settings = settings
    self.totals = Totals(
      piece.index, 0, 0, 0, 0, 0, np.zeros(settings.buckets, np.int64)
    )

  def __call__(self, part: Scan) -> None:
    totals, n = self.totals, self._settings.n
    totals.lines += len(part.batch.lines)
    totals.documents += len(part.sizes)
    totals.grams += len(part.ids)
    totals.valid += int(part.valid.sum())
    lengths = dsir.token_counts(part.sizes, n)
    totals.short += int((lengths < self._settings.min_length).sum())
    totals.counts += dsir.bucket_counts(part.ids, self._settings.buckets)


def total(
  piece: corpus_files.Piece,
  settings: Settings,
  opener: corpus_files.Opener = corpus_files.open_local,
) -> Totals:
  """Returns the sums over a piece."""
  add = Adder(piece, settings)
  for part in scan(piece, settings, opener):
    add(part)
  return add.totals


def fitted_counts(
  piece: corpus_files.Piece,
  settings: Settings,
  totals: Totals,
  before: int,
  limit: int | None,
  opener: corpus_files.Opener = corpus_files.open_local,
) -> np.ndarray:
  """The part of a piece's counts that the raw distribution is fitted on.

  Documents are read in order until their n-grams exceed the limit, so the
  result doesn't depend on how the corpus is cut.

  Args:
    piece, settings: as in `scan`.
    totals: of the piece.
    before: n-grams in all pieces before it.
    limit: n-grams to fit on; None: all.
    opener: as in `scan`.

  Returns:
    (B,) int64.
  """
  if limit is None or before + totals.grams <= limit:
    return totals.counts
  counts = np.zeros(settings.buckets, np.int64)
  for part in scan(piece, settings, opener):
    if before > limit:
      break
    starts = before + np.cumsum(part.sizes) - part.sizes
    read = int(part.sizes[starts <= limit].sum())
    counts += dsir.bucket_counts(part.ids[:read], settings.buckets)
    before += len(part.ids)
  return counts


def figure_vector(
  features: tuple[np.ndarray, np.ndarray],
  weights: np.ndarray,
  members: np.ndarray,
  settings: Settings,
) -> np.ndarray:
  """Sums that describe a set of documents; vectors of parts may be added.

  Args:
    features: (ids, sizes) of D documents.
    weights: (D,) their log weights.
    members: (D,) bool, which are in the set.
    settings: the features' settings.

  Returns:
    (B + LENGTH_BINS + 3,) float64: bucket counts, histogram of lengths,
    documents, tokens, sum of log weights.
  """
  ids, sizes = features
  kept = ids[np.repeat(members, sizes)]
  lengths = dsir.token_counts(sizes[members], settings.n)
  bins = np.ceil(2 * np.log2(np.maximum(lengths, 1))).astype(np.int64)
  histogram = np.bincount(
    np.minimum(bins, LENGTH_BINS - 1), minlength=LENGTH_BINS
  )
  sums = [members.sum(), lengths.sum(), weights[members].sum()]
  counts = dsir.bucket_counts(kept, settings.buckets)
  return np.concatenate([counts, histogram, sums])


@dataclasses.dataclass
class Chosen:
  """A piece with what was decided about its documents.

  Attributes:
    piece: the piece.
    first: id of its first document.
    line: number in its file of its first line, from 1.
    taken: (D,) 0 where a document is not taken, else 1 + the target's number.
    weights: (D, T) log weights.
    checks: (L,) CRC-32 of the lines when they were weighed, uint32.
  """

  piece: corpus_files.Piece
  first: int
  line: int
  taken: np.ndarray
  weights: np.ndarray
  checks: np.ndarray


def write(
  chosen: Chosen,
  documents: corpus_files.Documents,
  form: str,
  texts: io.BufferedIOBase,
  table: io.BufferedIOBase,
  opener: corpus_files.Opener = corpus_files.open_local,
) -> None:
  """Reads a piece again and writes its selected documents in order.

  Args:
    chosen: the piece and the decisions.
    documents: how lines become documents.
    form: one of FORMATS. A JSONL record is copied as it is, unless it was cut.
      A text on one line has spaces for its line ends.
    texts: file for the documents.
    table: file for a row (see COLUMNS) of each.
    opener: as in `scan`.

  Raises:
    ValueError: a line isn't the one that was weighed.
  """
  piece, at, number = chosen.piece, 0, chosen.line
  path = piece.path.encode()
  # Without a time and a name, the same documents give the same bytes.
  out = gzip.GzipFile('', 'wb', 6, texts, 0) if '.gz' in form else texts
  for batch in corpus_files.batches(piece, documents, opener):
    _check(chosen, batch, number)
    spread = np.array(batch.spread)
    line_of = np.repeat(np.arange(len(spread)), spread)
    starts = np.cumsum(spread) - spread
    taken = chosen.taken[at : at + len(batch.texts)]
    for i in np.flatnonzero(taken):
      line, target = line_of[i], taken[i] - 1
      out.write(_record(batch, i, line, form, piece.jsonl))
      row = (chosen.first + at + i, path, number + line, i - starts[line])
      weight = float(chosen.weights[at + i, target])
      table.write(b'%d\t%s\t%d\t%d\t%d\t%r\n' % (*row, target, weight))
    at += len(batch.texts)
    number += len(batch.lines)
  if number - chosen.line < len(chosen.checks):
    raise ValueError(changed(piece.path, number, 'is no longer there'))
  if out is not texts:
    out.close()


def _record(batch, i: int, line: int, form: str, jsonl: bool) -> bytes:
  text = batch.texts[i]
  if form.startswith('txt'):
    return text.replace('\r', ' ').replace('\n', ' ').encode() + b'\n'
  if jsonl and batch.spread[line] == 1:
    return batch.lines[line] + b'\n'
  return json.dumps({'text': text}, ensure_ascii=False).encode() + b'\n'


def _check(chosen: Chosen, batch: corpus_files.Batch, number: int) -> None:
  start = number - chosen.line
  expected = chosen.checks[start : start + len(batch.checks)]
  checks = np.array(batch.checks, np.uint32)
  differ = np.flatnonzero(checks[: len(expected)] != expected)
  path = chosen.piece.path
  if len(differ):
    raise ValueError(changed(path, number + int(differ[0]), 'is another one'))
  if len(checks) > len(expected):
    raise ValueError(changed(path, number + len(expected), 'was added'))


def changed(path: str, line: int, what: str) -> str:
  """Message about a file that isn't what it was."""
  return (
    f'{path}:{line}: the line {what} since it was first read; let nothing '
    f'write to the file, and start again'
  )


def part_names(piece: int, pieces: int, form: str) -> tuple[str, str]:
  """Names of the files of a piece's documents and of their table."""
  part = f'{piece:05d}-of-{pieces:05d}'
  return f'selected-{part}.{form}', f'documents-{part}.tsv'


def names_of(
  piece: corpus_files.Piece,
  documents: corpus_files.Documents,
  opener: corpus_files.Opener = corpus_files.open_local,
) -> Iterator[tuple[str, int]]:
  """Yields (own id, nth line of the piece from 1) of each record."""
  nth = 0
  for batch in corpus_files.batches(piece, documents, opener):
    for name in batch.names:
      nth += 1
      yield name, nth


def duplicate(name: str, places: Sequence[tuple[str, int]]) -> str:
  """Message about an id that two records have; places are (file, line)."""
  (one, first), (other, second) = sorted(places)[:2]
  return (
    f'{other}:{second}: the id {name!r} is also that of {one}:{first}; ids '
    f'must be unique'
  )
