"""Plain text files to blocks of tokens, for objectives of plain text.

Lines of a file run on, and a block is cut every block_length - 2 tokens and
put between [CLS] and [SEP] (Liu et al. 2019, arXiv 1907.11692, FULL-SENTENCES:
blocks are full, and documents are divided by a separator). A file ends with
[SEP], so a block that holds the end of one file and the start of the next has
the separator between them. Of a tokenizer without [CLS], a decoder's or T5's,
blocks are cut from the stream as it is, with the end token between files.
"""

import os
from collections.abc import Sequence

import numpy as np

from glue_jax.data.cache import cached
from glue_jax.data.examples import Examples
from glue_jax.data.readers import texts
from glue_jax.data.tokenizer import Tokenizer


def blocks(
  files: Sequence[str | os.PathLike],
  tokenizer: Tokenizer,
  block_length: int = 128,
  *,
  cache_dir: str | os.PathLike | None = None,
) -> Examples:
  """Blocks of all files.

  Args:
    files: text files or folders of them.
    block_length: tokens in a block, [CLS] and [SEP] counted.
    cache_dir: as in features.tokenize.

  Returns:
    Examples with word_ids, counted through the block: pieces of one word
    have one number, special tokens -1. The last block may be shorter.

  Raises:
    ValueError: block_length below 8.
  """
  if block_length < 8:
    raise ValueError(f'block_length={block_length}; expected at least 8')
  paths = texts.find(files)
  key = ['blocks', texts.digest(paths), tokenizer.fingerprint, block_length]
  return cached(lambda: _blocks(paths, tokenizer, block_length), key, cache_dir)


def _blocks(files, tokenizer, block_length) -> Examples:
  parts = [_stream(path, tokenizer) for path in files]
  ids = np.concatenate([ids for ids, _ in parts])
  begins = np.concatenate([begins for _, begins in parts])
  # The separator after the very last file is the block's own.
  ids, begins = ids[:-1], begins[:-1]
  edges = 2 if 'cls' in tokenizer.ids else 0
  room = block_length - edges
  count = -(-len(ids) // room)
  sizes = np.full(count, room)
  sizes[-1] = len(ids) - room * (count - 1)
  bounds = np.concatenate([[0], np.cumsum(sizes + edges)]).astype(np.int64)
  out = np.full(bounds[-1], tokenizer.ids.get('cls', 0), np.int32)
  words = np.full(bounds[-1], -1, np.int32)
  block = np.arange(len(ids)) // room
  at = np.arange(len(ids)) + edges * block + edges // 2
  out[bounds[1:] - 1] = _separator(tokenizer)
  out[at] = ids
  # Words are counted from the start of the block that they are cut by.
  number = np.cumsum(begins)
  words[at] = number - number[block * room]
  words[at[ids == _separator(tokenizer)]] = -1
  return Examples(
    kind='language_modeling',
    pad_id=tokenizer.pad_id,
    ids=out,
    type_ids=np.zeros(len(out), np.int8),
    bounds=bounds,
    idx=np.arange(count, dtype=np.int32),
    word_ids=words,
  )


def _stream(path, tokenizer) -> tuple[np.ndarray, np.ndarray]:
  """(ids, word begins) of one file, with a separator at the end."""
  lines = list(texts.read_lines([path]))
  encoded = tokenizer.encode(
    lines, max_length=texts.NO_LIMIT, extras=('word_ids',)
  )
  word = encoded.word_ids
  real = word >= 0
  new = word != np.concatenate([[-1], word[:-1]])
  ids, begins = encoded.ids[real], new[real]
  return (
    np.append(ids, np.int32(_separator(tokenizer))),
    np.append(begins, True),
  )


def _separator(tokenizer):
  return tokenizer.sep_id if 'cls' in tokenizer.ids else tokenizer.end_id
