"""GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415)."""

import jax


def gelu(x: jax.Array) -> jax.Array:
  """x * Phi(x), with the exact error function (BERT)."""
  return jax.nn.gelu(x, approximate=False)


def gelu_tanh(x: jax.Array) -> jax.Array:
  """The tanh approximation, up to about 5e-4 from the exact one (FNet)."""
  return jax.nn.gelu(x, approximate=True)
