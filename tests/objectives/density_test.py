"""The density loss: golden vectors and the properties that the paper needs."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from glue_jax.objectives import density
from tests.conftest import ROOT
from tests.golden import __main__ as golden
from tests.golden import deft

FOLDER = ROOT / 'tests/golden_data/deft'
SURROGATE = jax.jit(lambda a: density.surrogate(a, 1e-3))


def test_golden_vectors_also_those_of_the_transform(capsys):
  assert golden.check_slug(FOLDER.parent, 'deft')
  *files, count = capsys.readouterr().out.splitlines()
  assert len(files) == 4 and count.endswith('compared 4 of 4 files')


def test_a_wrong_or_unknown_array_is_found():
  arrays = dict(np.load(FOLDER / 'gelu_eps20.npz'))
  wrong = dict(arrays, density_loss=arrays['density_loss'] + 1e-4)
  used = [golden.measure(*row)['used'] for row in deft.compare(wrong, FOLDER)]
  assert max(used) > 1
  with pytest.raises(ValueError, match="'new'"):
    deft.compare(arrays | {'new': np.zeros(1)}, FOLDER)


@hypothesis.settings(deadline=None, max_examples=15)
@hypothesis.given(
  st.lists(st.floats(-1e3, 1e3, width=32), min_size=4, max_size=4)
)
def test_in_zero_one_and_monotone(values):
  a = jnp.sort(jnp.abs(jnp.array(values)))[:, None]
  found = np.asarray(SURROGATE(a))
  assert (found >= 0).all() and (found <= 1).all()
  assert (np.diff(found) >= -1e-7).all()


def test_tends_to_the_exact_density_and_is_flat_at_zero():
  a = jnp.array([0.0, 0.0, 0.3, -2.0, 1e-2, 0.0, 5.0, 0.1])
  far = [
    abs(float(density.surrogate(a, e) - 5 / 8)) for e in (1e-2, 1e-4, 1e-9)
  ]
  assert far[0] > far[1] > far[2] and far[2] < 1e-4
  assert float(density.density(a)) == 5 / 8
  gradient = jax.grad(density.surrogate)(a)
  np.testing.assert_array_equal(gradient == 0, a == 0)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_gradient_is_that_of_the_formula(dtype):
  a = jnp.array([[1e-4, -2e-4, 3e-3, 0.0, 1.5]], dtype)
  plain = lambda a: jnp.mean(a**2 / (a**2 + 1e-7), -1).sum()
  ours = jax.grad(lambda a: density.surrogate(a).sum())(a)
  assert ours.dtype == a.dtype
  theirs = jax.grad(plain)(a.astype(jnp.float32))
  rtol = 1e-5 if dtype == 'float32' else 1e-2
  np.testing.assert_allclose(ours.astype('f4'), theirs, rtol=rtol, atol=1e-4)


def test_thresholds_count_what_is_above():
  a = jnp.array([1e-8, -1e-8, 1e-6, 0.0])
  assert float(density.density(a)) == 0.25
  assert float(density.density(a, 0.0)) == 0.75


def test_positions_that_count():
  values = jnp.array([[1.0, 2.0, 3.0, 4.0]])
  mean = lambda *args: float(density.per_example(values, *args)[0])
  assert mean() == 2.5
  assert mean(jnp.array([[1, 1, 0, 0]])) == 1.5
  # A stack that computes fewer positions, and tokens put in front.
  assert mean(jnp.array([[1, 0, 1, 0, 1, 1]])) == 2.0
  assert mean(jnp.array([[1, 0]])) == 2.0
  assert mean(jnp.array([[0, 0, 0, 0]])) == 0.0


def test_layers_and_examples_may_be_permuted_and_stacks_add():
  values = jax.random.uniform(jax.random.key(0), (3, 4))
  layers = list(values)
  loss = density.combine(layers).mean()
  other = density.combine(layers[::-1])[::-1].mean()
  np.testing.assert_allclose(loss, other, rtol=1e-6)
  both = density.combine(layers, layers[:1])
  np.testing.assert_allclose(both, values.mean(0) + values[0], rtol=1e-6)
