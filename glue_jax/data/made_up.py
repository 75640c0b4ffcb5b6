"""Data of the right form and no content, for programs that are never run."""

from typing import Any

import numpy as np
import tokenizers as hf

from glue_jax.data import batching
from glue_jax.data.bundle import DataBundle
from glue_jax.data.examples import Examples
from glue_jax.data.tasks.task import PAIR_KINDS, Task
from glue_jax.data.tokenizer import Tokenizer

_ROLES = ('pad', 'unk', 'cls', 'sep', 'mask')


def bundle(
  task: Task,
  vocab_size: int,
  pad_id: int,
  batch_size: int,
  length: int,
  segments: bool = False,
) -> DataBundle:
  """Returns one batch of full rows, to train on.

  Args:
    task: its record; the rows have its kind.
    vocab_size: of the tokenizer that is made up too.
    pad_id: where its padding stands.
    batch_size: rows of the batch.
    length: tokens of each row.
    segments: whether rows have segments.
  """
  examples = _examples(task, pad_id, batch_size, length, segments)
  train = batching.train_batches(examples, batch_size, (length,), seed=0)
  return DataBundle(
    task, _tokenizer(vocab_size, pad_id), train, {}, {}, (length,), ()
  )


def _tokenizer(vocab_size: int, pad_id: int) -> Tokenizer:
  """As many words as ids, of which the first but one are the special ones."""
  ids = [pad_id, *(i for i in range(vocab_size) if i != pad_id)]
  words = [f'[{role.upper()}]' for role in _ROLES]
  words += [f'w{i}' for i in range(vocab_size - len(words))]
  vocabulary = dict(zip(words, ids, strict=True))
  model = hf.models.WordLevel(vocabulary, unk_token='[UNK]')
  return Tokenizer(hf.Tokenizer(model))


def _examples(
  task: Task, pad_id: int, rows: int, length: int, segments: bool
) -> Examples:
  choices = len(task.choices) or 1
  tokens = rows * choices * length
  zeros = np.zeros(rows, np.int32)
  fields: dict[str, Any] = {}
  if task.kind == 'regression':
    fields['labels'] = zeros.astype(np.float32)
  elif task.kind == 'multilabel':
    fields['labels'] = np.zeros((rows, len(task.labels)), np.int32)
  elif task.kind == 'token_classification':
    fields['token_labels'] = np.zeros(tokens, np.int32)
  elif task.kind == 'span':
    fields |= dict(starts=zeros, ends=zeros, example=zeros)
  elif task.kind not in ('language_modeling', 'sentences'):
    fields['labels'] = zeros
  if task.kind in ('language_modeling', *PAIR_KINDS, 'token_classification'):
    fields['word_ids'] = np.tile(np.arange(length, dtype=np.int32), rows)
  if segments or task.kind in PAIR_KINDS:
    fields['segment_ids'] = np.zeros(tokens, np.int32)
  return Examples(
    kind=task.kind,
    pad_id=pad_id,
    ids=np.full(tokens, 1 if pad_id == 0 else 0, np.int32),
    type_ids=np.zeros(tokens, np.int8),
    bounds=np.arange(rows * choices + 1) * length,
    idx=np.arange(rows, dtype=np.int32),
    num_choices=choices,
    **fields,
  )
