"""Local noise of E2S2: words that change places, tokens that are replaced.

Zhong et al. 2022, arXiv 2205.14912; what is not in its abstract is as the
authors' code has it (WHU-ZQH/E2S2 at 04498ef). Both act on a row that text
infilling, or span corruption, has been through; neither changes its length.

Shuffling walks through the row's words, special tokens left out, in windows of
3 int(1 / (3 share)) words, and draws one of each; it becomes a centre if it is
a single piece between two tokens that aren't special. The first
max(1, round(share n)) centres, of n tokens, are taken: so the noise falls on a
row's beginning. At each of them three tokens are put in one of their six
orders, which may be the one they had. Replacing draws ceil(share n) places, and
writes an id of the vocabulary from its third on at those that shuffling has
left as they were; a [MASK] may be replaced, other special tokens are not (in
the code: what is between the first and the last one).
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.objectives.seq2seq_lm import packed

# What a token is: special, a further piece of a word, or a word's first one.
SPECIAL, PIECE, START = 0, 1, 2
# The orders of three tokens.
ORDERS = np.array(
  [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
)
# The code's budget is that of a row of so many tokens, however long it is.
_LONGEST = 512
# Ids from here on are written.
_FIRST = 2


class Noise(NamedTuple):
  """What is drawn of a batch; W windows.

  Attributes:
    centres: (B, W) in [0, 1), which word of a window is drawn.
    orders: (B, W) int, which of ORDERS.
    places: (B, L) float, where tokens are replaced: the lowest first.
    tokens: (B, L) int, what is written there.
  """

  centres: jax.Array
  orders: jax.Array
  places: jax.Array
  tokens: jax.Array


def check_rows(batch: Mapping[str, jax.Array], weight: float) -> None:
  """Refuses a batch of one row, which has no other to be compared with.

  Args:
    batch: input_ids (B, L).
    weight: of the comparison; 0 = there is none.

  Raises:
    ValueError: B is 1, and the weight isn't 0.
  """
  if weight and len(batch['input_ids']) == 1:
    raise ValueError(
      'objective "e2s2" compares the rows of a batch, and each (of '
      'train.accumulate, too) has a single one; give a larger '
      'data.batch_size, or objective.contrastive_weight=0'
    )


def kinds(words: jax.Array) -> jax.Array:
  """Returns what each token is: (B, L) int, one of the three above.

  Args:
    words: (B, L) number of each token's word, -1 at special tokens.
  """
  before = jnp.pad(words, ((0, 0), (1, 0)), constant_values=-2)[:, :-1]
  return jnp.where(words < 0, SPECIAL, jnp.where(words != before, START, PIECE))


def window(share: float) -> int:
  """Returns how many words one centre is drawn from.

  Args:
    share: of the tokens that are centres, above 0 and up to 1/3.
  """
  return 3 * int(1 / (3 * share))


def draw(
  rng: jax.Array, shape: tuple[int, int], share: float, vocab_size: int
) -> Noise:
  """Draws the noise of a batch.

  Args:
    rng: typed key.
    shape: (B, L).
    share: of the centres; 0 = none, and then there are no windows.
    vocab_size: ids are below it.
  """
  keys = jax.random.split(rng, 4)
  rows, length = shape
  windows = rows, math.ceil(length / window(share)) if share else 0
  return Noise(
    jax.random.uniform(keys[0], windows),
    jax.random.randint(keys[1], windows, 0, len(ORDERS)),
    jax.random.uniform(keys[2], shape),
    jax.random.randint(keys[3], shape, _FIRST, vocab_size),
  )


def shuffled(
  ids: jax.Array, kind: jax.Array, count: jax.Array, noise: Noise, share: float
) -> jax.Array:
  """Returns ids with tokens around the centres in other orders: (B, L).

  Args:
    ids: (B, L).
    kind: (B, L), see `kinds`.
    count: (B,) real tokens of each row.
    noise: see `Noise`.
    share: of the centres.
  """
  places, there = _centres(kind, noise.centres, window(share))
  rows = jnp.arange(len(ids))[:, None]
  sides = (jnp.take_along_axis(kind, at, 1) for at in (places - 1, places + 1))
  for side in sides:
    there &= side != SPECIAL
  most = math.ceil(3 * share * _LONGEST / 10) * 10 // 3
  lengths = share * np.arange(ids.shape[1] + 1)
  budget = jnp.asarray(np.clip(np.round(lengths), 1, most).astype(int))
  there &= jnp.cumsum(there, -1) <= budget[count][:, None]

  # One after the other: two centres may have a token in common.
  def turned(ids, centre):
    place, order, on = centre
    around = place[:, None] + jnp.arange(-1, 2)
    old = jnp.take_along_axis(ids, around, 1)
    new = jnp.take_along_axis(old, jnp.asarray(ORDERS)[order], 1)
    return ids.at[rows, around].set(jnp.where(on[:, None], new, old)), None

  centres = places.T, noise.orders.T, there.T
  return jax.lax.scan(turned, ids, centres)[0]


def _centres(kind, luck, width):
  """Places of the words that windows draw, and whether they are one piece.

  Args:
    kind: (B, L).
    luck: (B, W), see `Noise.centres`.
    width: words of a window.

  Returns:
    (B, W) int and bool; places are inside the row, not at its ends.
  """
  length = kind.shape[1]
  text = kind != SPECIAL
  # Side by side: each token of the text, its kind and its place.
  kinds_, at = (
    packed(x, text, length, SPECIAL)
    for x in (kind, jnp.broadcast_to(jnp.arange(length), kind.shape))
  )
  # A row's first token begins a word, whatever it is.
  begins = (kinds_ == START).at[:, 0].set(text.any(-1))
  after = jnp.pad(kinds_, ((0, 0), (0, 1)))[:, 1:]
  first = packed(at, begins, length, 0)
  single = packed((after != PIECE) & begins, begins, length, False)
  words = begins.sum(-1, keepdims=True)
  start = width * jnp.arange(luck.shape[1])
  size = jnp.clip(words - start, 0, width)
  word = start + jnp.minimum((luck * size).astype(jnp.int32), size - 1)
  word = jnp.clip(word, 0, length - 1)
  place = jnp.take_along_axis(first, word, 1)
  there = jnp.take_along_axis(single, word, 1) & (size > 0)
  inside = (place > 0) & (place < length - 1)
  return jnp.clip(place, 1, length - 2), there & inside


def replaced(
  ids: jax.Array,
  still: jax.Array,
  open_: jax.Array,
  count: jax.Array,
  noise: Noise,
  share: float,
) -> tuple[jax.Array, jax.Array]:
  """Returns ids with tokens replaced, and where: twice (B, L).

  Args:
    ids: (B, L).
    still: (B, L) bool, tokens that shuffling has left as they were.
    open_: (B, L) bool, places that may be drawn.
    count: (B,) real tokens of each row.
    noise: see `Noise`.
    share: of the tokens to draw.
  """
  lengths = np.arange(ids.shape[1] + 1)
  budget = jnp.asarray(np.ceil(share * lengths).astype(int))[count]
  order = jnp.argsort(jnp.where(open_, noise.places, jnp.inf), -1)
  drawn = jnp.argsort(order, -1) < budget[:, None]
  new = drawn & open_ & still
  return jnp.where(new, noise.tokens, ids), new
