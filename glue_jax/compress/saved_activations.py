"""Operations that keep little for their backward pass (SlimFit).

Ardakani et al. 2023, arXiv 2305.18513, by its official code. Values are those
of the plain operation, bit for bit; what the backward pass reads is quantised
or pruned, so gradients are approximate. Stored as:

  gelu4            input, 4 bits, two to a byte, step 1/2
  matmul8          both operands, int8, step 1/16
  softmax_matmul8  probabilities uint8, step 1/256; values int8, step 1/16
  dense8           input int8, step 1/16, and only if the kernel learns
  layernorm_pruned the tenth of the normalised input that is largest by
                   magnitude, with int32 places, and 1 / std of each row; the
                   whole input if the scale learns, with the exact gradient

Operands that no gradient is taken of (frozen leaves) are known while tracing,
so nothing is kept for them.
"""

import functools

import jax
import jax.numpy as jnp

from glue_jax.compress.int8 import dequantise, pack4, quantise, unpack4
from glue_jax.compress.top_magnitudes import largest, spread
from glue_jax.layers import activations, dense
from glue_jax.layers.barrier import apart
from glue_jax.layers.mixers.attention import dropped, softmax_parts
from glue_jax.layers.norms.layer import standardise

# (integer bits, fraction bits) of each stored tensor.
GELU_INPUT = (2, 1)
OPERAND = (3, 4)
PROBABILITY = (0, 8)
# Share of the normalised input that is kept.
KEPT = 0.1


@jax.custom_vjp
def gelu4(x: jax.Array) -> jax.Array:
  """GELU (error function) of any shape; the gradient at the stored input."""
  return activations.gelu(x)


def _gelu4_forward(x):
  return apart(lambda x: (gelu4(x), pack4(quantise(x, GELU_INPUT, 'int8'))), x)


def _gelu4_backward(kept, g):
  def run(kept, g):
    y = dequantise(unpack4(kept, g.shape), GELU_INPUT)
    gradient = activations.gelu_gradient(y, g.astype(jnp.float32))
    return gradient.astype(g.dtype)

  return (apart(run, kept, g),)


