"""Tokenised examples as flat arrays, and the padded batches cut from them."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

IGNORED = -100  # label of tokens that have none
LOST = -1  # start and end of an answer that is whole in no window

COLUMNS = ('columns', 'token_columns')
_RAGGED = (
  'ids',
  'type_ids',
  'word_ids',
  'segment_ids',
  'token_labels',
  'char_offsets',
)
# Of a batch.
_FIELDS = frozenset(
  (
    'input_ids', 'attention_mask', 'token_type_ids', 'weight', 'idx', 'labels',
    'word_ids', 'segment_ids', 'start_positions', 'end_positions', 'positions',
  )
)  # fmt: skip
_PER_ROW = ('idx', 'labels', 'weights', 'starts', 'ends', 'example')


@dataclasses.dataclass(eq=False)
class Examples:
  """Ragged token arrays; sequence i is ids[bounds[i]:bounds[i + 1]].

  An example of multiple choice, or of sentences, is `num_choices` sequences in
  a row; otherwise a sequence is an example. n is the number of examples, T of
  tokens.

  Attributes:
    kind: the task's kind.
    pad_id: what `batch` fills up with.
    ids, type_ids: (T,).
    bounds: (n * num_choices + 1,).
    idx: (n,) position of the example in its split.
    labels: (n,) int32 or float32, or (n, C) int32; None when hidden or of
      another form.
    weights: (n,) float32 of the examples in the loss; None = 1 of each.
    num_choices: sequences in an example.
    word_ids: (T,) word of each token in its text, -1 for special tokens.
    segment_ids: (T,) segment of each token, from 0 in each sequence.
    token_labels: (T,) with IGNORED (token classification; of prompts with
      their targets the target's ids).
    starts, ends: (n,) tokens of the answer, 0 ([CLS]) for none, LOST where
      the answer is whole in no window of its question (span).
    example: (n,) row of the table that a feature comes from (span).
    char_offsets: (T, 2) characters of the context, -1 elsewhere (span).
    columns: {name: (n, ...)}, further fields of the examples (a weight, a
      difficulty); 0 in padding rows.
    token_columns: {name: (T,)}, further fields of the tokens; 0 at padding.
    pad: side on which `batch` fills up; 'left' is a decoder's.
    truncated: how many examples lost tokens to max_length.
    tokenizer: that of the ids, where predictions are written with it.
    scored_by: hash of the model that found the hard tokens; '' = none were.
  """

  kind: str
  pad_id: int
  ids: np.ndarray
  type_ids: np.ndarray
  bounds: np.ndarray
  idx: np.ndarray
  labels: np.ndarray | None = None
  weights: np.ndarray | None = None
  num_choices: int = 1
  word_ids: np.ndarray | None = None
  segment_ids: np.ndarray | None = None
  token_labels: np.ndarray | None = None
  starts: np.ndarray | None = None
  ends: np.ndarray | None = None
  example: np.ndarray | None = None
  char_offsets: np.ndarray | None = None
  columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  token_columns: Mapping[str, np.ndarray] = dataclasses.field(
    default_factory=dict
  )
  pad: str = 'right'
  truncated: int = 0
  tokenizer: Any = None
  scored_by: str = ''

  def __post_init__(self):
    sizes = np.diff(self.bounds).astype(np.int32)
    self._sizes = sizes.reshape(-1, self.num_choices)
    self.lengths = self._sizes.max(axis=1, initial=0)
    for columns, size in (
      (self.columns, len(self.idx)),
      (self.token_columns, len(self.ids)),
    ):
      for name, values in columns.items():
        if name in _FIELDS or name in self.columns.keys() & self.token_columns:
          raise ValueError(f'a batch has a field {name!r} already')
        if len(values) != size:
          raise ValueError(
            f'column {name!r} has {len(values)} values; expected {size}'
          )
    if self.pad not in ('left', 'right'):
      raise ValueError(f"pad={self.pad!r}: expected 'left' or 'right'")
    if self.pad == 'left' and self.kind == 'span':
      raise ValueError('answers in a text are places counted from the left')

  def __len__(self) -> int:
    return len(self.idx)

  def fingerprint(self) -> str:
    """Returns a hash of all tokens, labels and columns, in their order."""
    digest = hashlib.sha256(self.kind.encode())
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      arrays = {field.name: value}
      if field.name in COLUMNS:
        arrays = {f'{field.name}/{n}': value[n] for n in sorted(value)}
      for name, array in arrays.items():
        if isinstance(array, np.ndarray):
          digest.update(f'{name} {array.dtype} {array.shape} '.encode())
          digest.update(array.tobytes())
    return digest.hexdigest()

  def take(self, rows: np.ndarray) -> 'Examples':
    """The examples at `rows`, in that order; idx stays what it was."""
    rows = np.asarray(rows, np.int64)
    sequences = self._sequences(rows).reshape(-1)
    sizes = np.diff(self.bounds)[sequences]
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    # Token positions: a run of `sizes[i]` numbers from each sequence's start.
    shift = np.repeat(self.bounds[sequences] - bounds[:-1], sizes)
    tokens = np.arange(bounds[-1]) + shift
    changed: dict[str, Any] = {'bounds': bounds}
    for names, at in ((_RAGGED, tokens), (_PER_ROW, rows)):
      for name in names:
        if getattr(self, name) is not None:
          changed[name] = getattr(self, name)[at]
    for name, at in (('columns', rows), ('token_columns', tokens)):
      columns = getattr(self, name)
      changed[name] = {key: columns[key][at] for key in columns}
    return dataclasses.replace(self, **changed)

  def _sequences(self, rows: np.ndarray) -> np.ndarray:
    return rows[:, None] * self.num_choices + np.arange(self.num_choices)

  def batch(
    self, rows: np.ndarray, length: int, size: int | None = None
  ) -> dict[str, np.ndarray]:
    """Padded arrays of some examples.

    Args:
      rows: examples; -1 gives a padding row (weight 0, idx -1, no tokens).
      length: L, at least the longest of them.
      size: B; padding rows are added up to it. None: the number of rows.

    Returns:
      input_ids, attention_mask, token_type_ids (B, L) int32, or (B, C, L)
      with choices; weight (B,) float32; idx (B,) int32; and where there are
      some: labels (B,) or (B, L), word_ids and segment_ids (B, L) with -1 at
      padding, start_positions and end_positions (B,); and the columns, those
      of tokens (B, L).

    Raises:
      ValueError: an example is longer than `length`.
    """
    rows = np.asarray(rows, np.int64)
    if size is not None and len(rows) < size:
      rows = np.concatenate([rows, np.full(size - len(rows), -1)])
    real = rows >= 0
    safe = np.where(real, rows, 0)
    sizes = np.where(real[:, None], self._sizes[safe], 0)
    if sizes.max(initial=0) > length:
      raise ValueError(
        f'an example has {sizes.max()} tokens but the batch is {length} long; '
        f'the last of data.buckets must be data.max_length'
      )
    starts = self.bounds[self._sequences(safe)]
    steps = np.arange(length)
    if self.pad == 'left':
      steps = steps - (length - sizes[..., None])
    mask = (steps >= 0) & (steps < sizes[..., None])
    at = np.where(mask, starts[..., None] + steps, 0)
    if self.kind not in ('multiple_choice', 'sentences'):
      mask, at = mask[:, 0], at[:, 0]

    def padded(flat: np.ndarray, fill: int) -> np.ndarray:
      return np.where(mask, flat[at], fill).astype(np.int32)

    weights = np.float32(1) if self.weights is None else self.weights[safe]
    batch = {
      'input_ids': padded(self.ids, self.pad_id),
      'attention_mask': mask.astype(np.int32),
      'token_type_ids': padded(self.type_ids, 0),
      'weight': real.astype(np.float32) * weights,
      'idx': np.where(real, self.idx[safe], -1).astype(np.int32),
    }
    if self.word_ids is not None:
      batch['word_ids'] = padded(self.word_ids, -1)
    if self.segment_ids is not None:
      batch['segment_ids'] = padded(self.segment_ids, -1)
    if self.token_labels is not None:
      batch['labels'] = padded(self.token_labels, IGNORED)
    for name, values in self.token_columns.items():
      batch[name] = np.where(mask, values[at], 0).astype(values.dtype)
    rowwise = {
      **self.columns,
      'labels': self.labels,
      'start_positions': self.starts,
      'end_positions': self.ends,
    }
    for name, values in rowwise.items():
      if values is not None:
        rows_of = real.reshape(-1, *[1] * (values.ndim - 1))
        batch[name] = np.where(rows_of, values[safe], 0).astype(values.dtype)
    return batch
