"""The paper's quality filter."""

import pytest

from glue_jax.data.selection import filters


def test_figures():
  quality = filters.quality(['the', 'cat', '.', '3', 'cat'])
  assert quality == filters.Quality(5, 0.4, 0.6, 0.8)
  assert not quality.good
  assert filters.quality([]).good is False


def words(length, stop, digits=0, most=3):
  """Tokens: `stop` stop words, `digits` digits, one word `most` times."""
  pool = sorted(w for w in filters.UNINFORMATIVE if w.isalpha() and len(w) > 1)
  other = length - stop - digits - most
  return (
    [pool[i % len(pool)] for i in range(stop)]
    + [str(i % 10) for i in range(digits)]
    + [f'word{i}' for i in range(other)]
    + ['often'] * most
  )


@pytest.mark.parametrize(
  'tokens, good',
  [
    (words(100, 50), True),
    (words(40, 20), False),  # too short
    (words(41, 20), True),
    (words(500, 250, most=20), False),  # too long
    (words(499, 250, most=20), True),
    (words(100, 50, most=2), False),  # 0.02 is a list, not text
    (words(100, 50, most=20), False),  # repeats itself
    (words(100, 50, most=19), True),
    (words(100, 70), False),  # little is said
    (words(100, 69), True),
    (words(100, 30), True),
    (words(100, 29), False),  # 1 - 0.29 > 0.7: key words only
    (words(100, 50, 20), False),  # a table of digits
    (words(100, 50, 19), True),
  ],
)
def test_bounds_are_strict(tokens, good):
  informative = filters.quality(tokens).informative
  expected = good and 0.3 < informative < 0.7
  assert filters.quality(tokens).good is expected


def test_the_list_has_179_words():
  alone = [w for w in filters.UNINFORMATIVE if w[0].isalpha()]
  assert len(alone) == 179
  assert filters.good('word ' * 100) is False
