"""BART's noise against fairseq's steps, written out for one row at a time."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.objectives import infill
from tests import quick

MASK, PAD, LENGTH = 98, 1, 24
# Words of one to three pieces between special tokens; padding behind.
SIZES = ((1, 2, 1, 3, 1, 1, 2, 1, 1, 2, 1), (2, 1, 1, 3, 1), (1, 1, 1))


def rows():
  ids = np.full((len(SIZES), LENGTH), PAD, np.int32)
  words = np.full_like(ids, -1)
  for row, sizes in enumerate(SIZES):
    numbers = [word for word, size in enumerate(sizes) for _ in range(size)]
    text = 10 + 20 * row + np.arange(len(numbers))
    ids[row, : len(text) + 2] = [0, *text, 2]
    words[row, 1 : len(text) + 1] = numbers
  return ids, words, ids != PAD


def by_hand(ids, words, noise, row, rate):
  """The steps of fairseq's `add_whole_word_mask`, masks put in last."""
  count = words.max() + 1
  budget, lengths, total = math.ceil(rate * count), [], 0
  for length in noise.lengths[row]:
    if total >= budget:
      break
    lengths.append(min(length, budget - total))
    total += lengths[-1]
  spans = [length for length in lengths if length > 0]
  begins = np.argsort(noise.words[row, :count])[: len(spans)]
  hidden, inner = set(), set()
  for begin, length in zip(begins, spans):
    hidden |= set(range(begin, begin + length))
    inner |= set(range(begin + 1, begin + length))
  out, done = [], set()
  for token, word in zip(ids, words):
    if word not in hidden:
      out.append(token)
    elif word not in inner and word not in done:
      done.add(word)
      out.append(MASK)
  inserts = min(len(lengths) - len(spans), LENGTH - len(out))
  after = len(out) + inserts
  luck = np.full(LENGTH, np.inf)
  luck[1 : after - 1] = noise.places[row, 1 : after - 1]
  new = set(np.argsort(luck)[:inserts].tolist())
  rest = iter(out)
  return [MASK if at in new else next(rest) for at in range(after)]


def test_spans_and_insertions_are_fairseqs():
  ids, words, mask = rows()
  run = quick.jit(infill.infilled, static_argnums=(4, 5, 6))
  put_in = 0
  for seed in range(12):
    rate = (0.3, 0.6)[seed % 2]
    # Short spans, so that many are empty.
    noise = infill.draw(jax.random.key(seed), ids.shape, 0.8)
    found, real = jax.device_get(run(ids, words, mask, noise, rate, MASK, PAD))
    noise = jax.device_get(noise)
    for row in range(len(ids)):
      n = mask[row].sum()
      wanted = by_hand(ids[row, :n], words[row, :n], noise, row, rate)
      assert found[row][real[row]].tolist() == wanted
      assert wanted[0] == 0 and wanted[-1] == 2
      assert (found[row][~real[row]] == PAD).all()
      put_in += len(wanted) > n
  assert put_in


def test_lengths_are_poisson():
  noise = infill.draw(jax.random.key(0), (100, 100), 3.0)
  lengths = np.asarray(noise.lengths)
  assert abs(lengths.mean() - 3) < 0.06 and abs(lengths.var() - 3) < 0.2
  shares = np.bincount(lengths.ravel(), minlength=5)[:5] / lengths.size
  exact = [math.exp(-3) * 3**k / math.factorial(k) for k in range(5)]
  np.testing.assert_allclose(shares, exact, atol=0.015)


def test_sentences_change_places_whole():
  stop = 9
  text = [11, 12, stop, 13, stop, stop, 14, 15]
  ids = np.array([[0, *text, 2, PAD]], np.int32)
  words = np.array([[-1, *range(8), -1, -1]])
  luck = jnp.array([[0.5, 0.1, 0.3, *([0.0] * 8)]])
  moved, numbers = infill.permuted(
    jnp.asarray(ids), jnp.asarray(words), luck, [stop]
  )
  # Sentences: 11 12 ., 13 ., . 14 15; a stop after a stop begins one.
  wanted = [13, stop, stop, 14, 15, 11, 12, stop]
  assert moved[0].tolist() == [0, *wanted, 2, PAD]
  assert numbers[0].tolist() == [-1, 3, 4, 5, 6, 7, 0, 1, 2, -1, -1]
