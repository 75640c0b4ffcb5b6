"""Pairs of sentence runs from a corpus, for what is told from [CLS].

Consecutive sentences (lines) of a document, which is a file, fill a chunk up to
the target length; a chunk is cut at a random sentence border into A and B. What
becomes of B is the pair's label, each as often as the others:

  sentence_structure  0 next, 1 swapped, 2 of another chunk (StructBERT, Wang et
                      al. 2019, arXiv 1908.04577, as PoNet's official data tool
                      has it, arXiv 2110.02442)
  next_sentence       0 next, 1 of another document (BERT, Devlin et al. 2018,
                      arXiv 1810.04805; of another chunk, if there is but one
                      document)
  sentence_order      0 next, 1 swapped (ALBERT, Lan et al. 2019, arXiv
                      1909.11942)

A tenth of the chunks have a random shorter target. What is too long loses
tokens from its longer side, at a random end. Other than in BERT's tool, the
sentences behind A that another document's take the place of aren't used again.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from glue_jax.data import segments
from glue_jax.data.cache import cached
from glue_jax.data.examples import Examples
from glue_jax.data.readers import texts
from glue_jax.data.readers.files import Log, lines_or_blank
from glue_jax.data.tokenizer import Tokenizer

LABELS = {
  'sentence_structure': ('next', 'swapped', 'other'),
  'next_sentence': ('next', 'other'),
  'sentence_order': ('next', 'swapped'),
}
SENTENCES = ('line', 'rule')
_SPECIALS = 3
_SHORT = 0.1

# A sentence: its ids, and where its words begin.
Sentence = tuple[np.ndarray, np.ndarray]


def pairs(
  files: Sequence[str | os.PathLike],
  tokenizer: Tokenizer,
  max_length: int = 128,
  *,
  kind: str = 'sentence_structure',
  copies: int = 1,
  sentences: str = 'line',
  seed: int = 0,
  cache_dir: str | os.PathLike | None = None,
) -> Examples:
  """Pairs of all files.

  Args:
    files: text files or folders of them, a sentence a line.
    max_length: tokens of a pair, [CLS] and two [SEP] counted.
    kind: a key of `LABELS`.
    copies: times the corpus is gone over, each with other cuts (the official
      `dupe_factor`, 5 there).
    sentences: 'line': a sentence a line; 'rule': the lines of a paragraph run
      on and are cut by the rule of glue_jax/data/segments.py.
    seed: of the cuts.
    cache_dir: as in features.tokenize.

  Returns:
    Examples with labels as the module says, word_ids as in `corpora.blocks`
    and segment_ids as in glue_jax/data/segments.py: [CLS], each sentence of A,
    [SEP], each of B, [SEP].

  Raises:
    ValueError: max_length below 8, copies below 1, another way to tell
      sentences, or fewer than two sentences.
  """
  if max_length < 8 or copies < 1:
    raise ValueError(
      f'max_length={max_length}, copies={copies}; expected at least 8 and 1'
    )
  if sentences not in SENTENCES:
    raise ValueError(
      f'data.sentences={sentences!r}; expected one of {SENTENCES}'
    )
  paths = texts.find(files)
  key: list[Any] = [
    'sentence_pairs',
    texts.digest(paths),
    tokenizer.fingerprint,
  ]
  key += [kind, max_length, copies, sentences, seed]
  read = _READ[sentences]

  def make():
    return _pairs(paths, tokenizer, kind, max_length, copies, read, seed)

  return cached(make, key, cache_dir)


def _pairs(files, tokenizer, kind, max_length, copies, read, seed) -> Examples:
  documents = [_sentences(read(path), tokenizer) for path in files]
  if sum(map(len, documents)) < 2:
    raise ValueError(f'{", ".join(map(str, files))}: fewer than two sentences')
  rng = np.random.Generator(np.random.Philox(key=[seed, max_length]))
  room = max_length - _SPECIALS
  rows, labels = [], []
  for _ in range(copies):
    chunks, homes = _all_chunks(documents, room, rng)
    for i in rng.permutation(len(chunks)):
      a, b, label = _cut(i, chunks, homes[i], kind, rng)
      rows.append(_assemble(_shorten(a, b, room, rng), tokenizer))
      labels.append(label)
  if not rows:
    raise ValueError(
      f'no two sentences fit into max_length={max_length}; raise it'
    )

  def flat(k):
    return np.concatenate([row[k] for row in rows])

  bounds = np.cumsum([0, *(len(row[0]) for row in rows)])
  return Examples(
    kind=kind,
    pad_id=tokenizer.pad_id,
    ids=flat(0),
    type_ids=flat(1).astype(np.int8),
    bounds=bounds,
    idx=np.arange(len(rows), dtype=np.int32),
    labels=np.array(labels, np.int32),
    word_ids=flat(2),
    segment_ids=flat(3),
  )


def _by_rule(path) -> list[str]:
  sentences, paragraph = [], []
  log = Log(path)
  for _, text in (*lines_or_blank(path, log), (0, '')):
    if text:
      paragraph.append(text.strip())
    elif paragraph:
      whole, paragraph = ' '.join(paragraph), []
      cuts = [*segments.starts(whole, 'sentence'), len(whole)]
      sentences += [whole[a:b] for a, b in itertools.pairwise(cuts)]
  return sentences


_READ = {
  'line': lambda path: list(texts.read_lines([path])),
  'rule': _by_rule,
}


def _sentences(lines, tokenizer) -> list[Sentence]:
  encoded = tokenizer.encode(
    lines, max_length=texts.NO_LIMIT, extras=('word_ids',)
  )
  sentences = []
  for low, high in zip(encoded.bounds[:-1], encoded.bounds[1:], strict=True):
    word = encoded.word_ids[low:high]
    real = word >= 0
    begins = word != np.concatenate([[-1], word[:-1]])
    if real.any():
      sentences.append((encoded.ids[low:high][real], begins[real]))
  return sentences


def _all_chunks(documents, room, rng):
  """Chunks of two sentences or more; and of each, which are its document's."""
  chunks: list[list[Sentence]] = []
  homes: list[tuple[int, int]] = []
  for document in documents:
    own = [c for c in _chunks(document, room, rng) if len(c) > 1]
    homes += [(len(chunks), len(chunks) + len(own))] * len(own)
    chunks += own
  return chunks, homes


