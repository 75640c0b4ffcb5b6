"""Soft gate: a plain softmax over all experts, dense.

Jacobs et al. 1991, Adaptive mixtures of local experts.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.gates import base
from glue_jax.layers.gates.permutation import Permutation, averaged
from glue_jax.layers.spec import EncoderConfig


class Gate(nn.Module):
  """All n experts.

  Attributes:
    config: of the encoder.
    experts: n.
  """

  config: EncoderConfig
  experts: int

  @nn.compact
  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> base.Routing:
    """Routes x (B, L, D)."""
    del context, train
    n = self.experts
    logits = dense(self.config, n, name='logits')(x.astype(jnp.float32))
    weights = jax.nn.softmax(logits.astype(jnp.float32))
    permutation, _ = Permutation(name='permutation')(1, n)
    return base.Routing(averaged(permutation, weights), n, sparse=False)
