"""Scores of tag sequences by chunks, and of classes, with their averages.

The three chunking modes are those of LEPISZCZE (Augustyniak et al. 2022, arXiv
2211.13112), whose evaluation library calls seqeval (Nakayama 2018):

  conll   lenient, the rules of the CoNLL-2000 script `conlleval`; besides B-
          and I- it takes E- and S- (BIOES) and, as these, L- and U- (BILOU)
  strict  IOB2: B-X followed by I-X only
  unit    every tag but O is a chunk of its own, and its class the whole tag

Everything is counted in integers and divided once, in float64, on the host.
"""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

MODES = ('conll', 'strict', 'unit')
AVERAGES = ('micro', 'macro', 'weighted')
PARTS = ('precision', 'recall', 'f1')
OUTSIDE = 'O'
_PREFIXES = 'BIESLU'
_SAME = {'L': 'E', 'U': 'S'}  # BILOU's last and unit are BIOES' end and single
_OTHER_SPELLING = re.compile('^[bieslu]-.|^[BIESLUbieslu]_.|.[-_][BIESLU]$')

Tags = Sequence[str | None]
Chunk = tuple[str, int, int]


def chunks(tags: Tags, mode: str = 'conll') -> list[Chunk]:
  """Chunks of one sequence.

  Args:
    tags: one a word; None (the model saw no such word) is outside.
    mode: one of MODES.

  Returns:
    (type, first word, last word) in order.

  Raises:
    ValueError: an unknown mode, or a tag without one of its prefixes.
  """
  if mode not in MODES:
    raise ValueError(f'seq_mode={mode!r}; expected one of {MODES}')
  tags = [OUTSIDE if tag is None else tag for tag in tags]
  wrong = tag_fault(tags, mode)
  if wrong:
    raise ValueError(wrong)
  return {'conll': _lenient, 'strict': _iob2, 'unit': _units}[mode](tags)


def tag_fault(tags: Iterable[str], mode: str) -> str | None:
  """Why tags don't fit a mode, None where they do.

  Args:
    tags: their names.
    mode: one of MODES.
  """
  if mode == 'unit':
    return None
  # 'B' alone is of a single, nameless type; IOB2 always names one.
  prefixes, after = (
    ('BI', ('-',)) if mode == 'strict' else (_PREFIXES, ('-', ''))
  )
  for tag in tags:
    if tag != OUTSIDE and not (tag[:1] in [*prefixes] and tag[1:2] in after):
      return (
        f'tag {tag!r} has no prefix of seq_mode={mode}; expected O or '
        f'{", ".join(f"{p}-X" for p in prefixes)}; seq_mode=unit scores each '
        'tag for itself'
      )
  return None


def usual_mode(tags: Sequence[str]) -> str:
  """The mode of a task that names none, from its tags.

  Raises:
    ValueError: they look like chunks in another spelling (X-B, b-x, B_X).
  """
  if any(tag.startswith(('B-', 'I-')) for tag in tags):
    return 'conll'
  odd = [tag for tag in tags if _OTHER_SPELLING.search(tag)]
  if len(odd) > 1 and len(odd) >= len(tags) - 1:
    raise ValueError(
      f'tags {", ".join(map(repr, odd[:3]))} look like chunks in another '
      'spelling; write B-X, I-X and O, or seq_mode=unit to score each tag for '
      'itself'
    )
  return 'unit'


def _parts(tag: str) -> tuple[str, str]:
  """'B-PER' -> ('B', 'PER'); 'O' -> ('O', '_'), as in seqeval."""
  prefix = _SAME.get(tag[0], tag[0])
  return prefix, tag[1:].split('-', maxsplit=1)[-1] or '_'


def _lenient(tags: list[str]) -> list[Chunk]:
  spans, begin = [], 0
  before, type_before = OUTSIDE, OUTSIDE
  for place, tag in enumerate([*tags, OUTSIDE]):
    prefix, type_ = _parts(tag)
    changed = type_ != type_before
    if _ends(before, prefix, changed):
      spans.append((type_before, begin, place - 1))
    if _begins(before, prefix, changed):
      begin = place
    before, type_before = prefix, type_
  return spans


def _ends(before: str, prefix: str, changed: bool) -> bool:
  """Whether a chunk ended with the word before this one."""
  if before in 'ES':
    return True
  if before in 'BI' and prefix in 'BSO':
    return True
  return before not in 'O.' and changed


def _begins(before: str, prefix: str, changed: bool) -> bool:
  """Whether a chunk begins with this word."""
  if prefix in 'BS':
    return True
  if before in 'ESO' and prefix in 'EI':
    return True
  return prefix not in 'O.' and changed


