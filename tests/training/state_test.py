"""What learns and what is frozen: the split, and its change."""

import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax.training.state import TrainState, resplit, split


def test_split_refuses_wrong_names():
  params = {'a': jnp.ones(1), 'b': jnp.ones(1)}
  with pytest.raises(ValueError, match='no leaf learns'):
    split(params, set())
  with pytest.raises(ValueError, match=r"no leaves \['c'\]"):
    split(params, {'a', 'c'})


def test_resplit_keeps_the_optimizer_state_of_what_goes_on_learning():
  import optax

  tx = optax.adam(0.1)
  params = {'a': jnp.ones(2), 'b': jnp.ones(2)}
  train, frozen = split(params, {'a'})
  opt = tx.update(train, tx.init(train), train)[1]
  state = TrainState(
    step=jnp.zeros((), jnp.int32),
    params=train,
    frozen={'params': frozen},
    opt_state=opt,
    extra={},
  )
  both = resplit(state, {'a', 'b'}, tx)
  assert set(both.params) == {'a', 'b'} and both.frozen == {'params': {}}
  mu = both.opt_state[0].mu
  np.testing.assert_array_equal(mu['a'], opt[0].mu['a'])
  np.testing.assert_array_equal(mu['b'], 0)
  assert both.opt_state[0].count == 1
