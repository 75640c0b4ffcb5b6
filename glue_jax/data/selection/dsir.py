"""Data selection by importance resampling on hashed n-grams (DSIR).

Xie, Santurkar, Ma and Liang, "Data Selection for Language Models via
Importance Resampling", NeurIPS 2023, arXiv 2302.03169; the definitions are
those of the authors' package `data-selection`.

A document z is the bag of its n-grams, hashed into B buckets. Raw and target
texts are multinomials q and p over the buckets. A document has the log weight
log p(z) - log q(z), and k documents are drawn without replacement in
proportion to the weight: those with the largest log weight + Gumbel noise.

Everything here is numpy and the standard library, and a result depends on
nothing but (texts, settings, seed): counts are integers, a document's weight
is summed in the order of its n-grams, and its noise is a function of
(seed, target, document id). So shards, blocks, retries and runners don't show.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

EPSILON = 1e-8  # inside the logarithms, for buckets that a side never has
DIGITS = 4  # a key of 64 bits is searched 16 bits at a time
RADIX = 1 << 16

# Word characters, or a run of what is neither word nor space (WordPunct).
_TOKENS = re.compile(r'\w+|[^\w\s]+')
_CACHED = 1 << 19  # n-grams; about 100 MB
_BLOCK = 1 << 18  # documents at a time
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

# (target's number, ids of documents) -> noise of each.
Noise = Callable[[int, np.ndarray], np.ndarray]


def tokens(text: str) -> list[str]:
  """Lower-case WordPunct tokens: "Don't!?" gives don ' t !?."""
  return _TOKENS.findall(text.lower())


def ngrams(words: Sequence[str], n: int) -> list[str]:
  """All 1-grams, then all 2-grams, up to n-grams, joined by a space."""
  grams = list(words)
  for i in range(2, n + 1):
    grams += map(' '.join, zip(*(words[j:] for j in range(i))))
  return grams


def bucket(gram: str, buckets: int) -> int:
  """SHA-256 of the n-gram's UTF-8 bytes as a number, modulo `buckets`."""
  digest = hashlib.sha256(gram.encode()).digest()
  return int.from_bytes(digest) % buckets


