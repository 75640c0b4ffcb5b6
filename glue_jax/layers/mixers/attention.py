"""Multi-head attention (Vaswani et al. 2017, arXiv 1706.03762, eq. 1).

`attend` is the softmax attention with dropout as one function with its own
gradient. It follows Dao et al. 2022, arXiv 2205.14135, section 3.1: the sum
over keys in the softmax's gradient equals the sum over the head's width of
output times output gradient, so no pass over the (L, M) scores is spent on it.
Kept for the backward pass: query, key, value, output, exp(scores - max) and its
sums; the dropped-out probabilities are made again from the hash that gave the
mask. Every product is written with the summed axis last in the left operand and
first in the right one, which is what a CPU multiplies without a slow path.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers import cache
from glue_jax.layers.barrier import apart
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.dropout import Dropout, keep_mask
from glue_jax.layers.norms import rms
from glue_jax.layers.positions import rotary
from glue_jax.layers.spec import EncoderConfig


class Softmax(nn.Module):
  """Attention probabilities; a module so that plugs can read or change them."""

  config: EncoderConfig

  def __call__(self, scores: jax.Array, bias: jax.Array) -> jax.Array:
    """Normalises over keys, in float32.

    Args:
      scores: (B, H, L, M) float32.
      bias: added to the scores, (B, 1, 1, M) float32. A row without any real
        key is finite everywhere, so it becomes uniform and never NaN.

    Returns:
      probabilities (B, H, L, M) in the computation type.
    """
    return jax.nn.softmax(scores + bias).astype(self.config.dtype)


class Attend(nn.Module):
  """`attend` as a module, so that plugs can change its gradient."""

  def __call__(
    self,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array,
    rng: jax.Array | None,
    rate: float,
  ) -> jax.Array:
    """Maps (B, L, H, K) and twice (B, M, H, K) to (B, L, H, K)."""
    return attend(query, key, value, bias, rng, rate)


class Core(nn.Module):
  """softmax(Q K^T / sqrt(K) + bias) V, with dropout on the probabilities.

  Attributes:
    config: sizes and parts of the encoder.
    fused: compute it as one function (`attend`), a fifth faster on a CPU.
      Otherwise the probabilities are the output of a submodule `softmax`, for
      plugs and captures that want them.
  """

  config: EncoderConfig
  fused: bool = True

  @nn.compact
  def __call__(
    self,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array,
    train: bool,
  ) -> jax.Array:
    """Attends.

    Args:
      query: (B, L, H, K).
      key: (B, M, H, K).
      value: (B, M, H, K).
      bias: float32, broadcast to (B, H, L, M): 0 at real keys, very negative
        at padding.
      train: turns dropout on.

    Returns:
      the heads' outputs (B, L, H, K).
    """
    rate = self.config.attention_dropout if train else 0.0
    if self.fused:
      rng = self.make_rng('dropout') if rate else None
      part = Attend(name='attend')
      return part(query, key, value, bias, rng, rate)
    query = query * query.shape[-1] ** -0.5
    scores = jnp.einsum(
      'blhk,bmhk->bhlm', query, key, preferred_element_type=jnp.float32
    )
    probs = Softmax(self.config, name='softmax')(scores, bias)
    probs = Dropout(rate)(probs, train)
    return jnp.einsum('bhlm,bmhk->blhk', probs, value)


class Mixer(nn.Module):
  """Multi-head attention with its projections.

  Attributes:
    config: sizes and parts; of those: `num_kv_heads`, `head_dim`,
      `attention_scale`, `qk_norm`, `use_bias`, `qkv_bias` and `window`.
    fused: see `Core`; set by options={'attention': {'fused': False}}.
    cross: attend to `context.memory` instead of the row itself.
  """

  config: EncoderConfig
  fused: bool = True
  cross: bool = False

  @nn.compact
  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to (B, L, D).

    Args:
      x: hidden states (B, L, D).
      context: `bias` is read, `queries` (how many of the first positions are
        computed), `rotary`, `cache_start` and, across, `memory` (without it,
        the cached keys and values of one) and `memory_bias`.
      train: turns dropout on.

    Returns:
      the sublayer's output after dropout (B, L, D), without the residual;
      with `queries` only those positions.

    Raises:
      ValueError: the heads don't divide the width, or those of keys don't
        divide those of queries.
    """
    c = self.config
    asking = x[:, : context.queries]
    query = self._heads('query', asking, c.num_heads)
    if context.rotary is not None and not self.cross:
      turns = rotary.frequencies(c, c.head_width)
      places = context.rotary[:, : context.queries]
      query = rotary.rotate(query, places, turns)
    key, value = self._asked(x, context)
    if c.attention_scale is not None:
      query = query * (c.attention_scale * c.head_width**0.5)
    repeats = c.num_heads // self._groups()
    if repeats > 1:
      key, value = (jnp.repeat(x, repeats, axis=2) for x in (key, value))
    core = Core(c, self.fused, name='core')
    out = core(query, key, value, self._bias(context), train)
    out = out.reshape(*asking.shape[:2], -1)
    out = dense(c, c.hidden_size, name='attn_out', use_bias=c.use_bias)(out)
    return Dropout(c.dropout)(out, train)

  def _asked(self, x, context):
    """Keys and values (B, M, groups, K), the cached ones before the new."""
    c, start = self.config, context.cache_start
    if self.cross and context.memory is None:
      return cache.read(self)
    asked = context.memory if self.cross else x
    key = self._heads('key', asked, self._groups())
    value = self._heads('value', asked, self._groups())
    if context.rotary is not None and not self.cross:
      turns = rotary.frequencies(c, c.head_width)
      key = rotary.rotate(key, context.rotary, turns)
    if start is None:
      return key, value
    return cache.extended(self, key, value, 0 if self.cross else start)

  def _groups(self):
    c = self.config
    groups = c.num_kv_heads or c.num_heads
    if c.num_heads % groups:
      raise ValueError(
        f'model.num_kv_heads={groups} does not divide '
        f'model.num_heads={c.num_heads}'
      )
    return groups

  def _heads(self, name, x, count):
    """Projects (B, L, D) to (B, L, count, K)."""
    c = self.config
    bias = c.use_bias if c.qkv_bias is None else c.qkv_bias
    project = dense(c, count * c.head_width, name=name, use_bias=bias)
    heads = project(x).reshape(*x.shape[:2], count, c.head_width)
    if c.qk_norm and name != 'value':
      heads = rms.Norm(c.layer_norm_eps, c.dtype, name=f'{name}_norm')(heads)
    axes = ('batch', 'length', 'heads', None)
    return nn.with_logical_constraint(heads, axes)

  def _bias(self, context):
    """What is added to the scores, broadcast to (B, H, L, M)."""
    if self.cross:
      return context.memory_bias
    bias = context.bias[:, :, : context.queries]
    if self.config.window is None:
      return bias
    places = context.positions[:, : context.queries, None]
    apart = jnp.abs(places - context.key_positions[:, None, :])
    near = (apart <= self.config.window)[:, None]
    return jnp.where(near, bias, jnp.finfo(jnp.float32).min)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def attend(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  bias: jax.Array,
  rng: jax.Array | None,
  rate: float,
) -> jax.Array:
  """Returns dropout(softmax(Q K^T / sqrt(K) + bias)) V, softmax in float32.

  Args:
    query: (B, L, H, K).
    key: (B, M, H, K).
    value: (B, M, H, K).
    bias: added to the scores, broadcast to (B, H, L, M), float32. A row
      without any real key is finite everywhere, so it becomes uniform.
    rng: key of the dropout mask; None without dropout.
    rate: of dropout.

  Returns:
    (B, L, H, K) in the type of the operands.
  """
  return _forward(query, key, value, bias, rng, rate)[0]