def _chunks(document, room, rng) -> Iterator[list[Sentence]]:
  """Runs of sentences that just reach their target length."""

  def draw():
    return int(rng.integers(2, room + 1)) if rng.random() < _SHORT else room

  chunk, size, target = [], 0, draw()
  for sentence in document:
    chunk.append(sentence)
    size += len(sentence[0])
    if size >= target:
      yield chunk
      chunk, size, target = [], 0, draw()
  if chunk:
    yield chunk


def _cut(
  i, chunks, home, kind, rng
) -> tuple[list[Sentence], list[Sentence], int]:
  chunk, labels = chunks[i], LABELS[kind]
  border = int(rng.integers(1, len(chunk)))
  a, b = chunk[:border], chunk[border:]
  label = int(rng.integers(len(labels)))
  if labels[label] == 'other' and len(chunks) == 1:
    label = 0
  if labels[label] == 'swapped':
    a, b = b, a
  elif labels[label] == 'other':
    # Of the chunks behind its own, or behind its own document's, in a ring.
    low, high = i, i + 1
    if kind == 'next_sentence' and home != (0, len(chunks)):
      low, high = home
    strangers = len(chunks) - (high - low)
    other = chunks[(high + int(rng.integers(strangers))) % len(chunks)]
    b = other[int(rng.integers(1, len(other))) :]
  return a, b, label


def _shorten(a, b, room, rng) -> tuple[list[Sentence], list[Sentence]]:
  sizes = [sum(len(ids) for ids, _ in side) for side in (a, b)]
  drops = [0, 0]
  while sum(sizes) > room:
    longer = 0 if sizes[0] > sizes[1] else 1
    sizes[longer] -= 1
    drops[longer] += 1
  front = [int(rng.binomial(n, 0.5)) for n in drops]
  a, b = (
    _trim(_trim(side, first)[::-1], n - first, back=True)[::-1]
    for side, first, n in zip((a, b), front, drops, strict=True)
  )
  return a, b


def _trim(side, drop, back=False) -> list[Sentence]:
  """Takes tokens off the first sentences, from their front or back."""
  side = list(side)
  while drop:
    ids, begins = side.pop(0)
    if len(ids) > drop:
      kept = slice(None, len(ids) - drop) if back else slice(drop, None)
      side.insert(0, (ids[kept], begins[kept]))
      break
    drop -= len(ids)
  return side


def _assemble(sides, tokenizer) -> tuple[np.ndarray, ...]:
  """ids, type ids, word ids and segment ids of a pair."""
  parts: list[Sequence[int] | np.ndarray] = [[tokenizer.cls_id]]
  types: list[Any] = [[0]]
  words: list[Any] = [[-1]]
  segments: list[Any] = [[0]]
  word, segment = 0, 0
  for which, side in enumerate(sides):
    for ids, begins in side:
      # The rest of a word that was cut still is a word.
      begins = np.concatenate([[True], begins[1:]])
      number = word + np.cumsum(begins)
      word, segment = int(number[-1]), segment + 1
      parts.append(ids)
      types.append(np.full(len(ids), which))
      words.append(number - 1)
      segments.append(np.full(len(ids), segment))
    segment += 1
    parts.append([tokenizer.sep_id])
    types.append([which])
    words.append([-1])
    segments.append([segment])
  return tuple(
    np.concatenate(x).astype(np.int32) for x in (parts, types, words, segments)
  )
