"""A state for each leaf: the same updates, and a count of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from glue_jax import tree
from glue_jax.optim.per_leaf_count import by_leaf

PARAMS = {'a': {'kernel': jnp.ones((2, 3)), 'bias': jnp.ones(3)}}
GRADS = {'a': {'kernel': jnp.full((2, 3), 0.3), 'bias': jnp.arange(3.0)}}


def test_equals_the_transformation_when_all_leaves_learn():
  for core in (optax.scale_by_adam(), optax.scale_by_lion(), optax.trace(0.9)):
    own = by_leaf(core)
    one, other = core.init(PARAMS), own.init(PARAMS)
    for _ in range(3):
      a, one = core.update(GRADS, one, PARAMS)
      b, other = own.update(GRADS, other, PARAMS)
      # Compiled or not, the correction of the bias may round otherwise.
      close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6)
      jax.tree.map(close, a, b)


def test_counts_by_leaf_and_names_end_in_the_parameter():
  tx = by_leaf(optax.scale_by_adam())
  paths = tree.paths(tx.init(PARAMS))
  assert paths['a/kernel/mu/a/kernel'].shape == (2, 3)
  assert paths['a/bias/count'].shape == ()
  part = {'a': {'bias': GRADS['a']['bias']}}
  _, state = tx.update(part, tx.init(part))
  assert tree.paths(state)['a/bias/count'] == 1
