"""Switch gate: the most probable expert, scaled by its probability.

Fedus et al. 2022, arXiv 2101.03961; MoEBERT's (arXiv 2204.07675) gates
`gate-token` and, with `sentence`, `gate-sentence`: one expert for a sentence,
from the mean over its real tokens. Captures `balance`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.gates import base
from glue_jax.layers.gates.permutation import Permutation
from glue_jax.layers.spec import EncoderConfig


class Gate(nn.Module):
  """One of n experts.

  Attributes:
    config: of the encoder.
    experts: n.
    sentence: one expert for all tokens of a row.
  """

  config: EncoderConfig
  experts: int
  sentence: bool = False

  @nn.compact
  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> base.Routing:
    """Routes x (B, L, D)."""
    del train
    n = self.experts
    base.check_keep(1, n)
    weight = base.counted(context, x)
    inputs = x.astype(jnp.float32)
    if self.sentence:
      mask = context.mask[:, : x.shape[1], None].astype(jnp.float32)
      count = jnp.maximum(mask.sum(1, keepdims=True), 1.0)
      inputs = (inputs * mask).sum(1, keepdims=True) / count
      weight = (weight.sum(1, keepdims=True) > 0).astype(jnp.float32)
    logits = dense(self.config, n, name='logits', use_bias=False)(inputs)
    probabilities = jax.nn.softmax(logits.astype(jnp.float32))
    chosen = jax.nn.one_hot(probabilities.argmax(-1), n)
    base.capture(
      self, 'balance', base.balance_loss(probabilities, chosen, weight)
    )
    weights = probabilities * chosen
    permutation, hard = Permutation(name='permutation')(1, n)
    if permutation is not None:
      # Not renormalised: the probability is the scale.
      weights = weights @ permutation.mean(0)
    weights = jnp.broadcast_to(weights, (*x.shape[:-1], n))
    return base.Routing(weights, 1, hard)
