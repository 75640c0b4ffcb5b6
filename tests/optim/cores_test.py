"""The cores that a config names: optax's defaults, or held to their source."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax.optim import build, cores

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


def test_adafactor_is_that_of_the_library():
  torch = pytest.importorskip('torch')
  from transformers.optimization import Adafactor

  rng = np.random.default_rng(0)
  start = {'kernel': rng.normal(size=(6, 5)), 'bias': 1e-5 * rng.normal(size=4)}
  start = {name: np.float32(value) for name, value in start.items()}
  peers = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in start.items()}
  peer = Adafactor(
    list(peers.values()), lr=0.1, relative_step=False, scale_parameter=True
  )
  tx, _ = build.make(
    total_steps=10, names=list(start), name='adafactor', lr=0.1,
    schedule='constant', warmup=0, weight_decay=0.0, clip_norm=None,
    args=dict(min_dim_size_to_factor=1, clip_rms=1.0, least_scale=1e-3),
  )  # fmt: skip
  params = {name: jnp.asarray(value) for name, value in start.items()}
  state = tx.init(params)
  for step in range(3):
    # The last is far above what came before: it is clipped.
    grads = {
      name: np.float32(10**step * rng.normal(size=value.shape))
      for name, value in start.items()
    }
    for name, value in peers.items():
      value.grad = torch.tensor(grads[name])
    peer.step()
    updates, state = tx.update(grads, state, params)
    params = optax.apply_updates(params, updates)
  for name, value in peers.items():
    np.testing.assert_allclose(
      params[name], value.detach().numpy(), rtol=1e-5, atol=1e-7
    )


def test_the_trust_ratio_is_of_what_decays():
  grads = jax.tree.map(lambda x: x + 0.5, PARAMS)
  params = jax.tree.map(lambda x: x + 2.0, PARAMS)
  for corrected in (True, False):
    tx, _ = build.make(
      total_steps=10, names=list(PARAMS), name='lamb', lr=1.0,
      schedule='constant', warmup=0, clip_norm=None, weight_decay=0.5,
      args=dict(bias_correction=corrected),
    )  # fmt: skip
    step, _ = tx.update(grads, tx.init(params), params)
    # As long as the weights; the bias has Adam's own step.
    norm = np.linalg.norm(params['kernel'])
    assert np.linalg.norm(step['kernel']) == pytest.approx(norm, rel=1e-5)
    own = 1.0 if corrected else 0.1 / np.sqrt(0.001)
    np.testing.assert_allclose(step['bias'], -own, rtol=1e-4)


def test_the_first_moment_has_the_type_given():
  state = cores.adam(mu_dtype='bfloat16').init(PARAMS)
  assert state.mu['kernel'].dtype == jnp.bfloat16
  assert cores.lion(mu_dtype='bfloat16').init(PARAMS).mu['bias'].dtype == (
    jnp.bfloat16
  )
  trace = cores.sgd(decay=0.5, accumulator_dtype='bfloat16').init(PARAMS)
  assert trace.trace['bias'].dtype == jnp.bfloat16