def _forward(query, key, value, bias, rng, rate):
  scaled = query * query.shape[-1] ** -0.5
  scores = jnp.einsum(
    'bhlk,bhkm->bhlm',
    scaled.transpose(0, 2, 1, 3),
    key.transpose(0, 2, 3, 1),
    preferred_element_type=jnp.float32,
  )
  scores += bias
  weights, inverse = softmax_parts(scores)
  probs = dropped(weights, inverse, rng, rate).astype(value.dtype)
  out = jnp.einsum('bhlm,bhmk->bhlk', probs, value.transpose(0, 2, 1, 3))
  out = out.transpose(0, 2, 1, 3)
  weights = weights.astype(value.dtype)
  return out, (scaled, key, value, bias, weights, inverse, out, rng)


def _backward(rate, kept, g):
  query, key, value, bias, weights, inverse, out, rng = kept
  # (B, H, L, 1): the softmax's sum over keys.
  delta = (g.astype(jnp.float32) * out).sum(-1).transpose(0, 2, 1)[..., None]

  def value_gradient(weights, inverse, g):
    probs = dropped(weights, inverse, rng, rate).astype(g.dtype)
    return jnp.einsum('bhkl,bhlm->bhkm', g.transpose(0, 2, 3, 1), probs)

  # Else the probabilities of the forward pass would be stored.
  d_value = apart(value_gradient, weights, inverse, g)
  d_probs = jnp.einsum(
    'bhlk,bhkm->bhlm',
    g.transpose(0, 2, 1, 3),
    value.transpose(0, 2, 3, 1),
    preferred_element_type=jnp.float32,
  )
  d_probs = dropped(d_probs, 1.0, rng, rate)
  d_scores = weights * inverse * (d_probs - delta)
  d_bias = _sum_to(d_scores, bias)
  d_scores = d_scores.astype(g.dtype)
  d_query = jnp.einsum('bhlm,bhmk->bhlk', d_scores, key.transpose(0, 2, 1, 3))
  d_query *= query.shape[-1] ** -0.5
  d_key = jnp.einsum('bhkl,bhlm->bhkm', query.transpose(0, 2, 3, 1), d_scores)
  return (
    d_query.transpose(0, 2, 1, 3),
    d_key.transpose(0, 3, 1, 2),
    d_value.transpose(0, 3, 1, 2),
    d_bias,
    None,
  )


def softmax_parts(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns exp(scores - max) (..., M) and one over its sums (..., 1)."""
  weights = jnp.exp(scores - scores.max(-1, keepdims=True))
  return weights, 1 / weights.sum(-1, keepdims=True)


def dropped(
  x: jax.Array, scale: jax.Array | float, rng: jax.Array | None, rate: float
) -> jax.Array:
  """Returns dropout(x * scale); without a key, x * scale.

  Args:
    x: any shape; the mask is that of the key and this shape.
    scale: broadcasts to x.
    rng: key of the mask, or None.
    rate: of dropout.
  """
  if rng is None or rate == 0.0:
    return x * scale
  return jnp.where(
    keep_mask(rng, rate, x.shape), x * (scale * (1 / (1 - rate))), 0
  )


def _sum_to(x, like):
  """Sums over the axes along which `like` was broadcast."""
  x = x.sum(tuple(range(x.ndim - like.ndim)))
  axes = tuple(i for i, n in enumerate(like.shape) if n == 1 != x.shape[i])
  return x.sum(axes, keepdims=True).astype(like.dtype)


attend.defvjp(_forward, _backward)
