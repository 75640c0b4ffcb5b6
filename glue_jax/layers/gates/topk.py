"""Top-k gate: softmax over the k largest logits, optional noise.

Shazeer et al. 2017, arXiv 1701.06538, eq. 3-5. Ties go to the first expert.
The Keras code that COMET was compared with also masks kept logits that are
exactly 0; not followed. Captures `balance` (Switch's loss, f_e the share of
the k assignments), `importance` and, with noise in training, `load`
(Shazeer's squared coefficients of variation, by citation).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.config.ranges import Count
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import dense
from glue_jax.layers.gates import base
from glue_jax.layers.gates.permutation import Permutation, averaged
from glue_jax.layers.spec import EncoderConfig


class Gate(nn.Module):
  """The k best of n experts.

  Attributes:
    config: of the encoder.
    experts: n.
    k: experts of a token.
    noise: adds N(0, 1) softplus(x W_noise) to the logits in training.
  """

  config: EncoderConfig
  experts: int
  k: Count = 1
  noise: bool = False

  @nn.compact
  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> base.Routing:
    """Routes x (B, L, D)."""
    n = self.experts
    base.check_keep(self.k, n)
    x = x.astype(jnp.float32)
    clean = logits = dense(self.config, n, name='logits')(x).astype(jnp.float32)
    spread = None
    if self.noise:
      spread = jax.nn.softplus(
        dense(self.config, n, name='noise', use_bias=False)(x)
      ).astype(jnp.float32)
    if self.noise and train:
      key = self.make_rng('dropout')
      logits = clean + spread * jax.random.normal(key, clean.shape)
    weights, chosen = top_k(logits, self.k)
    weight = base.counted(context, x)
    balance = base.balance_loss(jax.nn.softmax(logits), chosen / self.k, weight)
    base.capture(self, 'balance', balance)
    total = (weights * weight[..., None]).sum((0, 1))
    base.capture(self, 'importance', base.squared_variation(total))
    load = jnp.zeros(())
    if self.noise and train and self.k < n:
      smooth = smooth_load(clean, logits, spread, self.k) * weight[..., None]
      load = base.squared_variation(smooth.sum((0, 1)))
    base.capture(self, 'load', load)
    permutation, hard = Permutation(name='permutation')(self.k, n)
    return base.Routing(averaged(permutation, weights), self.k, hard)


def top_k(logits: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
  """Softmax over the k largest of (..., n), and which those are (0 or 1)."""
  _, index = jax.lax.top_k(logits, k)
  chosen = jax.nn.one_hot(index, logits.shape[-1], dtype=logits.dtype).sum(-2)
  return jax.nn.softmax(jnp.where(chosen > 0, logits, -jnp.inf)), chosen


def smooth_load(
  clean: jax.Array, noisy: jax.Array, spread: jax.Array, k: int
) -> jax.Array:
  """Probability (..., n) that an expert stays among the k, k below n.

  When its own noise is drawn again (Shazeer et al. 2017, eq. 8-9).
  """
  best, _ = jax.lax.top_k(noisy, k + 1)
  inside = noisy >= best[..., k - 1 : k]
  # The k-th largest of the others.
  bound = jnp.where(inside, best[..., k : k + 1], best[..., k - 1 : k])
  return jax.scipy.stats.norm.cdf((clean - bound) / (spread + 1e-10))
