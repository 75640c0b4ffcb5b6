"""A selection as a whole: what is asked for, where documents lie, the report.

Shared by the local path and the Beam pipeline.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax.data.selection import corpus_files, dsir
from glue_jax.data.selection import pieces as selection_pieces

DRAWS = ('weighted', 'top_k', 'random')


@dataclasses.dataclass(frozen=True)
class Run:
  """What is selected from what.

  Attributes:
    raw: files of the raw corpus, in the order of documents.
    targets: files of each target.
    k: documents to select.
    settings: features and filters of raw documents.
    laplace: added to every bucket of a target.
    shares: of k for each target; None: by the targets' numbers of n-grams.
    draw: 'weighted' by importance, 'top_k' takes the largest weights, 'random'
      draws valid documents without regard to them.
    seed: of the noise.
    fit_limit: n-grams that the raw distribution is fitted on, from the first
      document on; None: all.
    form: of the output, one of `pieces.FORMATS`.
    report: describe the selection beside a random one and top-k.
  """

  raw: tuple[corpus_files.CorpusFile, ...]
  targets: tuple[tuple[corpus_files.CorpusFile, ...], ...]
  k: int
  settings: selection_pieces.Settings = selection_pieces.Settings()
  laplace: float = 0.0
  shares: tuple[float, ...] | None = None
  draw: str = 'weighted'
  seed: int = 0
  fit_limit: int | None = None
  form: str = 'txt'
  report: bool = True

  def __post_init__(self):
    if self.k < 1:
      raise ValueError(f'k={self.k}; expected at least 1')
    if self.form not in selection_pieces.FORMATS:
      raise ValueError(
        f'format {self.form!r}; expected one of {selection_pieces.FORMATS}'
      )
    if self.draw not in DRAWS:
      raise ValueError(f'draw {self.draw!r}; expected one of {DRAWS}')
    if self.laplace < 0:
      raise ValueError(f'laplace={self.laplace}; expected 0 or more')
    if self.fit_limit is not None and self.fit_limit < 1:
      raise ValueError(f'fit on {self.fit_limit} n-grams; expected at least 1')
    if self.shares is not None:
      if len(self.shares) != len(self.targets):
        raise ValueError(
          f'{len(self.shares)} shares for {len(self.targets)} targets'
        )
      dsir.split_k(self.k, self.shares)

  @property
  def target_settings(self) -> selection_pieces.Settings:
    """Settings for target texts, which need no own ids."""
    documents = dataclasses.replace(self.settings.documents, id_key='')
    return dataclasses.replace(self.settings, documents=documents)


@dataclasses.dataclass(frozen=True)
class Place:
  """Where a piece's documents lie: id of the first, number of its line."""

  piece: corpus_files.Piece
  first: int
  line: int
  documents: int


class Plan:
  """Places of all pieces of the raw corpus, from the sums over them.

  Args:
    pieces: all pieces in order.
    totals: their sums, in the same order.
  """

  def __init__(
    self,
    pieces: Sequence[corpus_files.Piece],
    totals: Sequence[selection_pieces.Totals],
  ):
    self.totals = totals
    self.places, self.documents = [], 0
    lines: dict[str, int] = {}
    for piece, total in zip(pieces, totals):
      line = 1 + lines.get(piece.path, 0)
      count = total.documents
      self.places.append(Place(piece, self.documents, line, count))
      self.documents += count
      lines[piece.path] = line - 1 + total.lines

  def sum(self, name: str) -> int:
    """Sum of a number over all pieces: grams, valid, short, ..."""
    return sum(getattr(total, name) for total in self.totals)

  def grams_before(self) -> list[int]:
    """Number of n-grams before each piece."""
    grams = [total.grams for total in self.totals]
    return list(itertools.accumulate(grams, initial=0))[:-1]


@dataclasses.dataclass(frozen=True)
class Model:
  """The fitted distributions.

  Attributes:
    raw: (B,) q.
    targets, log_diff: (T, B) p, and log p - log q.
    shares: (T,) part of k for each target.
  """

  raw: np.ndarray
  targets: np.ndarray
  log_diff: np.ndarray
  shares: np.ndarray


def fit(run: Run, raw: np.ndarray, targets: np.ndarray) -> Model:
  """Fits the distributions.

  Args:
    run: smoothing and shares.
    raw: (B,) counts.
    targets: (T, B) counts.

  Raises:
    ValueError: a corpus without a token.
  """
  for counts, corpus in zip([raw, *targets], [run.raw, *run.targets]):
    if not counts.any():
      raise ValueError(
        f'{corpus[0].path}:1: the corpus ({len(corpus)} files) has not a '
        f'single token; expected text'
      )
  q = dsir.probabilities(raw)
  p = dsir.probabilities(targets, run.laplace)
  shares = targets.sum(1) if run.shares is None else np.array(run.shares)
  return Model(q, p, dsir.log_ratio(p, q), shares / shares.sum())


