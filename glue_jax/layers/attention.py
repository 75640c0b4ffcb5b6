"""Multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762, eq. 1)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.attend import attend
from glue_jax.layers.dropout import Dropout
from glue_jax.layers.spec import EncoderConfig, dense


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
    fused: compute it as one function (attend.py), a fifth faster on a CPU.
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
      bias: (B, 1, 1, M) float32, 0 at real keys, very negative at padding.
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
  """Self-attention with its projections.

  Attributes:
    config: sizes and parts of the encoder.
    fused: see `Core`; set by options={'attention': {'fused': False}}.
  """

  config: EncoderConfig
  fused: bool = True

  @nn.compact
  def __call__(
    self, x: jax.Array, context: dict[str, Any], train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to (B, L, D).

    Args:
      x: hidden states (B, L, D).
      context: what the encoder knows of the batch; `bias` is read, and
        `queries`: how many leading positions are computed, default all.
      train: turns dropout on.

    Returns:
      the sublayer's output after dropout (B, L, D), without the residual;
      with `queries` only those positions.

    Raises:
      ValueError: the heads don't divide the width.
    """
    c = self.config
    if c.hidden_size % c.num_heads:
      raise ValueError(
        f'model.num_heads={c.num_heads} does not divide '
        f'model.hidden_size={c.hidden_size}'
      )
    axes = ('batch', 'length', 'heads', None)
    asking = x[:, : context.get('queries')]
    query, key, value = (
      nn.with_logical_constraint(
        dense(c, c.hidden_size, name=name)(inputs).reshape(
          *inputs.shape[:2], c.num_heads, -1
        ),
        axes,
      )
      for name, inputs in (('query', asking), ('key', x), ('value', x))
    )
    core = Core(c, self.fused, name='core')
    out = core(query, key, value, context['bias'], train)
    out = dense(c, c.hidden_size, name='attn_out')(out.reshape(asking.shape))
    return Dropout(c.dropout)(out, train)
