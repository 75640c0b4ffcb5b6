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

from glue_jax.layers.activations import activation
from glue_jax.layers.dense import dense
from glue_jax.layers.dropout import Dropout
from glue_jax.layers.norm import LayerNorm
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


class Pooler(nn.Module):
  """tanh of a dense layer on the first token (BERT)."""

  config: EncoderConfig

  @nn.compact
  def __call__(self, last_hidden: jax.Array) -> jax.Array:
    """Maps (B, L, D) to (B, D)."""
    c = self.config
    return jnp.tanh(dense(c, c.hidden_size, name='dense')(last_hidden[:, 0]))


class Sentence(nn.Module):
  """Logits of a whole sequence, from the pooled vector or the first token.

  Attributes:
    hidden: activation of a dense layer before the output ('tanh' in RoBERTa,
      'gelu' in ELECTRA); None has no such layer.
    first_dropout: whether dropout comes before that layer as well.
    squeeze: gives (B,) instead of (B, C), for one real-valued output.
  """

  config: EncoderConfig
  num_outputs: int
  hidden: str | None = None
  first_dropout: bool = True
  squeeze: bool = False

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
      x = dense(c, c.hidden_size, name='dense')(x)
      x = activation(self.hidden)(x)
    x = Dropout(head_rate(c))(x, train)
    logits = dense(c, self.num_outputs, name='out')(x).astype(jnp.float32)
    return {'logits': logits[:, 0] if self.squeeze else logits}


class Token(nn.Module):
  """Logits of every token: (B, L, C)."""

  config: EncoderConfig
  num_outputs: int

  @nn.compact
  def __call__(self, outputs: Outputs, attend: Attend, train: bool) -> Outputs:
    del attend
    x = Dropout(head_rate(self.config))(outputs['last_hidden'], train)
    logits = dense(self.config, self.num_outputs, name='out')(x)
    return {'logits': logits.astype(jnp.float32)}


class Span(nn.Module):
  """Start and end logits of every token: two of (B, L)."""

  config: EncoderConfig
  num_outputs: int = 2

  @nn.compact
  def __call__(self, outputs: Outputs, attend: Attend, train: bool) -> Outputs:
    del attend, train
    out = dense(self.config, 2, name='out')(outputs['last_hidden'])
    out = out.astype(jnp.float32)
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
    x = dense(c, width, name='dense')(outputs['last_hidden'])
    x = activation(self.activation or c.activation)(x)
    x = LayerNorm(c.layer_norm_eps, c.dtype, name='ln')(x)
    bias = self.param('bias', nn.initializers.zeros, (c.vocab_size,))
    logits = attend(x) + bias
    return {
      'logits': nn.with_logical_constraint(logits, ('batch', 'length', 'vocab'))
    }


class SentenceStructure(nn.Module):
  """The masked LM's head, and logits of a pair's order (B, 3)."""

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


def head_rate(config: EncoderConfig) -> float:
  """Returns the dropout rate inside heads."""
  return config.dropout if config.head_dropout is None else config.head_dropout
