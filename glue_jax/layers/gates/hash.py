"""Hash gate: every token id has its experts, fixed at random.

Roller et al. 2021, arXiv 2106.04426; MoEBERT's `hash-random`. A given `table`
may replace the random one. The table is a function of the options, so a saved
model has it.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.config.ranges import Count, Whole
from glue_jax.layers.context import BatchContext
from glue_jax.layers.gates import base
from glue_jax.layers.gates.permutation import Permutation, averaged
from glue_jax.layers.spec import EncoderConfig


class Gate(nn.Module):
  """k fixed experts for each id of the vocabulary, equally weighted.

  Attributes:
    config: of the encoder; `vocab_size` rows.
    experts: n.
    k: experts of an id; 1 for a given table.
    seed: of the random table.
    table: expert of each id, in place of a random table.
  """

  config: EncoderConfig
  experts: int
  k: Count = 1
  seed: Whole = 0
  table: tuple[Whole, ...] = ()

  @nn.compact
  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> base.Routing:
    """Routes x (B, L, D) by `input_ids`.

    Raises:
      ValueError: a table of another length than the vocabulary, or with other
        numbers than 0 .. n - 1.
    """
    del train
    n, rows = self.experts, self.config.vocab_size
    base.check_keep(self.k, n)
    if self.table:
      if len(self.table) != rows or not set(self.table) <= set(range(n)):
        raise ValueError(
          f"model.options['experts'] gate_options table: {len(self.table)} "
          f'entries in {min(self.table)} .. {max(self.table)}; expected '
          f'{rows} in 0 .. {n - 1}'
        )
      table = np.asarray(self.table)[:, None]
    else:
      table = random_table(rows, n, self.k, self.seed)
    ids = context.input_ids[:, : x.shape[1]]
    weights = hashed(ids, jnp.asarray(table), n)
    permutation, hard = Permutation(name='permutation')(self.k, n)
    return base.Routing(averaged(permutation, weights), self.k, hard)


def hashed(ids: jax.Array, table: jax.Array, experts: int) -> jax.Array:
  """Weights (B, L, n) of ids (B, L) by a table (V, k)."""
  return jax.nn.one_hot(table[ids], experts).mean(-2)


@functools.cache
def random_table(rows: int, experts: int, k: int, seed: int) -> np.ndarray:
  """k different experts for each of (rows,) ids, the same in every release.

  NumPy promises the stream of RandomState.
  """
  keys = np.random.RandomState(seed).random_sample((rows, experts))
  return np.argsort(keys, axis=1, kind='stable')[:, :k].astype(np.int32)