def _iob2(tags: list[str]) -> list[Chunk]:
  spans = []
  open_: Chunk | None = None
  for place, tag in enumerate(tags):
    type_ = tag[2:]
    if open_ and tag[:2] == 'I-' and type_ == open_[0]:
      open_ = (type_, open_[1], place)
      continue
    if open_:
      spans.append(open_)
    open_ = (type_, place, place) if tag[:2] == 'B-' else None
  return [*spans, open_] if open_ else spans


def _units(tags: list[str]) -> list[Chunk]:
  return [(tag, i, i) for i, tag in enumerate(tags) if tag != OUTSIDE]


def sequence_scores(
  predictions: Sequence[Tags], labels: Sequence[Tags], mode: str = 'conll'
) -> dict[str, Any]:
  """Scores of n tag sequences.

  A chunk counts as right when type, start and end agree. Types are those that
  occur on either side; one that is only predicted has support 0 and counts in
  the macro average. A zero denominator gives 0.

  Args:
    predictions: n sequences of tags; None is a word without a prediction.
    labels: as long, sequence by sequence.
    mode: one of MODES.

  Returns:
    accuracy (over words), {micro,macro,weighted}_{precision,recall,f1}, and
    classes: {type: {precision, recall, f1, support}} sorted by type.

  Raises:
    ValueError: numbers of sequences or words differ, or there are no words.
  """
  _same_lengths(predictions, labels)
  right, guessed, gold = (collections.Counter() for _ in range(3))
  equal = words = 0
  for ours, theirs in zip(predictions, labels):
    equal += sum(a == b for a, b in zip(ours, theirs))
    words += len(theirs)
    mine, true = set(chunks(ours, mode)), set(chunks(theirs, mode))
    guessed.update(chunk[0] for chunk in mine)
    gold.update(chunk[0] for chunk in true)
    right.update(chunk[0] for chunk in mine & true)
  if not words:
    raise ValueError('no words to score')
  return {'accuracy': equal / words, **_averages(right, guessed, gold)}


def _same_lengths(predictions, labels) -> None:
  if len(predictions) != len(labels):
    raise ValueError(
      f'{len(predictions)} predicted sequences for {len(labels)} gold ones'
    )
  for number, (ours, theirs) in enumerate(zip(predictions, labels)):
    if len(ours) != len(theirs):
      raise ValueError(
        f'sequence {number}: {len(ours)} predicted tags for {len(theirs)} words'
      )


def class_scores(predictions: Iterable, labels: Iterable) -> dict[str, Any]:
  """Scores of n single labels: names, or ids.

  Args:
    predictions: n labels.
    labels: n gold labels.

  Returns:
    As `sequence_scores`; the classes are those in gold or prediction.

  Raises:
    ValueError: the numbers differ or are 0.
  """
  predictions, labels = (
    x.tolist() if isinstance(x, np.ndarray) else list(x)
    for x in (predictions, labels)
  )
  if len(predictions) != len(labels) or not labels:
    raise ValueError(f'{len(predictions)} predictions for {len(labels)} labels')
  right = collections.Counter(b for a, b in zip(predictions, labels) if a == b)
  averages = _averages(
    right, collections.Counter(predictions), collections.Counter(labels)
  )
  return {'accuracy': sum(right.values()) / len(labels), **averages}


def _averages(
  right: Mapping, guessed: Mapping, gold: Mapping
) -> dict[str, Any]:
  """Precision, recall, F1 by class and averaged, from three counters."""
  names = sorted({*guessed, *gold})
  table = np.array([_prf(right[n], guessed[n], gold[n]) for n in names])
  support = np.array([gold[name] for name in names], np.float64)
  micro = [sum(counter.values()) for counter in (right, guessed, gold)]
  none = np.zeros(len(PARTS))
  averaged = {
    'micro': _prf(*micro),
    'macro': table.mean(0) if names else none,
    'weighted': support @ table / support.sum() if support.any() else none,
  }
  scores = {
    f'{average}_{part}': float(value)
    for average in AVERAGES
    for part, value in zip(PARTS, averaged[average])
  }
  scores['classes'] = {
    name: dict(zip(PARTS, map(float, row))) | {'support': gold[name]}
    for name, row in zip(names, table)
  }
  return scores


def _prf(right: int, guessed: int, gold: int) -> tuple[float, float, float]:
  precision = right / guessed if guessed else 0.0
  recall = right / gold if gold else 0.0
  both = precision + recall
  return precision, recall, 2 * precision * recall / both if both else 0.0
