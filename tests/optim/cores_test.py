"""The cores that a config names are optax's, with optax's defaults."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax.optim import cores

PARAMS = {'kernel': jnp.ones((3, 4)), 'bias': jnp.zeros(4)}
GIVEN = dict(b1=0.5, b2=0.75, eps=0.1, eps_root=0.01, nesterov=True)


@pytest.mark.parametrize(
  'ours, theirs',
  [
    (cores.adam(), optax.scale_by_adam()),
    (cores.adam(**GIVEN), optax.scale_by_adam(**GIVEN)),
    (cores.sgd(decay=0.5), optax.trace(0.5)),
    (cores.sgd(decay=0.5, nesterov=True), optax.trace(0.5, nesterov=True)),
    (cores.lion(), optax.scale_by_lion()),
    (cores.lion(b1=0.5, b2=0.75), optax.scale_by_lion(0.5, 0.75)),
    (cores.adafactor(), optax.scale_by_factored_rms()),
    (
      cores.adafactor(
        decay_rate=0.5, step_offset=3, min_dim_size_to_factor=2, epsilon=0.1
      ),
      optax.scale_by_factored_rms(True, 0.5, 3, 2, 0.1),
    ),
  ],
)
def test_two_steps_are_those_of_optax(ours, theirs):
  rng = np.random.default_rng(0)
  states = [ours.init(PARAMS), theirs.init(PARAMS)]
  for _ in range(2):
    grads = jax.tree.map(
      lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), PARAMS
    )
    steps = []
    for i, tx in enumerate((ours, theirs)):
      step, states[i] = tx.update(grads, states[i], PARAMS)
      steps.append(step)
    jax.tree.map(np.testing.assert_array_equal, *steps)
  jax.tree.map(np.testing.assert_array_equal, *states)


def test_the_first_moment_has_the_type_given():
  state = cores.adam(mu_dtype='bfloat16').init(PARAMS)
  assert state.mu['kernel'].dtype == jnp.bfloat16
  assert cores.lion(mu_dtype='bfloat16').init(PARAMS).mu['bias'].dtype == (
    jnp.bfloat16
  )
  trace = cores.sgd(decay=0.5, accumulator_dtype='bfloat16').init(PARAMS)
  assert trace.trace['bias'].dtype == jnp.bfloat16
