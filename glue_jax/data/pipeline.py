"""One call from a task and a data folder to batches."""

import collections
import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np

from glue_jax.config.ranges import Count, OneOf, Whole
from glue_jax.data import (
  batching,
  corpora,
  features,
  load,
  prompts,
  sentence_pairs,
  sentence_rows,
  tokenizing,
  validate,
  wordpiece,
)
from glue_jax.data import hard_tokens as hard_lib
from glue_jax.data import pseudo as pseudo_labels
from glue_jax.data import segments as segments_lib
from glue_jax.data.bundle import DataBundle
from glue_jax.data.examples import LOST, Examples
from glue_jax.data.readers import texts
from glue_jax.data.table import Table
from glue_jax.data.tasks.task import CORPUS_KINDS, PAIR_KINDS, Task
from glue_jax.data.tokenizer import Tokenizer

MAX_LENGTH = 128  # in tokens, where neither the config nor the task says
TRAIN = 'train'  # a tokenizer to be trained
VOCAB_SIZE = 8000  # of a vocabulary trained on the texts
# What becomes a segment: see data/segments.py; a number is one of tokens.
Segments = Annotated[str, OneOf(segments_lib.KINDS)] | Count


def build(
  task: Task,
  *,
  data_dir: str | os.PathLike | None = None,
  files: Mapping[str, str | os.PathLike] | None = None,
  tokenizer: str | os.PathLike | Tokenizer = '',
  vocab_size: Count = VOCAB_SIZE,
  lowercase: bool = True,
  max_length: Count | None = None,
  buckets: Sequence[Count] = (32, 64, 128),
  batch_size: Count = 32,
  eval_batch_size: Count = 64,
  train_split: str | None = None,
  eval_splits: Sequence[str] | None = None,
  train_limit: Count | None = None,
  eval_limit: Count | None = None,
  data_seed: Whole = 0,
  bad_rows: Literal['error', 'drop'] = 'error',
  doc_stride: Whole | None = None,
  max_query_length: Count = 64,
  segments: Segments | None = None,
  pseudo: Mapping[str, Any] | None = None,
  transductive: bool = False,
  copies: Count = 1,
  sentences: Annotated[str, OneOf(sentence_pairs.SENTENCES)] = 'line',
  hard_tokens: str = '',
  cache_dir: str | os.PathLike | None = None,
  seed: Whole = 0,
  process_index: Whole = 0,
  process_count: Count = 1,
) -> DataBundle:
  """Loads, tokenises and batches a task. The keywords are config.data.

  Args:
    task: the task's record.
    data_dir, files, bad_rows: as in load.load.
    tokenizer: folder, name of the hub (see hub.py) or object; 'train' trains
      WordPiece with vocab_size pieces on the training texts; '' is that of the
      run's weights, which the caller knows, or else 'train'.
    lowercase: of a trained vocabulary: lower case without accents; False keeps
      both (Polish and the like need their diacritics).
    max_length: longest sequence in tokens; None = the task's, or 128.
    buckets: lengths that batches are padded to; those above max_length are
      left out and max_length is added.
    batch_size, eval_batch_size: rows of a global batch.
    train_split: other than the task's; '' for none.
    eval_splits: other than the task's; test splits give unlabelled batches.
    train_limit, eval_limit: number of rows, drawn at random by data_seed.
    data_seed: of the limits and of generated tasks; seeds of a run share it.
    doc_stride, max_query_length: of span tasks, see features.Windows.
    segments: 'sentence', 'paragraph' or a number of tokens: adds segment_ids
      to batches of texts and pairs; see segments.
    pseudo: rows of an evaluation split that are learned with the labels of
      finished runs, see pseudo.Pseudo.
    transductive: says that texts of evaluation splits are trained on in some
      other way, a corpus of a task's inputs; results are marked.
    copies, sentences: passes over a corpus of sentence pairs, and how to tell
      its sentences, see sentence_pairs.
    hard_tokens: file of `launch.probe score-tokens` on the training rows, see
      hard_tokens.py.
    cache_dir: folder of tokenised arrays; None or '' keeps none.
    seed: of the training order.
    process_index, process_count: which slice of each batch is made here.

  Raises:
    ValueError, FileNotFoundError: what is wrong with the data or settings.
  """
  max_length = max_length or task.max_length or MAX_LENGTH
  train_split = task.train_split if train_split is None else train_split
  splits = task.eval_splits if eval_splits is None else tuple(eval_splits)
  limits = dict.fromkeys(splits, eval_limit)
  limits |= {train_split: train_limit} if train_split else {}
  read = functools.partial(
    load.load, task, data_dir=data_dir, files=files, bad_rows=bad_rows,
    seed=data_seed,
  )  # fmt: skip
  tables, files_of, weights = {}, {}, None
  if task.kind in CORPUS_KINDS:
    files_of = _corpora(limits, data_dir, files, pseudo)
  else:
    taken = collections.defaultdict(lambda: eval_limit, limits)
    tables, weights = _tables(taken, read, data_seed, train_split, pseudo)
  if tokenizer in ('', TRAIN):
    lines = _training_texts(tables, files_of, train_split)
    tokenizer = wordpiece.train(lines, vocab_size, lowercase=lowercase)
  elif not isinstance(tokenizer, Tokenizer):
    tokenizer = tokenizing.get_tokenizer(tokenizer)
  windows = features.Windows(doc_stride, max_query_length)
  settings: dict[str, Any] = dict(
    windows=windows, segments=segments, cache_dir=cache_dir
  )
  examples = {
    split: features.tokenize(table, tokenizer, max_length, **settings)
    for split, table in tables.items()
  }
  for split, paths in files_of.items():
    blocks = _blocks(
      task, paths, tokenizer, max_length, cache_dir,
      copies=copies, sentences=sentences, seed=data_seed,
    )  # fmt: skip
    kept = _limit(len(blocks), limits[split], data_seed)
    examples[split] = blocks if kept is None else _renumbered(blocks, kept)
  notes = _notes(task, tables, examples, max_length, train_split)
  if train_split in tables and task.kind == 'span':
    examples[train_split] = _found(examples[train_split], tables[train_split])
  lengths = bucket_lengths(buckets, max_length)
  share: Any = {'process_index': process_index, 'process_count': process_count}
  train = None
  if train_split:
    learned = dataclasses.replace(examples[train_split], weights=weights)
    if task.form == 'generation':
      learned = features.tokenize(
        tables[train_split], tokenizer, max_length, targets=True, **settings
      )
    learned = hard_lib.read(hard_tokens, learned)
    train = batching.train_batches(learned, batch_size, lengths, seed, **share)
  evals = {
    split: batching.eval_batches(
      examples[split], eval_batch_size, lengths, **share
    )
    for split in splits
  }
  return DataBundle(
    task, tokenizer, train, evals, tables, lengths, notes, train_split,
    transductive=transductive or weights is not None,
  )  # fmt: skip


