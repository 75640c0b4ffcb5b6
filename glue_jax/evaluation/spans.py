"""From start and end logits to answer texts.

Devlin et al. 2018 (arXiv 1810.04805, sec. 4.2 and 4.3): the score of a span
is start + end, that of no answer is start[CLS] + end[CLS], the lowest over
the windows of a question; an answer is given when the best span exceeds no
answer by more than a threshold. The text is cut from the original context.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from glue_jax.data.examples import Examples


class Answers(NamedTuple):
  """Predictions of a span task.

  Attributes:
    predictions: {question id: text}, '' for no answer.
    nbest: {question id: [{'text', 'score', 'probability'}]}, best first;
      probabilities are over the list, no answer included.
    null_odds: {question id: score of no answer - score of the best span}.
  """

  predictions: dict[str, str]
  nbest: dict[str, list[dict]]
  null_odds: dict[str, float]


class Span(NamedTuple):
  """A candidate: characters start to end of the context, and its score."""

  start: int
  end: int
  score: float


def postprocess(
  rows: Sequence[Mapping[str, Any]],
  examples: Examples,
  start_logits: Sequence[np.ndarray],
  end_logits: Sequence[np.ndarray],
  *,
  unanswerable: bool,
  n_best: int = 20,
  max_answer_length: int = 30,
  null_threshold: float = 0.0,
) -> Answers:
  """Answers of a split.

  Args:
    rows: the questions, with 'id' and 'context'.
    examples: their windows.
    start_logits, end_logits: one (L,) array a window, in the order of idx; L
      may be longer than the window.
    unanswerable: whether a question may have no answer.
    n_best: starts, ends and answers that are looked at.
    max_answer_length: longest answer in tokens.
    null_threshold: the best span must exceed no answer by more than this;
      read only if unanswerable.

  Raises:
    ValueError: another number of windows.
  """
  if not len(examples) == len(start_logits) == len(end_logits):
    raise ValueError(
      f'{len(start_logits)} start and {len(end_logits)} end logits for '
      f'{len(examples)} windows'
    )
  spans: list[list[Span]] = [[] for _ in rows]
  nulls = np.full(len(rows), np.inf)
  for i, row in enumerate(examples.example):
    low, high = examples.bounds[i : i + 2]
    start = np.asarray(start_logits[i], np.float64)[: high - low]
    end = np.asarray(end_logits[i], np.float64)[: high - low]
    nulls[row] = min(nulls[row], start[0] + end[0])
    chars = examples.char_offsets[low:high]
    spans[row] += window_spans(start, end, chars, n_best, max_answer_length)
  result = Answers({}, {}, {})
  for row, candidates, null in zip(rows, spans, nulls):
    ranked = _ranked(row['context'], candidates, n_best)
    best = ranked[0]['score'] if ranked else -np.inf
    odds = float(null - best)
    no_answer = unanswerable and best - null <= null_threshold
    answer = '' if no_answer or not ranked else ranked[0]['text']
    if unanswerable or not ranked:
      ranked.append({'text': '', 'score': float(null)})
      ranked.sort(key=lambda entry: -entry['score'])
    _add_probabilities(ranked)
    result.predictions[row['id']] = answer
    result.nbest[row['id']] = ranked
    result.null_odds[row['id']] = odds
  return result


def window_spans(
  start: np.ndarray,
  end: np.ndarray,
  chars: np.ndarray,
  n_best: int,
  max_answer_length: int,
) -> list[Span]:
  """The best spans of one window.

  Args:
    start, end: (L,) logits.
    chars: (L, 2) characters of the context, -1 outside it.
  """
  context = np.flatnonzero(chars[:, 0] >= 0)
  first = context[np.argsort(-start[context], kind='stable')[:n_best]]
  last = context[np.argsort(-end[context], kind='stable')[:n_best]]
  size = last[None] - first[:, None] + 1
  fits = (size >= 1) & (size <= max_answer_length)
  scores = start[first][:, None] + end[last][None]
  return [
    Span(int(chars[first[i], 0]), int(chars[last[j], 1]), float(scores[i, j]))
    for i, j in np.argwhere(fits)
  ]


def _ranked(context: str, spans: list[Span], n_best: int) -> list[dict]:
  """The best texts, each once."""
  ranked: dict[str, float] = {}
  for span in sorted(spans, key=lambda span: -span.score):
    text = context[span.start : span.end]
    if text.strip():
      ranked.setdefault(text, span.score)
    if len(ranked) == n_best:
      break
  return [{'text': text, 'score': score} for text, score in ranked.items()]


def _add_probabilities(entries: list[dict]) -> None:
  scores = np.array([entry['score'] for entry in entries])
  weights = np.exp(scores - scores.max())
  for entry, weight in zip(entries, weights / weights.sum()):
    entry['probability'] = float(weight)
