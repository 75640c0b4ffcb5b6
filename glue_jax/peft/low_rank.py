"""The low-rank path beside a linear layer: (dropout(x) A) B.

Hu et al. 2021, arXiv 2106.09685, equation 3. The factors stay apart: forming
W + A B would cost twice the work. The gradient is written out because of what
it keeps: x and x A. Left to itself it would keep dropout(x), another one for
each layer that reads x; here the backward pass draws the mask again from its
key.
"""

import functools

import jax

from glue_jax.layers.barrier import apart
from glue_jax.layers.dropout import dropout


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def low_rank(
  x: jax.Array, a: jax.Array, b: jax.Array, key: jax.Array | None, rate: float
) -> jax.Array:
  """Returns (dropout(x) A) B, (..., out).

  Args:
    x: (..., in).
    a: A (in, r), of the type of x.
    b: B (r, out), of the type of x.
    key: of the mask; None without dropout.
    rate: of dropout.
  """
  return _forward(x, a, b, key, rate)[0]


def _forward(x, a, b, key, rate):
  low = _dropped(x, key, rate) @ a
  return low @ b, (x, low, a, b, key)


def _backward(rate, kept, g):
  x, low, a, b, key = kept
  d_low = g @ b.T

  def gradient_of_a(d_low, x):
    # Of its two operands the small one is transposed.
    return (_rows(d_low).T @ _rows(_dropped(x, key, rate))).T

  # Else the compiler would keep the forward pass' dropout(x) all the same.
  d_a = apart(gradient_of_a, d_low, x)
  d_b = _rows(low).T @ _rows(g)
  return _dropped(d_low @ a.T, key, rate), d_a, d_b, None


low_rank.defvjp(_forward, _backward)


def _dropped(x, key, rate):
  return x if key is None else dropout(x, key, rate)


def _rows(x):
  return x.reshape(-1, x.shape[-1])
