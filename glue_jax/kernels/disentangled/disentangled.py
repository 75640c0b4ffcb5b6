"""What relative positions add to the scores of disentangled attention.

He et al. 2021, arXiv 2006.03654, eq. 4, without content to content:
  A_ij = Q_i . Kr[c(i - j)] + K_j . Qr[c(i - j)]
with Kr and Qr the keys and queries of a table of distances and c the row of a
distance: its bucket, the same in both terms (see layers/mixers/disentangled).

As c depends on i - j only, either term is a product with a table that has a row
for each of the L + M - 1 distances, `by_distance`: of it the pairs are a band.
Nothing of (L, M, K) is made, and no (B, H, L, M) gather: a form cuts the band
out of products that lie in its registers (TPU), by where it writes them (GPU)
or a row at a time (reference). In the second term rows and columns change
places; a TPU turns its tiles round in registers.

Cost of a term: 2 B H L M K operations (TPU: 9/8 of it, as tiles share an edge)
and 4 B H L M bytes written; the backward pass twice the operations and the
bytes read, on a GPU twice. The kernels add up in a fixed order. They are tpu.py
and gpu.py. Compiled for both, not run on either.
"""

import jax
import numpy as np
from jax.experimental.pallas import tpu as pltpu

from glue_jax.kernels import choose
from glue_jax.kernels.disentangled import pallas, reference, tpu


def position_scores(
  query: jax.Array,
  key: jax.Array,
  position_keys: jax.Array | None,
  position_queries: jax.Array | None,
  rows: np.ndarray,
  *,
  implementation: str | None = None,
  interpret: bool | pltpu.InterpretParams = False,
) -> jax.Array:
  """Adds up the terms of position.

  Args:
    query: Q (B, L, H, K), float32 or bfloat16.
    key: K (B, M, H, K).
    position_keys: Kr (R, H, K); None leaves the first term out.
    position_queries: Qr (R, H, K); None leaves the second term out.
    rows: the row of the tables, 0 to R - 1, of the pairs with
      j - i = 1 - L, ..., M - 1: (L + M - 1,) int. Known when tracing.
    implementation, interpret: which form runs, see kernels/choose.py; left to
      choose, the kernels run where a head's table fits into the TPU's VMEM.

  Returns:
    A (B, H, L, M) float32, unscaled.

  Raises:
    ValueError: shapes that don't fit, neither term, rows that the tables don't
      have, or an unknown option.
  """
  _check(query, key, position_keys, position_queries, rows)
  form = choose.form(implementation, lambda form: _fits(form, query, key))
  terms = (
    (query, position_keys, rows, False),
    (key, position_queries, rows[::-1], True),
  )
  return sum(
    _term(form, interpret, *term) for term in terms if term[1] is not None
  )


def _term(form, interpret, x, table, rows, transposed):
  """One term; the row that is added is not read."""
  by_place = table[np.append(rows, rows[-1])].swapaxes(0, 1)
  x = x.swapaxes(1, 2)
  if form == 'reference':
    return reference.by_distance(x, by_place, transposed)
  return pallas.spread((form, interpret, transposed), x, by_place)


def _fits(form, query, key):
  if form != 'tpu':
    return True
  sizes = query.shape[1], key.shape[1]
  rest = query.shape[3], query.dtype.itemsize
  # Either term goes over its own side in tiles.
  return tpu.fits(*sizes, *rest) and tpu.fits(*sizes[::-1], *rest)


def _check(query, key, position_keys, position_queries, rows):
  batch, length, heads, width = query.shape
  other = key.shape[1]
  tables = [t for t in (position_keys, position_queries) if t is not None]
  if not tables:
    raise ValueError(
      'no position_keys and no position_queries: expected one of them or both'
    )
  size = tables[0].shape[0]
  choose.check_shapes(
    f'query (B, L, H, K) = {query.shape}, {other} keys and {size} positions',
    {
      'key': (key, (batch, other, heads, width)),
      'position_keys': (position_keys, (size, heads, width)),
      'position_queries': (position_queries, (size, heads, width)),
      'rows': (rows, (length + other - 1,)),
    },
  )
  if rows.min() < 0 or rows.max() >= size:
    raise ValueError(
      f'rows {rows.min()} to {rows.max()}: expected 0 to {size - 1}, as the '
      f'tables have {size}'
    )
