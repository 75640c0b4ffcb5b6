"""Scores of written texts against their references, as fractions.

BLEU (Papineni et al. 2002) and chrF (Popovic 2015) are those of the library
`sacrebleu` (Post 2018, arXiv 1804.08771), of the whole split, with its default
tokenization and smoothing. ROUGE (Lin 2004) is the mean F of the rows, each
with its best reference: texts in lower case, words of ASCII letters and digits,
no stemming, as the package `rouge-score` has it.
"""

import collections
import itertools
import re
from collections.abc import Sequence
from typing import Any

from glue_jax.metrics import squad

NAMES = ('bleu', 'chrf', 'rouge1', 'rouge2', 'rougeL', 'exact_match')
_OF_LIBRARY = ('bleu', 'chrf')


def check(names: Sequence[str]) -> None:
  """Refuses metrics whose library isn't there, before any work.

  Raises:
    ImportError: sacrebleu is asked for and missing.
  """
  if set(names) & set(_OF_LIBRARY):
    _sacrebleu(names)


def compute(
  names: Sequence[str],
  written: Sequence[str],
  references: Sequence[Sequence[str]],
) -> dict[str, float]:
  """Scores texts.

  Args:
    names: some of NAMES.
    written: n texts.
    references: n lists of texts, one or more each.

  Raises:
    ImportError: see `check`.
    ValueError: an unknown name.
  """
  unknown = sorted(set(names) - set(NAMES))
  if unknown:
    raise ValueError(f'unknown metrics {unknown}; known: {list(NAMES)}')
  return {name: _one(name, written, references) for name in names}


def _one(name, written, references) -> float:
  if name in _OF_LIBRARY:
    score = getattr(_sacrebleu([name]), f'corpus_{name}')
    # By number: rows that have fewer have none there.
    streams = [list(texts) for texts in itertools.zip_longest(*references)]
    return score(list(written), streams).score / 100
  row = _same if name == 'exact_match' else _rouge(name)
  best = [
    max(row(text, reference) for reference in own)
    for text, own in zip(written, references, strict=True)
  ]
  return sum(best) / len(best)


def _same(text: str, reference: str) -> float:
  return float(squad.exact(text, reference))


def _rouge(name):
  part = name.removeprefix('rouge')

  def row(text: str, reference: str) -> float:
    ours, theirs = _words(text), _words(reference)
    if part == 'L':
      return _f(_longest_common(ours, theirs), len(ours), len(theirs))
    n = int(part)
    one, two = (_grams(words, n) for words in (ours, theirs))
    return _f((one & two).total(), one.total(), two.total())

  return row


def _words(text: str) -> list[str]:
  return re.findall('[a-z0-9]+', text.lower())


def _grams(words: list[str], n: int) -> collections.Counter:
  starts = range(len(words) - n + 1)
  return collections.Counter(tuple(words[i : i + n]) for i in starts)


def _f(hits: int, found: int, wanted: int) -> float:
  """The harmonic mean of precision and recall; 0 where nothing is shared."""
  return 2 * hits / (found + wanted) if hits else 0.0


def _longest_common(one: list[str], two: list[str]) -> int:
  """Length of the longest common subsequence."""
  above = [0] * (len(two) + 1)
  for word in one:
    row = [0]
    for i, other in enumerate(two):
      row.append(above[i] + 1 if word == other else max(row[i], above[i + 1]))
    above = row
  return above[-1]


def _sacrebleu(names: Sequence[str]) -> Any:
  try:
    import sacrebleu
  except ImportError as error:
    raise ImportError(
      f'metrics {list(names)}: BLEU and chrF need sacrebleu; install it with '
      "pip install 'glue_jax[texts]', or take task.metrics out of "
      f'{[name for name in NAMES if name not in _OF_LIBRARY]}'
    ) from error
  return sacrebleu
