"""Products with a table of distances in plain jnp.

Letters: B batch, L length, M length of the other side, H heads, K head width.
"""

import jax
import jax.numpy as jnp

# Rows of a block; all rows at once would make twice the products wanted.
_ROWS = 64


def by_distance(
  x: jax.Array, table: jax.Array, transposed: bool = False
) -> jax.Array:
  """x_i . table[j - i + L - 1] for all pairs.

  A block of rows at a time: the products of all of them with all of their
  distances, of which each row takes a run.

  Args:
    x: (B, H, L, K).
    table: (H, L + M, K); the last row is not read.
    transposed: j goes before i in the result.

  Returns:
    (B, H, L, M) float32, or (B, H, M, L).
  """
  batch, heads, length, _ = x.shape
  other = table.shape[1] - length
  count = -(-length // _ROWS)
  size = -(-length // count)
  more = count * size - length
  x = jnp.pad(x, ((0, 0), (0, 0), (0, more), (0, 0)))
  table = jnp.pad(table, ((0, 0), (more, 0), (0, 0)))

  # A gradient that kept each block's part of the table would keep L of them.
  @jax.checkpoint
  def block(i):
    rows = jax.lax.dynamic_slice_in_dim(x, i * size, size, 2)
    first = (count - 1 - i) * size
    part = jax.lax.dynamic_slice_in_dim(table, first, size + other, 1)
    products = jnp.einsum(
      'bhlk,hwk->bhlw', rows, part, preferred_element_type=jnp.float32
    )
    return _runs(products, other)

  blocks = jax.lax.map(block, jnp.arange(count))
  pairs = jnp.moveaxis(blocks, 0, 2).reshape(batch, heads, -1, other)
  pairs = pairs[:, :, :length]
  return pairs.swapaxes(2, 3) if transposed else pairs


def _runs(products, other):
  """(B, H, L, W) to (B, H, L, M): row i from place L - 1 - i on."""
  length = products.shape[2]

  def run(row, first):
    return jax.lax.dynamic_slice_in_dim(row, first, other, 2)

  places = length - 1 - jnp.arange(length)
  return jax.vmap(run, (2, 0), 2)(products, places)
