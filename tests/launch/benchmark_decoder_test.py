"""The benchmark of decoders: what it makes of logits."""

import numpy as np
import pytest

from launch.benchmarks import decoder


def test_perplexity_and_accuracy_of_known_logits():
  """Over several batches: uniform logits, and logits that name a token."""
  rows, length, words = 2 * decoder.BATCH + 1, 3, 5
  ids = np.zeros((rows, length), np.int32)

  def uniform(ids, mask):
    assert ids.shape == mask.shape
    return np.zeros((*ids.shape, words), np.float32)

  asked = decoder.Asked(ids, ids + 1, ids[..., None] + 2)
  found = decoder.likelihoods(uniform, asked)
  assert decoder.judged(asked, found) == pytest.approx(words)

  def second(ids, mask):
    return uniform(ids, mask) + (np.arange(words) == 2)

  wanted = np.full((rows, length, 2), -1)
  wanted[:, -1] = [1, 2]
  labels = np.arange(rows) % 2
  asked = decoder.Asked(ids, ids + 1, wanted, labels)
  found = decoder.likelihoods(second, asked)
  assert (found[:, :-1] == 0).all()
  assert decoder.judged(asked, found) == pytest.approx(labels.mean())
