"""Rows to token arrays, per kind of task, with a cache on disk.

Span features follow Devlin et al. 2018 (arXiv 1810.04805): a long context
becomes several windows which share `doc_stride` tokens; an answer outside a
window is the position of [CLS]. One that is whole in none of them is LOST.
"""

import dataclasses
import os

import numpy as np

from glue_jax.data import prompts
from glue_jax.data import segments as segments_lib
from glue_jax.data.cache import cached
from glue_jax.data.examples import IGNORED, LOST, Examples
from glue_jax.data.table import Table
from glue_jax.data.tasks.task import Prompt
from glue_jax.data.tokenizer import Tokenizer

_DOC_STRIDE = 128  # of Devlin et al.
_VERSION = 2  # raise it when the arrays change for equal settings


@dataclasses.dataclass(frozen=True)
class Windows:
  """How long contexts of span tasks are cut.

  Attributes:
    doc_stride: tokens that neighbouring windows share; None = 128, or half of
      what a window holds of the context, if that is less.
    max_query_length: longest question, in tokens.
  """

  doc_stride: int | None = None
  max_query_length: int = 64


def tokenize(
  table: Table,
  tokenizer: Tokenizer,
  max_length: int = 128,
  *,
  windows: Windows | None = None,
  segments: str | int | None = None,
  targets: bool = False,
  cache_dir: str | os.PathLike | None = None,
) -> Examples:
  """Token arrays of a table.

  Args:
    table: rows of any kind but language modeling.
    max_length: longest sequence; the longer text of a pair is cut first.
    windows: of span tasks.
    segments: how to cut texts and pairs into segments, see
      glue_jax/data/segments.py; None: not at all.
    targets: rows that are written have their target after the prompt, to be
      learned; else they are prompts.
    cache_dir: folder of cached arrays, named by a hash of the rows, the
      tokenizer and the settings. A damaged file is written anew, with a
      warning. None: no cache.

  Returns:
    Examples in row order (span: windows in row order); idx is the row number
    (span: the window's number).
  """
  windows = windows or Windows()
  task = table.task
  settings = [_VERSION, max_length, task.kind, task.columns, task.choices]
  settings += [table.labelled, task.labels]
  if task.form == 'generation':
    settings += [targets, dataclasses.astuple(task.prompt or Prompt(''))]
  if task.kind == 'span':
    settings += [windows.doc_stride, windows.max_query_length]
  segments_lib.check(segments)
  if segments is not None:
    if task.kind not in ('classification', 'regression'):
      raise ValueError(
        f'data.segments={segments!r} serves classification and regression; '
        f'task {task.name} is {task.kind}'
      )
    settings += [segments]
  key = [table.fingerprint, tokenizer.fingerprint, settings]

  def make() -> Examples:
    if segments is not None:
      return _sentences(table, tokenizer, max_length, windows, segments)
    if task.form == 'generation':
      return _written(table, tokenizer, max_length, targets)
    return _MAKERS[task.kind](table, tokenizer, max_length, windows)

  found = cached(make, key, cache_dir)
  if task.form == 'generation':
    found.tokenizer = tokenizer
  return found


def _texts(table: Table, column: str) -> list[str]:
  return [row[column] for row in table.rows]


def _labels(table: Table) -> np.ndarray | None:
  return table.labels() if table.labelled else None


def _plain(encoded, table, tokenizer, **fields) -> Examples:
  return Examples(
    kind=table.task.kind,
    pad_id=tokenizer.pad_id,
    ids=encoded.ids,
    type_ids=encoded.type_ids.astype(np.int8),
    bounds=encoded.bounds,
    truncated=encoded.truncated,
    **fields,
  )


def _sentences(
  table, tokenizer, max_length, _windows, segments=None
) -> Examples:
  """Classification and regression: one text or a pair."""
  texts = [_texts(table, column) for column in table.task.columns]
  extras = segments_lib.EXTRAS if segments else ()
  encoded = tokenizer.encode(*texts, max_length=max_length, extras=extras)
  idx = np.arange(len(table), dtype=np.int32)
  fields = {'idx': idx, 'labels': _labels(table)}
  if segments:
    fields['segment_ids'] = segments_lib.number(encoded, texts, segments)
  return _plain(encoded, table, tokenizer, **fields)


