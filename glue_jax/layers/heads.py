"""Heads: from an encoder's outputs to a task's logits.

Every head is called as `head(outputs, attend, train)` with the encoder's
outputs so far (last_hidden (B, L, D), pooled (B, D) where there) and the tied
decoder, and returns what it adds to them. Logits are float32.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers import spec
from glue_jax.layers.activations import activation
from glue_jax.layers.dense import dense
from glue_jax.layers.dropout import Dropout
from glue_jax.layers.spec import EncoderConfig

Outputs = dict[str, Any]
Attend = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class HeadSpec:
  """Which head a family of models uses for a kind of task.

  Attributes:
    module: the head's class; None for a bare encoder.
    pooled: whether the family's pooler runs before it.
    options: further arguments of the class.
  """

  module: type[nn.Module] | None
  pooled: bool = False
  options: tuple[tuple[str, Any], ...] = ()


class Sentence(nn.Module):
  """Logits of a whole sequence, from the pooled vector or the first token.

  Attributes:
    hidden: activation of a dense layer before the output ('tanh' in RoBERTa,
      'gelu' in ELECTRA); None has no such layer.
    first_dropout: whether dropout comes before that layer as well.
    norm: whether a norm comes after it (ModernBERT).
    hidden_bias: whether that layer has a bias where the stack has none (T5).
    squeeze: gives (B,) instead of (B, C), for one real-valued output.
    use_bias: of the output layer.
  """

  config: EncoderConfig
  num_outputs: int
  hidden: str | None = None
  first_dropout: bool = True
  norm: bool = False
  hidden_bias: bool = False
  squeeze: bool = False
  use_bias: bool = True

  @nn.compact
  def __call__(self, outputs: Outputs, attend: Attend, train: bool) -> Outputs:
    del attend
    c = self.config
    x = outputs.get('pooled')
    if x is None:
      x = outputs['last_hidden'][:, 0]
    if self.hidden:
      if self.first_dropout:
        x = Dropout(head_rate(c))(x, train)
      bias = c.use_bias or self.hidden_bias
      x = transform(c, self.hidden, self.norm, use_bias=bias)(x)
    x = Dropout(head_rate(c))(x, train)
    out = dense(c, self.num_outputs, name='out', use_bias=self.use_bias)
    logits = out(x).astype(jnp.float32)
    return {'logits': logits[:, 0] if self.squeeze else logits}


class Token(nn.Module):
  """Logits of every token: (B, L, C).

  Attributes:
    hidden: activation of a dense layer and norm before (ModernBERT), or None.
  """

  config: EncoderConfig
  num_outputs: int
  hidden: str | None = None

  @nn.compact
  def __call__(self, outputs: Outputs, attend: Attend, train: bool) -> Outputs:
    del attend
    c, x = self.config, outputs['last_hidden']
    if self.hidden:
      x = transform(c, self.hidden, True)(x)
    x = Dropout(head_rate(c))(x, train)
    logits = dense(c, self.num_outputs, name='out')(x)
    return {'logits': logits.astype(jnp.float32)}


class ReplacedTokens(nn.Module):
  """Logits of every token that it isn't the original one: (B, L).

  Attributes:
    first: add the first token's state to every token's, and a norm (DeBERTaV3).
  """

  config: EncoderConfig
  num_outputs: int = 1
  first: bool = False

  @nn.compact
  def __call__(self, outputs: Outputs, attend: Attend, train: bool) -> Outputs:
    del attend, train
    c, x = self.config, outputs['last_hidden']
    if self.first:
      norm = spec.part('norm', c.norm)(c.layer_norm_eps, c.dtype, name='ln')
      x = norm(x + x[:, :1])
    x = transform(c, c.activation, False)(x)
    logits = dense(c, 1, name='out')(x)[..., 0]
    return {'logits': logits.astype(jnp.float32)}


class Span(nn.Module):
  """Start and end logits of every token: two of (B, L).

  Attributes:
    hidden: see `Token`; dropout comes with it.
  """

  config: EncoderConfig
  num_outputs: int = 2
  hidden: str | None = None

  @nn.compact
  def __call__(self, outputs: Outputs, attend: Attend, train: bool) -> Outputs:
    del attend
    c, x = self.config, outputs['last_hidden']
    if self.hidden:
      x = transform(c, self.hidden, True)(x)
      x = Dropout(head_rate(c))(x, train)
    out = dense(c, 2, name='out')(x).astype(jnp.float32)
    return {'start_logits': out[..., 0], 'end_logits': out[..., 1]}


class MaskedLM(nn.Module):
  """Dense, activation, LayerNorm, tied decoder and a bias: (B, L, V)."""

  config: EncoderConfig
  num_outputs: int
  activation: str | None = None

  @nn.compact
  def __call__(self, outputs: Outputs, attend: Attend, train: bool) -> Outputs:
    del train
    c = self.config
    width = c.embedding_size or c.hidden_size
    act = self.activation or c.activation
    x = transform(c, act, True, width)(outputs['last_hidden'])
    bias = self.param('bias', nn.initializers.zeros, (c.vocab_size,))
    logits = attend(x) + bias
    return {
      'logits': nn.with_logical_constraint(logits, ('batch', 'length', 'vocab'))
    }


class CausalLM(nn.Module):
  """Logits of the next token at every position: (B, L, V).

  Without `tied` they have a matrix of their own, `words/kernel`.

  Attributes:
    offset: whether a constant of the weights is added, `bias` (BART).
  """

  config: EncoderConfig
  num_outputs: int
  offset: bool = False

  @nn.compact
  def __call__(self, outputs: Outputs, attend: Attend, train: bool) -> Outputs:
    del train
    c, x = self.config, outputs['last_hidden']
    x = x if c.output_scale == 1 else x * c.output_scale
    if c.tied:
      logits = attend(x)
    else:
      logits = dense(c, c.vocab_size, name='words', use_bias=False)(x)
      logits = logits.astype(jnp.float32)
    if self.offset:
      zeros = nn.initializers.zeros
      bias = self.param('bias', zeros, (1, c.vocab_size))
      logits += jax.lax.stop_gradient(bias)
    return {
      'logits': nn.with_logical_constraint(logits, ('batch', 'length', 'vocab'))
    }


class SentenceStructure(nn.Module):
  """The masked LM's head, and logits of a pair's order (B, C), C = 2 or 3."""

  config: EncoderConfig
  num_outputs: int

  @nn.compact
  def __call__(self, outputs: Outputs, attend: Attend, train: bool) -> Outputs:
    words = MaskedLM(self.config, 0)
    # The masked LM's leaves stay where they are without this second output.
    nn.share_scope(self, words)
    order = dense(self.config, self.num_outputs, name='structure')
    logits = order(outputs['pooled']).astype(jnp.float32)
    return words(outputs, attend, train) | {'structure_logits': logits}


def transform(
  config: EncoderConfig,
  act: str,
  norm: bool,
  width: int | None = None,
  use_bias: bool | None = None,
) -> Callable[[jax.Array], jax.Array]:
  """Returns dense, activation and, if asked for, norm: leaves dense/, ln/.

  Args:
    config: sizes and parts.
    act: a key of `activations.ACTIVATIONS`.
    norm: whether there is one, `config.norm`.
    width: of the result; None means `hidden_size`.
    use_bias: of the dense layer; None means the config's.
  """
  c = config
  bias = c.use_bias if use_bias is None else use_bias
  layer = dense(c, width or c.hidden_size, name='dense', use_bias=bias)
  last = None
  if norm:
    last = spec.part('norm', c.norm)(c.layer_norm_eps, c.dtype, name='ln')

  def run(x):
    x = activation(act)(layer(x))
    return last(x) if last else x

  return run


def head_rate(config: EncoderConfig) -> float:
  """Returns the dropout rate inside heads."""
  return config.dropout if config.head_dropout is None else config.head_dropout