def bucket_lengths(buckets: Sequence[int], max_length: int) -> tuple[int, ...]:
  """Buckets below max_length, and max_length."""
  return (*sorted({b for b in buckets if 0 < b < max_length}), max_length)


def from_rows(
  task: Task,
  records: Sequence[Mapping],
  tokenizer: Tokenizer,
  *,
  max_length: int = 128,
  buckets: Sequence[int] = (32, 64, 128),
  batch_size: int = 64,
  doc_stride: int | None = None,
  max_query_length: int = 64,
  segments: str | int | None = None,
  source: str = 'rows',
  first: int = 0,
) -> tuple[Table, batching.EvalBatches]:
  """Unlabelled batches of a user's own texts.

  Args:
    records: dicts with the task's columns, and perhaps 'idx' or 'id'.
    source: named in errors.
    first: number of the first row.

  Returns:
    (table, whose notes say which texts are blank and how many are cut; batches)

  Raises:
    ValueError: a column is missing or no text, with the row's number.
  """
  table = load.from_records(task, records, source, first)
  windows = features.Windows(doc_stride, max_query_length)
  examples = features.tokenize(
    table, tokenizer, max_length, windows=windows, segments=segments
  )
  cut = (f'{source}: {note}' for note in encoding_notes(examples, max_length))
  table = dataclasses.replace(table, notes=(*table.notes, *cut))
  lengths = bucket_lengths(buckets, max_length)
  return table, batching.eval_batches(examples, batch_size, lengths)


def _training_texts(tables, files_of, train_split):
  if train_split in files_of:
    return texts.read_lines(files_of[train_split])
  return table_texts(tables.get(train_split))


def table_texts(table: Table | None) -> Iterator[str]:
  """The texts that a vocabulary is trained on: every column of every row.

  Raises:
    ValueError: there is no training split.
  """
  if table is None:
    raise ValueError(
      "data.tokenizer='train' needs a training split; name a tokenizer folder"
    )
  for row in table.rows:
    if table.task.form == 'generation':
      yield prompts.filled(table.task, row) + prompts.target(table.task, row)
      continue
    for column in table.task.columns:
      value = row[column]
      yield ' '.join(value) if isinstance(value, list) else value


