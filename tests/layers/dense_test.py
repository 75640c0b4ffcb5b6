"""The dense layers' matrix product on flat rows."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.layers import dense


@pytest.mark.parametrize('shape', [(5,), (2, 5), (2, 3, 5), (2, 3, 4, 5)])
def test_equals_a_plain_dense_layer(shape):
  x = jax.random.normal(jax.random.key(0), shape)
  plain = nn.Dense(7)
  flat = nn.Dense(7, dot_general=dense.dot_general)
  variables = plain.init(jax.random.key(1), x)

  def loss(variables, x, module):
    y = module.apply(variables, x)
    return jnp.sin(y).sum(), y

  run = jax.value_and_grad(loss, (0, 1), has_aux=True)
  theirs, mine = run(variables, x, plain), run(variables, x, flat)
  assert mine[0][1].shape == (*shape[:-1], 7)
  for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs)):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_kernel_gradient_sums_over_one_dimension():
  grad = jax.grad(
    lambda w, x: jnp.square(
      dense.dot_general(x, w, (((2,), (0,)), ((), ())))
    ).sum()
  )
  text = jax.jit(grad).lower(jnp.ones((5, 7)), jnp.ones((2, 3, 5))).as_text()
  assert 'tensor<2x3x5xf32>, tensor<5x7xf32>' not in text
  assert 'contracting_dims = [0] x [0]' in text


def test_refuses_other_contractions():
  with pytest.raises(ValueError, match='dimension numbers'):
    dense.dot_general(
      jnp.ones((3, 4)), jnp.ones((3, 5)), (((0,), (0,)), ((), ()))
    )
