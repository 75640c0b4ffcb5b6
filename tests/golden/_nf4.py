"""Golden vectors of NF4: the library's codes, scales and dequantised values."""

import functools

import jax
import numpy as np

from glue_jax.compress import nf4

EXACT, VALUE = (0.0, 0.0), (1e-7, 0.0)
# What isn't a result.
INPUTS = {'w', 'block_size', 'dq_nested_blocksize'}


def compare_nf4(arrays: dict[str, np.ndarray]) -> list[tuple]:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays.

  Raises:
    ValueError: an array of the file isn't compared.
  """
  w, block = arrays['w'], int(arrays['block_size'])
  nested = int(arrays['dq_nested_blocksize'])
  packed, absmax, codes, scale, offset, once, twice = _ours(w, block, nested)
  # The library stores no more bytes than the values need.
  stored = np.asarray(packed).reshape(-1)[: (w.size + 1) // 2]
  found = {
    'nf4_table': (nf4.CODE, EXACT),
    'packed': (stored, EXACT),
    'absmax': (absmax, VALUE),
    'dequant': (once, VALUE),
    'packed_dq': (stored, EXACT),
    'dq_nested_code': (nf4.dynamic_code(), VALUE),
    'dq_absmax_q': (codes, EXACT),
    'dq_offset': (offset, VALUE),
    'dq_nested_absmax': (scale, VALUE),
    'dequant_double': (twice, VALUE),
  }
  left = sorted(arrays.keys() - found.keys() - INPUTS)
  if left:
    raise ValueError(f'nothing compares {left}')
  return [
    (name, ours, arrays[name], *tolerance)
    for name, (ours, tolerance) in found.items()
  ]


@functools.partial(jax.jit, static_argnums=(1, 2))
def _ours(w, block, nested):
  packed, absmax = nf4.quantise(w, block)
  double = nf4.quantise_absmax(absmax, nested)
  again = nf4.dequantise_absmax(*double, nested)
  restored = (nf4.dequantise(packed, s, w.shape) for s in (absmax, again))
  return packed, absmax, *double, *restored
