"""GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415)."""

import math
from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import OneOf
from glue_jax.layers.barrier import apart


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
  """x * Phi(x), with the exact error function (BERT).

  The backward pass keeps only the input and evaluates Phi again: one pass over
  memory instead of the five that differentiating the formula leaves.
  """
  return (x * _phi(x)).astype(x.dtype)


def _phi(x: jax.Array) -> jax.Array:
  x = x.astype(jnp.float32)
  return 0.5 * (1 + jax.lax.erf(x * math.sqrt(0.5)))


def _forward(x):
  return gelu(x), x


def _backward(x, g):
  # Else the compiler finds the error function in the forward pass and stores it
  # for this one, which costs more than computing it; and of an input that is a
  # sum (a layer's output and what an adapter adds) it stores every term.
  return (apart(gelu_gradient, x, g),)


def gelu_gradient(x: jax.Array, g: jax.Array) -> jax.Array:
  """Returns g times the slope of `gelu` at x: (...), in the type of x."""
  y = x.astype(jnp.float32)
  density = jnp.exp(-0.5 * jnp.square(y)) * (1 / math.sqrt(2 * math.pi))
  return (g * (_phi(y) + y * density)).astype(x.dtype)


gelu.defvjp(_forward, _backward)


def gelu_tanh(x: jax.Array) -> jax.Array:
  """The tanh approximation, up to about 5e-4 from the exact one (FNet)."""
  return jax.nn.gelu(x, approximate=True)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  'gelu': gelu,
  'gelu_tanh': gelu_tanh,
  'relu': jax.nn.relu,
  'silu': jax.nn.silu,
  'tanh': jnp.tanh,
}

Activation = Annotated[str, OneOf(ACTIVATIONS)]


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
  """Returns the function of a name.

  Raises:
    ValueError: it is unknown; the message lists those there are.
  """
  if name not in ACTIVATIONS:
    raise ValueError(
      f'model.activation={name!r} is unknown; there are {sorted(ACTIVATIONS)}'
    )
  return ACTIVATIONS[name]
