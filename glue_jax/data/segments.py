"""Segments of texts, for mixers that pool over them (PoNet).

Ids along a sequence, as in Tan et al. 2022 (arXiv 2110.02442): [CLS] is 0, the
segments of the first text follow, then its [SEP], those of the second text and
its [SEP]; every special token is a segment of its own. Sentences are cut by a
rule (the official code uses NLTK's, which needs a download): after . ! or ?
with what closes behind it, before a blank and a capital, digit or opening mark;
and at line ends.
"""

import re
from collections.abc import Sequence

import numpy as np

from glue_jax.data.encoded import Encoded

KINDS = ('sentence', 'paragraph')
EXTRAS = ('offsets', 'sequence_ids')

_CUTS = {
  'sentence': re.compile(
    r"""(?<=[.!?])["'”’)\]]*\s+(?=["'“‘(\[]*[A-Z0-9À-ÞĀ-Ž])|\s*\n\s*"""
  ),
  'paragraph': re.compile(r'\s*\n\s*\n\s*'),
}


def starts(text: str, kind: str) -> np.ndarray:
  """Characters at which the segments of a text begin; the first is 0."""
  inner = [match.end() for match in _CUTS[kind].finditer(text)]
  return np.array([0, *(at for at in inner if 0 < at < len(text))])


def check(kind: str | int | None) -> None:
  """Refuses what isn't a way to cut.

  Raises:
    ValueError: not None, one of KINDS, or a positive number of tokens.
  """
  fixed = isinstance(kind, int) and not isinstance(kind, bool) and kind > 0
  if kind is not None and kind not in KINDS and not fixed:
    raise ValueError(
      f'data.segments={kind!r}; expected one of {KINDS}, a number of tokens, '
      'or None'
    )


def number(
  encoded: Encoded, texts: Sequence[Sequence[str]], kind: str | int
) -> np.ndarray:
  """Segment ids of encoded texts.

  Args:
    encoded: n sequences, with EXTRAS.
    texts: the first texts, and the second ones of pairs: one or two of n.
    kind: one of KINDS, or a number of tokens: runs of that length.

  Returns:
    (T,) int32, from 0 in every sequence.
  """
  out = np.zeros(len(encoded.ids), np.int32)
  begins = encoded.offsets[:, 0]
  for row, (low, high) in enumerate(
    zip(encoded.bounds[:-1], encoded.bounds[1:], strict=True)
  ):
    part = encoded.sequence_ids[low:high]
    local = np.zeros(high - low, np.int64)
    for which, column in enumerate(texts):
      inside = part == which
      if isinstance(kind, int):
        local[inside] = np.arange(inside.sum()) // kind
      else:
        cuts = starts(column[row], kind)
        at = begins[low:high][inside]
        local[inside] = np.searchsorted(cuts, at, side='right')
    # A new segment wherever the text or its segment changes, or a special
    # token stands.
    new = (part[1:] != part[:-1]) | (local[1:] != local[:-1]) | (part[1:] < 0)
    out[low + 1 : high] = np.cumsum(new)
  return out