gelu4.defvjp(_gelu4_forward, _gelu4_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def matmul8(a: jax.Array, b: jax.Array, scale: float = 1.0) -> jax.Array:
  """Returns (a scale) b: (..., M, K) by (..., K, N), float32 (..., M, N).

  Args:
    a, b: operands with the same leading dimensions; stored without the scale.
    scale: of the product; attention's 1 / sqrt(K).
  """
  return jnp.matmul(a * scale, b, preferred_element_type=jnp.float32)


def _matmul8_forward(a, b, scale):
  # Types are kept as empty arrays.
  types = tuple(jnp.zeros((0,), x.dtype) for x in (a, b))
  y, kept = apart(
    lambda *ab: (
      matmul8(*ab, scale),
      tuple(quantise(x, OPERAND, 'int8') for x in ab),
    ),
    a,
    b,
  )
  return y, (kept, types)


def _matmul8_backward(scale, kept, g):
  kept, types = kept

  def run(a, b, g):
    a, b = (dequantise(q, OPERAND, t.dtype) for q, t in zip((a, b), types))
    g = g.astype(a.dtype)
    d_a = jnp.einsum('...mn,...kn->...mk', g, b) * scale
    return d_a, jnp.einsum('...mk,...mn->...kn', a, g) * scale

  return apart(run, *kept, g)


matmul8.defvjp(_matmul8_forward, _matmul8_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def softmax_matmul8(
  scores: jax.Array,
  value: jax.Array,
  rng: jax.Array | None = None,
  rate: float = 0.0,
) -> jax.Array:
  """Returns dropout(softmax(scores)) value.

  Args:
    scores: (..., L, M) float32.
    value: (..., M, K).
    rng: key of the dropout mask on the probabilities, which is drawn again in
      the backward pass; None without dropout.
    rate: of dropout.

  Returns:
    (..., L, K) in the values' type.
  """
  weights, inverse = softmax_parts(scores)
  probs = dropped(weights, inverse, rng, rate).astype(value.dtype)
  return jnp.matmul(probs, value)


def _softmax_matmul8_forward(scores, value, rng, rate):
  def run(scores, value, rng):
    weights, inverse = softmax_parts(scores)
    probs = quantise(weights * inverse, PROBABILITY, 'uint8')
    out = softmax_matmul8(scores, value, rng, rate)
    return out, (probs, quantise(value, OPERAND, 'int8'))

  out, kept = apart(run, scores, value, rng)
  return out, (*kept, rng)


def _softmax_matmul8_backward(rate, kept, g):
  *kept, rng = kept

  def run(probs, value, g, rng):
    probs = dequantise(probs, PROBABILITY)
    value = dequantise(value, OPERAND, g.dtype)
    d_probs = jnp.einsum(
      '...lk,...mk->...lm', g, value, preferred_element_type=jnp.float32
    )
    d_probs = dropped(d_probs, 1.0, rng, rate)
    d_scores = probs * (d_probs - (probs * d_probs).sum(-1, keepdims=True))
    probs = dropped(probs, 1.0, rng, rate).astype(g.dtype)
    return d_scores, jnp.einsum('...lm,...lk->...mk', probs, g)

  return *apart(run, *kept, g, rng), None


softmax_matmul8.defvjp(_softmax_matmul8_forward, _softmax_matmul8_backward)


def attend8(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  bias: jax.Array,
  rng: jax.Array | None,
  rate: float,
) -> jax.Array:
  """`attend` (layers/mixers/attention.py) by `matmul8` and `softmax_matmul8`.

  Args:
    query: (B, L, H, K).
    key, value: (B, M, H, K).
    bias: broadcasts to (B, H, L, M), float32.
    rng, rate: of the dropout on the probabilities.

  Returns:
    (B, L, H, K).
  """
  scores = matmul8(
    query.transpose(0, 2, 1, 3),
    key.transpose(0, 2, 3, 1),
    query.shape[-1] ** -0.5,
  )
  out = softmax_matmul8(scores + bias, value.transpose(0, 2, 1, 3), rng, rate)
  return out.transpose(0, 2, 1, 3)


@jax.custom_vjp
def dense8(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Multiplies (..., D) by (D, F): (..., F), the product of a dense layer."""
  return dense.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))


def _dense8_forward(x, kernel):
  if kernel.perturbed:
    y, stored = apart(
      lambda x, w: (dense8(x, w), quantise(x, OPERAND, 'int8')),
      x.value,
      kernel.value,
    )
  else:
    y, stored = dense8(x.value, kernel.value), None
  return y, (stored, kernel.value if x.perturbed else None)


def _dense8_backward(kept, g):
  stored, kernel = kept
  g = _dense(g)
  d_x = d_kernel = None
  if kernel is not None:
    d_x = jnp.einsum('...f,df->...d', g, kernel)
  if stored is not None:

    def run(stored, g):
      rows = dequantise(stored, OPERAND, g.dtype)
      return rows.reshape(-1, rows.shape[-1]).T @ g.reshape(-1, g.shape[-1])

    d_kernel = apart(run, stored, g)
  return d_x, d_kernel


dense8.defvjp(_dense8_forward, _dense8_backward, symbolic_zeros=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def layernorm_pruned(
  x: jax.Array, scale: jax.Array, bias: jax.Array, eps: float, groups: int = 1
) -> jax.Array:
  """LayerNorm that keeps a tenth of its normalised input.

  Args:
    x: (..., D).
    scale, bias: (D,).
    eps: added to the variance, in both passes.
    groups: in how many equal parts of rows the largest tenth is looked for,
      each on its own; 1 for the whole array. Must divide the number of entries.

  Returns:
    (..., D) float32.
  """
  del groups
  return standardise(x, eps)[0] * scale + bias


def _layernorm_forward(x, scale, bias, eps, groups):
  x, learns, scale, bias = x.value, scale.perturbed, scale.value, bias.value

  def run(x, scale, bias):
    y, inverse = standardise(x, eps)
    return y * scale + bias, (*largest(y, KEPT, groups), inverse)

  if learns:
    return layernorm_pruned(x, scale, bias, eps, groups), (x, scale)
  out, kept = apart(run, x, scale, bias)
  # The backward pass needs the input's type, kept as an empty array.
  return out, (*kept, scale, jnp.zeros((0,), x.dtype))


def _layernorm_backward(eps, groups, kept, g):
  del groups  # only where the largest are looked for
  g = _dense(g).astype(jnp.float32)
  rows = tuple(range(g.ndim - 1))

  def gradient(g, y, scale, inverse):
    h = g * scale * inverse
    return h - h.mean(-1, keepdims=True) - y * (h * y).mean(-1, keepdims=True)

  if len(kept) == 2:
    x, scale = kept
    x, g = jax.lax.optimization_barrier((x, g))
    y, inverse = standardise(x, eps)
    d_x = gradient(g, y, scale, inverse).astype(x.dtype)
    return d_x, (g * y).sum(rows), g.sum(rows)
  values, places, inverse, scale, kind = kept
  d_x = apart(
    lambda g, values, places, scale, inverse: gradient(
      g, spread(values, places, g.shape), scale, inverse
    ),
    *(g, values, places, scale, inverse),
  )
  return d_x.astype(kind.dtype), None, g.sum(rows)


layernorm_pruned.defvjp(
  _layernorm_forward, _layernorm_backward, symbolic_zeros=True
)


def _dense(g):
  """A cotangent, also one that is known to be zero."""
  if isinstance(g, jax.custom_derivatives.SymbolicZero):
    return jnp.zeros(g.shape, g.dtype)
  return g
