"""Lines of a Markov chain: a text whose entropy is known exactly.

Every word has a few successors of Dirichlet(1) weights; the first word of a
line is uniform.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

# A syllable each, so that one token each is what the tokenizer learns.
NAMES = [a + b for a in 'bcdfghjklmnpqrstvwxz' for b in 'aeiou']


def transitions(seed: int, words: int, successors: int) -> np.ndarray:
  """Draws the chain: P(next | word), (words, words).

  Args:
    seed: of the draws.
    words: how many there are, up to 100.
    successors: of each.
  """
  rng = np.random.default_rng(seed)
  chain = np.zeros((words, words))
  for row in chain:
    row[rng.choice(words, successors, replace=False)] = rng.dirichlet(
      np.ones(successors)
    )
  return chain


def entropy(chain: np.ndarray, place: int) -> float:
  """H(x_t | x_t-1, x_t+1) in nats at t = place."""
  words = len(chain)
  before = np.full(words, 1 / words) @ np.linalg.matrix_power(chain, place - 1)
  joint = before[:, None, None] * chain[:, :, None] * chain[None]
  pair = joint.sum(1, keepdims=True)
  share = np.divide(joint, pair, out=np.ones_like(joint), where=joint > 0)
  return float(-(joint * np.log(share)).sum())


def lines(chain: np.ndarray, count: int, length: int, seed: int) -> list[str]:
  """Draws `count` lines of `length` words."""
  rng = np.random.default_rng(seed)
  cumulative = chain.cumsum(1)
  word, columns = rng.integers(0, len(chain), count), []
  for _ in range(length):
    columns.append(word)
    luck = rng.random(count)[:, None] * cumulative[word][:, -1:]
    word = (luck >= cumulative[word]).sum(1)
  return [' '.join(NAMES[i] for i in row) for row in np.stack(columns, 1)]


def write(folder: pathlib.Path, texts: Mapping[str, list[str]]) -> None:
  """Writes the splits of a corpus, {split: its lines}, a folder each."""
  for split, rows in texts.items():
    path = folder / split / 'chain.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(rows) + '\n')


def section(
  folder: pathlib.Path, length: int, rows: int, vocabulary: int = 200
) -> dict[str, Any]:
  """Returns the `data` section of a run on train/ and valid/ of a corpus.

  Args:
    folder: of `write`.
    length: tokens of a line.
    rows: of a batch.
    vocabulary: largest size of the tokenizer that is trained.
  """
  return dict(
    files=dict(train=str(folder / 'train'), validation=str(folder / 'valid')),
    tokenizer='train',
    vocab_size=vocabulary,
    max_length=length,
    buckets=(length,),
    batch_size=rows,
    eval_batch_size=128,
  )
