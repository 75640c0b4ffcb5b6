"""The maths of data selection: features, weights, noise, the draw."""

import hashlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import stats

from glue_jax.data.selection import dsir

TEXTS = ['the cat sat', 'A cat!? 3.14', '', "don't", 'the cat the cat the cat']


def weigh(texts, target, buckets=997, n=2, laplace=0.0):
  hasher = dsir.Hasher(n, buckets)
  ids, sizes = hasher(texts)

  def count(ids):
    return dsir.bucket_counts(ids, buckets)

  p = dsir.probabilities(count(hasher(target)[0])[None], laplace)
  q = dsir.probabilities(count(ids))
  return dsir.log_weights(ids, sizes, dsir.log_ratio(p, q))[:, 0]


@pytest.mark.parametrize(
  'text, expected',
  [
    ("Don't", ['don', "'", 't']),
    ('3.14', ['3', '.', '14']),
    ('Well!?  \tyes\r', ['well', '!?', 'yes']),
    ('日本語 text', ['日本語', 'text']),
    ('', []),
  ],
)
def test_tokens(text, expected):
  assert dsir.tokens(text) == expected


def test_ngrams_of_every_length_in_order():
  words = ['a', 'b', 'c', 'd']
  assert dsir.ngrams(words, 3) == (
    ['a', 'b', 'c', 'd', 'a b', 'b c', 'c d', 'a b c', 'b c d']
  )
  assert dsir.ngrams(words[:1], 3) == ['a']


def test_bucket_is_sha256_of_utf8():
  for gram in ('hello', 'naïve', '', 'a b'):
    number = int(hashlib.sha256(gram.encode()).hexdigest(), 16)
    assert dsir.bucket(gram, 10000) == number % 10000
  buckets = [dsir.bucket(g, 10000) for g in ('hello', 'Hello', 'the cat')]
  assert buckets == [7620, 5049, 143]


def test_a_full_table_changes_nothing():
  small, large = dsir.Hasher(2, 997, limit=3), dsir.Hasher(2, 997)
  for mine, other in zip(small(TEXTS), large(TEXTS)):
    np.testing.assert_array_equal(mine, other)
  assert len(small) <= 3 < len(large)


@pytest.mark.parametrize('n', [1, 2, 3])
def test_lengths_are_token_counts(n):
  _, sizes = dsir.Hasher(n, 97)(TEXTS)
  lengths = dsir.token_counts(sizes, n)
  for length, text in zip(lengths, TEXTS):
    count = len(dsir.tokens(text))
    if count >= n - 1:
      assert length == count


def test_probabilities_sum_to_one_and_reject_nothing():
  counts = np.array([[1, 0, 3], [0, 0, 2]])
  for laplace in (0.0, 0.5):
    probabilities = dsir.probabilities(counts, laplace)
    np.testing.assert_allclose(probabilities.sum(-1), 1)
  np.testing.assert_allclose(
    probabilities[0], [1.5 / 5.5, 0.5 / 5.5, 3.5 / 5.5]
  )
  with pytest.raises(ValueError, match='laplace=-1'):
    dsir.probabilities(counts, -1)
  with pytest.raises(ValueError, match='without a single token'):
    dsir.probabilities(np.zeros(3))


@hypothesis.given(st.permutations(range(len(TEXTS))))
@hypothesis.settings(max_examples=20, deadline=None)
def test_weights_move_with_their_documents(order):
  target = ['the dog sat', 'a cat']
  weights = weigh(TEXTS, target)
  moved = weigh([TEXTS[i] for i in order], target)
  np.testing.assert_array_equal(moved, weights[list(order)])


def test_a_weight_does_not_depend_on_its_neighbours():
  rng = np.random.default_rng(0)
  sizes = rng.integers(0, 200, 50)
  ids = rng.integers(0, 997, sizes.sum())
  log_diff = rng.normal(size=(2, 997)) * 10
  whole = dsir.log_weights(ids, sizes, log_diff)
  ends = np.cumsum(sizes)
  for i, (size, end) in enumerate(zip(sizes, ends)):
    alone = dsir.log_weights(ids[end - size : end], [size], log_diff)
    np.testing.assert_array_equal(alone[0], whole[i])
    expected = log_diff[:, ids[end - size : end]].sum(1)
    np.testing.assert_allclose(alone[0], expected, rtol=1e-10, atol=1e-10)


def test_noise_is_a_function_of_seed_target_and_id():
  ids = np.arange(1000)
  noise = dsir.gumbel(3, 0, ids)
  for size in (1, 7, 999):  # whatever the vector unit does at the ends
    part = dsir.gumbel(3, 0, ids[size:])
    np.testing.assert_array_equal(part, noise[size:])
  order = np.random.default_rng(0).permutation(1000)
  np.testing.assert_array_equal(dsir.gumbel(3, 0, order), noise[order])
  for other in (dsir.gumbel(4, 0, ids), dsir.gumbel(3, 1, ids)):
    assert abs(np.corrcoef(noise, other)[0, 1]) < 0.15