def check(run: Run, plan: Plan) -> None:
  """Raises ValueError unless k is below the number of valid documents."""
  valid, short = plan.sum('valid'), plan.sum('short')
  if run.k >= valid:
    poor = plan.documents - valid - short
    raise ValueError(
      f'{run.raw[0].path}:1: k={run.k} is not below the {valid} valid '
      f'documents; of {plan.documents} in {len(run.raw)} files {short} have '
      f'fewer than {run.settings.min_length} tokens and {poor} fail the '
      f'quality filter. Lower k or the least length, or give more text'
    )


def check_unchanged(
  run: Run,
  describe: Callable[[str], corpus_files.CorpusFile],
  opener: corpus_files.Opener = corpus_files.open_local,
) -> None:
  """Raises ValueError if a file isn't what it was when the run began."""
  for source in itertools.chain(run.raw, *run.targets):
    now = describe(source.path)
    if now != source:
      end = corpus_files.Piece(0, source.path, source.size, source.size)
      line = (
        corpus_files.line_number(end, 1, opener)
        if now.size > source.size
        else 1
      )
      what = f'has {now.size} bytes, it had {source.size},'
      if now.size == source.size:
        what = 'was written to'
      raise ValueError(
        f'{source.path}:{line}: the file {what} since it was first read; let '
        f'nothing write to it, and start again'
      )


@dataclasses.dataclass(frozen=True)
class GumbelNoise:
  """`dsir.gumbel` of a seed; a draw of its own for each `stream`."""

  seed: int
  stream: str = ''

  def __call__(self, target: int, ids: np.ndarray) -> np.ndarray:
    return dsir.gumbel(self.seed, f'{self.stream}{target}', ids)


@dataclasses.dataclass(frozen=True)
class Draw:
  """How a set of documents is drawn: `weighted` or all alike, counts, noise."""

  weighted: bool
  counts: Sequence[int]
  noise: dsir.Noise | None


def draws(run: Run, model: Model) -> dict[str, Draw]:
  """The selection and, for a report, what it is compared with."""
  counts = dsir.split_k(run.k, model.shares)
  ways = {
    'weighted': Draw(True, counts, GumbelNoise(run.seed)),
    'random': Draw(False, counts, GumbelNoise(run.seed, 'random')),
    'top_k': Draw(True, counts, None),
  }
  selected = ways.pop(run.draw)
  return {'selected': selected} | (ways if run.report else {})


def report(
  run: Run, plan: Plan, model: Model, vectors: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  """Figures of a selection, ready for JSON.

  Args:
    run, plan, model: the selection.
    vectors: figure vectors of the sets, see
      `selection_pieces.figure_vector`.

  Returns:
    Numbers of documents, and for each set its size, mean length, mean log
    weight (of the best target), KL(p || set) for each target, the KL reduction
    against all raw texts, and a histogram of lengths.
  """
  valid, short = plan.sum('valid'), plan.sum('short')
  record = {
    'k': run.k,
    'seed': run.seed,
    'draw': run.draw,
    'targets': [[source.path for source in t] for t in run.targets],
    'shares': model.shares.tolist(),
    'documents': plan.documents,
    'valid': valid,
    'too_short': short,
    'low_quality': plan.documents - valid - short,
    'ngrams': plan.sum('grams'),
    'retained': run.k / valid,
    'kl_raw': [dsir.kl_divergence(p, model.raw) for p in model.targets],
    'sets': {},
  }
  buckets, bins = run.settings.buckets, selection_pieces.LENGTH_BINS
  for name, vector in vectors.items():
    counts, lengths, sums = np.split(vector, [buckets, buckets + bins])
    documents, tokens, weight = sums
    q = dsir.probabilities(counts)
    record['sets'][name] = {
      'documents': int(documents),
      'tokens': int(tokens),
      'mean_tokens': tokens / documents,
      'mean_log_weight': weight / documents,
      'kl': [dsir.kl_divergence(p, q) for p in model.targets],
      'kl_reduction': dsir.kl_reduction(model.targets, model.raw, q),
      'lengths': lengths.astype(int).tolist(),
    }
  return record


def name_hash(name: str) -> int:
  """64 bits of the hash of a record's own id."""
  return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


def raise_duplicate(
  plan: Plan, settings: selection_pieces.Settings, hashes: set
) -> None:
  """Finds two records with one id among those with some hashes.

  Raises:
    ValueError: names both.
  """
  seen: dict[str, tuple[str, int]] = {}
  for place in plan.places:
    names = selection_pieces.names_of(place.piece, settings.documents)
    for name, nth in names:
      if name_hash(name) in hashes:
        here = place.piece.path, place.line + nth - 1
        if name in seen:
          raise ValueError(selection_pieces.duplicate(name, [seen[name], here]))
        seen[name] = here