class Hasher(dict):
  """{n-gram: bucket}, filled on demand and emptied when it is full.

  A dict, so that looking up a known n-gram runs no Python code.

  Args:
    n: longest n-gram.
    buckets: B.
    limit: most n-grams that are kept.

  Raises:
    ValueError: n or buckets below 1.
  """

  def __init__(self, n: int = 2, buckets: int = 10000, limit: int = _CACHED):
    super().__init__()
    if n < 1 or buckets < 1:
      raise ValueError(f'n={n}, buckets={buckets}; both must be at least 1')
    self.n, self.buckets, self.limit = n, buckets, limit

  def __missing__(self, gram: str) -> int:
    if len(self) >= self.limit:
      self.clear()
    self[gram] = feature = bucket(gram, self.buckets)
    return feature

  def __call__(self, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the documents' features.

    Args:
      texts: D documents.

    Returns:
      (ids, sizes): buckets of all n-grams, document after document, int32;
      (D,) number of n-grams of each document, int64.
    """
    ids, sizes = [], []
    lookup, n = self.__getitem__, self.n
    for text in texts:
      grams = ngrams(tokens(text), n)
      sizes.append(len(grams))
      ids += map(lookup, grams)
    return np.array(ids, np.int32), np.array(sizes, np.int64)


def token_counts(sizes: np.ndarray, n: int) -> np.ndarray:
  """Lengths in tokens of documents with `sizes` n-grams up to length n.

  floor((size + n (n - 1) / 2) / n): exact from n - 1 tokens on.
  """
  return (sizes + n * (n - 1) // 2) // n


def bucket_counts(ids: np.ndarray, buckets: int) -> np.ndarray:
  """(B,) how often each bucket occurs, int64."""
  return np.bincount(ids, minlength=buckets)


def probabilities(counts: np.ndarray, laplace: float = 0.0) -> np.ndarray:
  """(..., B) counts + laplace, normalised over the last axis.

  Raises:
    ValueError: laplace below 0, or nothing was counted.
  """
  if laplace < 0:
    raise ValueError(f'laplace={laplace}; expected 0 or more')
  smoothed = np.asarray(counts, np.float64) + laplace
  totals = smoothed.sum(-1, keepdims=True)
  if np.any(totals <= 0):
    raise ValueError('a corpus without a single token; expected text')
  return smoothed / totals


def log_ratio(target: np.ndarray, raw: np.ndarray) -> np.ndarray:
  """log(p + 1e-8) - log(q + 1e-8), the shape of `target`: (B,) or (T, B)."""
  return np.log(target + EPSILON) - np.log(raw + EPSILON)


def log_weights(
  ids: np.ndarray, sizes: np.ndarray, log_diff: np.ndarray
) -> np.ndarray:
  """Log importance weights: the sum of `log_diff` over a document's n-grams.

  It is a sum, not a mean: cut documents to equal length first.

  Args:
    ids, sizes: features of D documents, see `Hasher`.
    log_diff: (T, B).

  Returns:
    (D, T) float64.
  """
  document = np.repeat(np.arange(len(sizes)), sizes)
  # bincount adds one after the other, so a document's sum does not depend on
  # its neighbours; pairwise or blocked sums could differ in the last bit.
  columns = [np.bincount(document, row[ids], len(sizes)) for row in log_diff]
  return np.stack(columns, 1)


def gumbel(seed: int, target: int | str, ids: np.ndarray) -> np.ndarray:
  """Gumbel(0, 1) noise of documents, a function of (seed, target, id).

  A counter-based generator: the finalizer of SplitMix64 (Steele, Lea and
  Flood 2014) on a stream of its own for each (seed, target).

  Args:
    seed: any integer of 64 bits.
    target: number of the target.
    ids: (D,) document ids.

  Returns:
    (D,) float64, finite.
  """
  text = f'{seed}/{target}'.encode()
  stream = int.from_bytes(hashlib.sha256(text).digest()[:8])
  counter = np.asarray(ids).astype(np.uint64) * _GOLDEN + np.uint64(stream)
  # 52 bits and a half: never 0 and never 1.
  uniform = ((_mix(counter) >> np.uint64(12)) + 0.5) * 2.0**-52
  return -np.log(-np.log(uniform))


def _mix(z: np.ndarray) -> np.ndarray:
  z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return z ^ (z >> np.uint64(31))


def split_k(k: int, shares: Sequence[float] | np.ndarray) -> list[int]:
  """Documents for each target: int(k * share), the last takes what remains.

  Args:
    k: documents in all.
    shares: (T,) positive weights of the targets; their sum doesn't matter.

  Raises:
    ValueError: a share that is not positive.
  """
  weights = np.asarray(shares, np.float64)
  if not (np.isfinite(weights).all() and (weights > 0).all()):
    raise ValueError(f'shares {weights.tolist()}; expected positive numbers')
  counts = [int(k * share) for share in weights / weights.sum()]
  counts[-1] += k - sum(counts)
  return counts


def select(
  weights: np.ndarray,
  valid: np.ndarray,
  counts: Sequence[int],
  noise: Noise | None,
  allocate: Callable[..., np.ndarray] = np.zeros,
) -> np.ndarray:
  """Draws documents for each target in turn, without replacement.

  Arrays are read and written by slices only, so they may be on disk.

  Args:
    weights: (N, T) log weights.
    valid: (N,) whether a document may be taken.
    counts: (T,) documents to take for each target, see `split_k`.
    noise: noise of documents, called with ascending ids of those that are
      still free; None takes the largest weights (top-k).
    allocate: (size, dtype) -> array of zeros to work in, and for the result.

  Returns:
    (N,) int16, 0 where a document is not taken, else 1 + the target's number.
    Among equal keys the lower id is taken.

  Raises:
    ValueError: more documents are to be taken than are valid.
  """
  size = len(valid)
  free = sum(int(np.count_nonzero(valid[b])) for b in blocks(size))
  if free < sum(counts):
    raise ValueError(f'{sum(counts)} documents wanted, {free} are valid')
  taken = allocate(size, np.int16)
  keys = allocate(size, np.float64)
  for target, count in enumerate(counts):
    for block in blocks(size):
      keys[block] = noisy_keys(
        block.start,
        weights[block][:, target],
        valid[block].astype(bool) & (taken[block] == 0),
        target,
        noise,
      )
    _take(keys, count, taken, target + 1)
  return taken


def noisy_keys(
  first: int,
  weights: np.ndarray,
  free: np.ndarray,
  target: int,
  noise: Noise | None,
) -> np.ndarray:
  """What documents are ranked by: log weight + noise, -inf if not free.

  Args:
    first: id of the first of D documents that follow each other.
    weights: (D,) log weights for the target.
    free: (D,) bool, whether a document may be taken.
    target: number of the target.
    noise: as in `select`.

  Returns:
    (D,) float64.
  """
  keys = np.full(len(weights), -np.inf)
  keys[free] = weights[free]
  if noise is not None and free.any():
    keys[free] += noise(target, first + np.flatnonzero(free))
  return keys


def _take(keys, count: int, taken, mark: int) -> None:
  """Marks the `count` largest keys, of equal ones those that come first."""
  cut = Cut(count)
  while not cut.found:
    cut.narrow(sum(cut.histogram(keys[b]) for b in blocks(len(keys))))
  ties = cut.ties
  for block in blocks(len(keys)):
    above, equal = cut.split(keys[block])
    first = np.flatnonzero(equal)[:ties]
    ties -= len(first)
    marks = taken[block]
    marks[above] = mark
    marks[first] = mark
    taken[block] = marks


class Cut:
  """Finds the k-th largest of any number of float64 keys in four passes.

  A radix search: each pass counts 16 more bits of the keys that agree with
  the bits found so far. Counts of parts may be added, so the keys can be
  anywhere and the memory doesn't grow with k.

  Args:
    k: at most the number of keys.

  Attributes:
    ties: once found, how many of the keys equal to the cut belong to the k.
  """

  def __init__(self, k: int):
    self.ties = k
    self._digits = 0
    self._prefix = 0

  @property
  def found(self) -> bool:
    """Whether all bits of the cut are known."""
    return self._digits == DIGITS

  def histogram(self, keys: np.ndarray) -> np.ndarray:
    """(65536,) counts of the next 16 bits of keys that are at the cut."""
    bits = _ordered_bits(keys)
    shift = np.uint64(16 * (DIGITS - self._digits - 1))
    if self._digits:
      prefix = np.uint64(self._prefix)
      bits = bits[bits >> (shift + np.uint64(16)) == prefix]
    digit = (bits >> shift) & np.uint64(RADIX - 1)
    return np.bincount(digit.astype(np.int64), minlength=RADIX)

  def narrow(self, histogram: np.ndarray) -> None:
    """Takes the counts of all keys, and finds the next 16 bits.

    Raises:
      ValueError: there are fewer keys than k.
    """
    above = np.cumsum(histogram[::-1])
    place = int(np.searchsorted(above, self.ties))
    if place == RADIX:
      raise ValueError(f'{self.ties} keys wanted, there are {above[-1]}')
    digit = RADIX - 1 - place
    self.ties -= int(above[place] - histogram[digit])
    self._prefix = (self._prefix << 16) | digit
    self._digits += 1

  def split(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns masks of the keys above the cut and of those equal to it."""
    bits = _ordered_bits(keys)
    cut = np.uint64(self._prefix)
    return bits > cut, bits == cut


def _ordered_bits(keys: np.ndarray) -> np.ndarray:
  """uint64 in the order of the float64 keys; -0 is +0."""
  bits = (np.ascontiguousarray(keys, np.float64) + 0.0).view(np.uint64)
  sign = np.uint64(1 << 63)
  return np.where(bits & sign, ~bits, bits | sign)


def blocks(size: int) -> list[slice]:
  """Slices that cover `size` documents, 2**18 at a time."""
  return [
    slice(start, min(start + _BLOCK, size)) for start in range(0, size, _BLOCK)
  ]


def kl_divergence(p: np.ndarray, q: np.ndarray) -> float:
  """KL(p || q) in nats over buckets, with 1e-8 inside the logarithms.

  The paper's own smoothing of this figure is not confirmed.
  """
  return float(np.sum(p * (np.log(p + EPSILON) - np.log(q + EPSILON))))


def kl_reduction(
  targets: np.ndarray, raw: np.ndarray, selected: np.ndarray
) -> float:
  """Mean over targets of KL(p || q_raw) - KL(p || q_selected), in nats.

  Args:
    targets: (T, B) probabilities of the target texts.
    raw: (B,) of all raw texts.
    selected: (B,) of the selected ones.
  """
  return float(
    np.mean(
      [kl_divergence(p, raw) - kl_divergence(p, selected) for p in targets]
    )
  )