def _written(table, tokenizer, max_length, targets) -> Examples:
  """Prompts, and after them what is to be written and the end token.

  A prompt that is too long loses its end, or where a template is around it,
  its beginning; a target at most half of `max_length`.
  """
  task = table.task
  asked = [prompts.filled(task, row) for row in table.rows]
  answers = [np.zeros(0, np.int32)] * len(asked)
  truncated = 0
  if targets:
    answers, truncated = _ended(table, tokenizer, max_length // 2)
  room = max_length - max(map(len, answers))
  whole = tokenizer.encode(asked, max_length=room if not task.prompt else 2**30)
  ids, labels, lengths = [], [], []
  for low, high, answer in zip(whole.bounds, whole.bounds[1:], answers):
    prompt = whole.ids[max(low, high - room) : high]
    truncated += high - low > room
    ids += [prompt, answer]
    labels += [np.full(len(prompt), IGNORED), answer]
    lengths.append(len(prompt) + len(answer))
  flat = np.concatenate(ids).astype(np.int32)
  return Examples(
    kind=task.kind,
    pad_id=tokenizer.pad_id,
    ids=flat,
    type_ids=np.zeros(len(flat), np.int8),
    bounds=np.concatenate([[0], np.cumsum(lengths)]),
    idx=np.arange(len(table), dtype=np.int32),
    token_labels=np.concatenate(labels).astype(np.int32) if targets else None,
    truncated=int(truncated + whole.truncated),
  )


def _ended(table, tokenizer, most) -> tuple[list[np.ndarray], int]:
  """Tokens of the targets, each with the end token; how many were cut.

  Raises:
    ValueError: the split has no labels, or the tokenizer no end token.
  """
  table.labels()  # raises where they are hidden
  texts = [prompts.target(table.task, row) for row in table.rows]
  found = tokenizer.backend.encode_batch(texts, add_special_tokens=False)
  ids = [np.array([*e.ids[: most - 1], tokenizer.end_id]) for e in found]
  return ids, sum(len(e.ids) >= most for e in found)


def _choices(table, tokenizer, max_length, _windows) -> Examples:
  """Multiple choice: (context, choice) pairs, the choices of a row together."""
  choices = table.task.choices
  context = [c for c in table.task.columns if c not in choices]
  first = [
    ' '.join(row[c] for c in context) for row in table.rows for _ in choices
  ]
  second = [row[choice] for row in table.rows for choice in choices]
  encoded = tokenizer.encode(first, second, max_length=max_length)
  return _plain(
    encoded,
    table,
    tokenizer,
    idx=np.arange(len(table), dtype=np.int32),
    labels=_labels(table),
    num_choices=len(choices),
  )


def _tagged(table, tokenizer, max_length, _windows) -> Examples:
  """Token classification: the first piece of a word has the word's label."""
  words = _texts(table, table.task.columns[0])
  encoded = tokenizer.encode(words, max_length=max_length, extras=('word_ids',))
  labels = None
  if table.labelled:
    tags = [np.asarray(row['label'], np.int32) for row in table.rows]
    bases = np.concatenate([[0], np.cumsum([len(t) for t in tags])])[:-1]
    flat = np.concatenate(tags)
    base = np.repeat(bases, encoded.lengths)
    word = encoded.word_ids
    labels = np.where(_first_pieces(encoded), flat[base + word], IGNORED)
    labels = labels.astype(np.int32)
  return _plain(
    encoded,
    table,
    tokenizer,
    idx=np.arange(len(table), dtype=np.int32),
    token_labels=labels,
    word_ids=encoded.word_ids,
  )


def _first_pieces(encoded) -> np.ndarray:
  """(T,) bool: the first piece of a word (never a special token)."""
  word = encoded.word_ids
  before = np.concatenate([[-1], word[:-1]])
  return (word >= 0) & (word != before)


def _spans(table, tokenizer, max_length, windows) -> Examples:
  """Span: windows of (question, context) with the first gold answer."""
  questions, room = _short_questions(table, tokenizer, windows)
  specials = tokenizer.backend.num_special_tokens_to_add(True)
  free = max_length - room - specials
  stride = windows.doc_stride
  stride = min(_DOC_STRIDE, max(free, 0) // 2) if stride is None else stride
  if free <= stride:
    raise ValueError(
      f'max_length={max_length} leaves {free} tokens for the context beside a '
      f'question of {room}; it must be more than doc_stride={stride}: raise '
      f'max_length, or lower doc_stride or max_query_length'
    )
  encoded = tokenizer.encode(
    questions,
    _texts(table, table.task.columns[1]),
    max_length=max_length,
    extras=('offsets', 'sequence_ids', 'source'),
    stride=stride,
  )
  context = encoded.sequence_ids == 1
  chars = np.where(context[:, None], encoded.offsets, -1).astype(np.int32)
  starts, ends = None, None
  if table.labelled:
    starts, ends = _answers(table, encoded, chars)
  return _plain(
    encoded,
    table,
    tokenizer,
    idx=np.arange(len(encoded.source), dtype=np.int32),
    starts=starts,
    ends=ends,
    example=encoded.source,
    char_offsets=chars,
  )


def _short_questions(table, tokenizer, windows) -> tuple[list[str], int]:
  """Questions cut to max_query_length tokens; the longest in tokens."""
  texts = [text.strip() for text in _texts(table, table.task.columns[0])]
  longest = 0
  encodings = tokenizer.backend.encode_batch(texts, add_special_tokens=False)
  for i, encoding in enumerate(encodings):
    if len(encoding) > windows.max_query_length:
      end = encoding.offsets[windows.max_query_length - 1][1]
      texts[i] = texts[i][:end]
    longest = max(longest, min(len(encoding), windows.max_query_length))
  return texts, longest


def _answers(table, encoded, chars) -> tuple[np.ndarray, np.ndarray]:
  """First and last token of the first gold answer in each window.

  0, 0 in a window without it, and LOST in all windows of a question whose
  answer is whole in none, which is no question without an answer.

  Raises:
    ValueError: no token holds any of an answer.
  """
  starts = np.zeros(len(encoded.source), np.int32)
  ends = np.zeros_like(starts)
  edges = np.searchsorted(encoded.source, np.arange(len(table) + 1))
  for row, (first, last) in enumerate(zip(edges[:-1], edges[1:])):
    if not table.rows[row]['answers']['text']:
      continue
    bounds = encoded.bounds[first : last + 1]
    span = _token_edges(table, row, chars[bounds[0] : bounds[-1]])
    for i, (low, high) in enumerate(zip(bounds[:-1], bounds[1:]), first):
      starts[i], ends[i] = _in_window(chars[low:high], *span)
    if not starts[first:last].any():
      starts[first:last] = ends[first:last] = LOST
  return starts, ends


def _token_edges(table, row, chars) -> tuple[int, int]:
  """The first answer's characters, its edges moved inward to a token.

  Args:
    chars: (T, 2) of all windows of the question.
  """
  answers = table.rows[row]['answers']
  low = answers['answer_start'][0]
  high = low + len(answers['text'][0])
  inside = chars[(chars[:, 0] < high) & (chars[:, 1] > low)]
  inside = inside[inside[:, 0] >= 0]
  if not len(inside):
    raise ValueError(
      f'{table.place(row)}: question {table.rows[row]["id"]}: the tokenizer '
      f'makes no token of its answer {answers["text"][0]!r} at {low}; mend or '
      'remove the question, or use another tokenizer'
    )
  return max(low, inside[:, 0].min()), min(high, inside[:, 1].max())


def _in_window(chars, low: int, high: int) -> tuple[int, int]:
  """The tokens that hold the first and last character; (0, 0) if not both."""
  real = chars[:, 0] >= 0
  first = np.flatnonzero(real & (chars[:, 0] <= low) & (chars[:, 1] > low))
  last = np.flatnonzero(real & (chars[:, 0] < high) & (chars[:, 1] >= high))
  if len(first) and len(last) and first[0] <= last[0]:
    return int(first[0]), int(last[0])
  return 0, 0


_MAKERS = {
  'classification': _sentences,
  'multilabel': _sentences,
  'regression': _sentences,
  'multiple_choice': _choices,
  'token_classification': _tagged,
  'span': _spans,
}