def _tables(limits, load_split, seed, train_split, pseudo):
  """({split: its rows}, weights of the training rows or None)."""

  def read(split):
    return _limited(load_split(split), limits[split], seed)

  tables, weights = {split: read(split) for split in list(limits)}, None
  train = tables.get(train_split)
  if train is None:
    return tables, weights
  if not train.labelled:
    train.labels()  # raises: there is nothing to learn from
  if pseudo:
    wanted = pseudo_labels.bind(pseudo)
    given = read(wanted.split)
    tables[train_split], weights = pseudo_labels.added(train, given, wanted)
  return tables, weights


def _corpora(splits, data_dir, files, pseudo):
  """{split: its files}."""
  if pseudo:
    raise ValueError('config.data.pseudo labels rows; a corpus has none')
  return {split: _corpus(split, data_dir, files) for split in splits}


def _corpus(split, data_dir, files):
  if split not in (files or {}):
    raise ValueError(
      f'a corpus needs data.files={{{split!r}: FILE or FOLDER}}; it has '
      f'{sorted(files or {})}'
    )
  root = data_dir or os.environ.get(load.VARIABLE, '')
  return texts.find([os.path.join(root, files[split])])


def _blocks(task, paths, tokenizer, max_length, cache_dir, **cuts) -> Examples:
  """What is learnt from running text; `cuts` are of pairs alone."""
  given: Any = (paths, tokenizer, max_length)
  if task.kind in PAIR_KINDS:
    return sentence_pairs.pairs(
      *given, kind=task.kind, cache_dir=cache_dir, **cuts
    )
  if task.kind == 'sentences':
    return sentence_rows.rows(*given, cache_dir=cache_dir)
  return corpora.blocks(*given, cache_dir=cache_dir)


def _limit(count: int, limit: int | None, seed: int) -> np.ndarray | None:
  if limit is None or limit >= count:
    return None
  if limit < 1:
    raise ValueError(f'a limit of {limit} rows leaves nothing; expected >= 1')
  rng = np.random.Generator(np.random.Philox(key=[seed, count]))
  return np.sort(rng.choice(count, limit, replace=False))


def _limited(table: Table, limit: int | None, seed: int) -> Table:
  kept = _limit(len(table), limit, seed)
  if kept is None:
    return table
  left_out = table.left_out + len(table) - len(kept)
  return dataclasses.replace(table.take(kept), left_out=left_out)


def _renumbered(examples: Examples, kept: np.ndarray) -> Examples:
  idx = np.arange(len(kept), dtype=np.int32)
  return dataclasses.replace(examples.take(kept), idx=idx)


def _found(examples: Examples, table: Table) -> Examples:
  """Windows to learn from: those of a lost answer say nothing true.

  Raises:
    ValueError: none is left.
  """
  found = np.flatnonzero(examples.starts != LOST)
  if not len(found):
    raise ValueError(
      f'{table.path}: no answer of split {table.split!r} lies whole in a '
      'window; raise data.max_length or data.doc_stride'
    )
  return (
    _renumbered(examples, found) if len(found) < len(examples) else examples
  )


def _notes(task, tables, examples, max_length, train_split) -> tuple[str, ...]:
  notes = [note for table in tables.values() for note in table.notes]
  if train_split in tables:
    notes += validate.absent(tables[train_split])
  for split, encoded in examples.items():
    notes += [
      f'{task.name} {split}: {text}'
      for text in encoding_notes(encoded, max_length)
    ]
  return tuple(notes)


def encoding_notes(examples: Examples, max_length: int) -> list[str]:
  """What tokenizing lost of a split: cut texts, answers in no window.

  Args:
    examples: the split.
    max_length: that it was cut to.
  """
  notes = []
  if examples.truncated:
    what = 'examples lost tokens'
    if examples.kind == 'span':
      what = 'contexts were cut to windows'
    total = len(examples) * examples.num_choices
    if examples.example is not None:
      total = len(np.unique(examples.example))
    share = examples.truncated / total
    notes.append(
      f'{examples.truncated} {what} at max_length={max_length} ({share:.1%} of '
      f'{total})'
    )
  if examples.starts is not None:
    lost = len(np.unique(examples.example[examples.starts == LOST]))
    if lost:
      total = len(np.unique(examples.example))
      notes.append(
        f'{lost} of {total} questions ({lost / total:.1%}) have an answer that '
        f'is whole in no window at max_length={max_length}; they are left out '
        'of training'
      )
  if examples.token_labels is not None:
    lost = _words_without_token(examples)
    if lost:
      notes.append(
        f'{lost} words have no token; they are not learnt, and predicted as '
        'no tag'
      )
  return notes


def _words_without_token(examples: Examples) -> int:
  """How many words the tokenizer left out between those that it kept."""
  count = 0
  for low, high in zip(examples.bounds[:-1], examples.bounds[1:]):
    words = examples.word_ids[low:high]
    kept = np.unique(words[words >= 0])
    count += int(kept[-1]) + 1 - len(kept) if len(kept) else 0
  return count
