"""Fisher information and Gram matrices, gathered over batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.merging import fisher, regmean


def logits_fn(params, batch):
  return jnp.tanh(batch['x']) @ params['w'] + params['b']


def data(rows=6, seed=0):
  rng = np.random.default_rng(seed)
  params = {
    'w': rng.standard_normal((4, 3)).astype(np.float32),
    'b': np.zeros(3, np.float32),
  }
  x = rng.standard_normal((rows, 4)).astype(np.float32)
  return params, {'x': x, 'weight': np.ones(rows, np.float32)}


def test_the_example_kind_is_the_textbook_fisher():
  params, batch = data()
  found = fisher.gather(logits_fn, params, [batch], 6, 'example')
  expected = np.zeros((4, 3))
  for i in range(6):
    row = {'x': batch['x'][i : i + 1]}
    log_p = lambda p, row=row: jax.nn.log_softmax(logits_fn(p, row))[0]
    p = np.exp(log_p(params))
    expected += np.einsum(
      'c,cij->ij', p, np.square(jax.jacobian(log_p)(params)['w'])
    )
  np.testing.assert_allclose(found['w'], expected / 6, rtol=1e-4)


def test_the_batch_kind_squares_the_sum():
  params, batch = data()
  one = fisher.gather(logits_fn, params, [batch], 6)
  total = lambda p: fisher.contributions(logits_fn(p, batch), batch).sum()
  expected = np.square(jax.grad(total)(params)['w']) / 6
  np.testing.assert_allclose(one['w'], expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize('kind', sorted(fisher.KINDS))
@pytest.mark.parametrize('regression', [False, True])
def test_padding_rows_do_not_count(kind, regression):
  params, batch = data()
  batch['labels'] = np.arange(6, dtype=np.float32)
  fn = (lambda p, b: logits_fn(p, b)[:, 0]) if regression else logits_fn
  more = {k: np.concatenate([v, 0 * v[:2] + 3]) for k, v in batch.items()}
  more['weight'][6:] = 0
  a = fisher.gather(fn, params, [batch], 6, kind)
  b = fisher.gather(fn, params, [more], 6, kind)
  np.testing.assert_allclose(a['w'], b['w'], rtol=1e-5, atol=1e-9)
  assert a['w'].max() > 0


def test_gram_counts_padded_positions_but_not_padding_rows():
  x = np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float32)
  flat = x.reshape(-1, 4)
  np.testing.assert_allclose(regmean.gram(x), flat.T @ flat / 15, rtol=1e-5)
  weight = np.float32([1, 0, 1])
  kept = x[[0, 2]].reshape(-1, 4)
  np.testing.assert_allclose(
    regmean.gram(x, weight), kept.T @ kept / 10, rtol=1e-5
  )


def test_batches_are_taken_until_there_are_enough():
  params, batch = data()
  fn = lambda p, b: {'w': regmean.gram(b['x'], b['weight'])}
  twice = regmean.gather(fn, params, iter([batch, batch, None]), 7)
  np.testing.assert_allclose(twice['w'], regmean.gram(batch['x']), rtol=1e-5)
  with pytest.raises(ValueError, match='6 examples; RegMean asks for 7'):
    regmean.gather(fn, params, [batch], 7)
  with pytest.raises(ValueError, match='6 examples; Fisher asks for 7'):
    fisher.gather(logits_fn, params, [batch], 7)
  with pytest.raises(ValueError, match="Fisher kind 'x'"):
    fisher.gather(logits_fn, params, [batch], 6, 'x')