def test_noise_is_gumbel():
  noise = dsir.gumbel(0, 0, np.arange(50000) + (1 << 40))
  assert np.isfinite(noise).all()
  assert stats.kstest(noise, 'gumbel_r').pvalue > 1e-3
  # Neighbouring ids and seeds are not alike.
  assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.02
  seeds = [dsir.gumbel(s, 0, np.array([7]))[0] for s in range(3000)]
  assert stats.kstest(seeds, 'gumbel_r').pvalue > 1e-3


def test_top_one_frequencies_are_the_softmax():
  weights = np.array([[0.3], [-1.0], [1.2]])
  counts = np.zeros(3)
  ids, draws = np.arange(3), 20000
  for seed in range(draws):

    def noise(target, ids, s=seed):
      return dsir.gumbel(s, target, ids)

    counts[np.argmax(weights[:, 0] + noise(0, ids))] += 1
    if seed < 50:
      taken = dsir.select(weights, np.ones(3, bool), [1], noise)
      assert np.argmax(taken) == np.argmax(weights[:, 0] + noise(0, ids))
  softmax = np.exp(weights[:, 0]) / np.exp(weights[:, 0]).sum()
  np.testing.assert_allclose(counts / draws, softmax, atol=0.02)


def test_equal_distributions_select_uniformly():
  texts = [f'{word} {word}' for word in 'abcdefgh'] * 5
  weights = weigh(texts, texts)
  np.testing.assert_array_equal(weights, 0)
  counts = np.zeros(40)
  for seed in range(400):

    def noise(target, ids, s=seed):
      return dsir.gumbel(s, target, ids)

    counts += dsir.select(weights[:, None], np.ones(40), [10], noise) > 0
  assert counts.sum() == 4000
  # A draw without replacement varies less than this test's multinomial.
  assert stats.chisquare(counts).pvalue > 1e-3
  assert counts.std() > 3


KEYS = st.lists(
  st.sampled_from([-np.inf, -2.5, -0.0, 0.0, 1e-300, 3.0]) | st.floats(-9, 9),
  min_size=1,
  max_size=40,
)


@hypothesis.given(KEYS, st.data())
@hypothesis.settings(deadline=None, max_examples=100)
def test_the_cut_gives_the_largest_keys_lowest_ids_first(keys, data):
  keys = np.array(keys)
  k = data.draw(st.integers(0, len(keys)))
  parts = np.array_split(keys, 3)
  cut = dsir.Cut(k)
  while not cut.found:
    cut.narrow(sum(cut.histogram(part) for part in parts))
  above, equal = cut.split(keys)
  mine = np.sort(
    np.concatenate([np.flatnonzero(above), np.flatnonzero(equal)[: cut.ties]])
  )
  ranked = sorted(range(len(keys)), key=lambda i: (-keys[i], i))[:k]
  assert mine.tolist() == sorted(ranked)


def test_the_cut_needs_enough_keys():
  cut = dsir.Cut(3)
  with pytest.raises(ValueError, match='3 keys wanted, there are 2'):
    cut.narrow(cut.histogram(np.zeros(2)))


def test_selection_in_blocks_of_any_size(monkeypatch):
  rng = np.random.default_rng(1)
  weights, valid = rng.normal(size=(500, 3)), rng.random(500) < 0.8

  def noise(target, ids):
    return dsir.gumbel(5, target, ids)

  results = []
  for block in (7, 100, 1 << 18):
    monkeypatch.setattr(dsir, '_BLOCK', block)
    results.append(dsir.select(weights, valid, [20, 0, 90], noise))
  for other in results[1:]:
    np.testing.assert_array_equal(other, results[0])
  taken = results[0]
  assert [np.sum(taken == mark) for mark in (1, 2, 3)] == [20, 0, 90]
  assert not taken[~valid].any()


def test_targets_take_in_turn():
  weights = np.array([[5.0, 9.0], [4.0, 8.0], [0.0, 7.0], [1.0, 0.0]])
  taken = dsir.select(weights, np.ones(4), [2, 1], None)
  assert taken.tolist() == [1, 1, 2, 0]


def test_all_valid_documents_may_be_taken_but_not_more():
  valid = np.array([1, 0, 1, 1], bool)
  taken = dsir.select(np.zeros((4, 1)), valid, [3], None)
  np.testing.assert_array_equal(taken > 0, valid)
  with pytest.raises(ValueError, match='4 documents wanted, 3 are valid'):
    dsir.select(np.zeros((4, 1)), valid, [4], None)


def test_shares():
  assert dsir.split_k(10, [1, 1, 1]) == [3, 3, 4]
  assert dsir.split_k(14, [155, 42]) == [11, 3]
  with pytest.raises(ValueError, match='positive'):
    dsir.split_k(10, [1, 0])


def test_kl():
  p, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])
  assert dsir.kl_divergence(p, q) == pytest.approx(np.log(2), abs=1e-6)
  assert dsir.kl_divergence(p, p) == 0
  reduction = dsir.kl_reduction(np.stack([p, q]), q, p)
  one = dsir.kl_divergence(p, q)
  other = -dsir.kl_divergence(q, p)
  assert reduction == pytest.approx((one + other) / 2)
