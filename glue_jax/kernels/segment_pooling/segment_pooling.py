"""PoNet's pooling: segment max, local max and fusion with the global token.

Tan et al. 2022, arXiv 2110.02442, section 3.2:
  P_l = (v + S_l) * o_l + M_l
with v the global token of the row, S_l the maximum of `segment` over the tokens
of l's segment, M_l that of `local` over l-1, l, l+1, all per channel. At a
special token ([CLS], [SEP]) S = M = 0 and its neighbours don't see its `local`;
padding takes part in nothing and gets P = 0.

Gradient at ties: of S evenly among the maxima (`ties='even'`, the official code
at HEAD) or to the first ('first', an option); of M to the first.

Cost: reads o, segment, local once and writes P once, 4 B L D elements, about 15
operations an element: the bytes are the floor. Unfused, XLA moves about 12
arrays. The backward pass reads g, o, segment, local and writes three.
The kernels: tpu.py, gpu.py. Not measured on a TPU or GPU.
"""

import jax
from jax.experimental.pallas import tpu as pltpu

from glue_jax.kernels import choose
from glue_jax.kernels.segment_pooling import pallas, reference, tpu


def segment_pooling(
  token: jax.Array,
  gate: jax.Array,
  segment: jax.Array,
  local: jax.Array,
  segment_ids: jax.Array,
  kind: jax.Array,
  *,
  contiguous: bool = False,
  ties: str = 'even',
  implementation: str | None = None,
  interpret: bool | pltpu.InterpretParams = False,
) -> jax.Array:
  """Pools and fuses.

  Args:
    token: v (B, D).
    gate: o (B, L, D).
    segment: (B, L, D).
    local: (B, L, D).
    segment_ids: (B, L) int, any labels; equal ones make a segment.
    kind: (B, L) int: `reference.PAD`, ORDINARY or SPECIAL.
    contiguous: promises that equal ids stand together in every row, those of
      padding too; not checked. Without the promise this is seen on the device,
      row by row, and any ids are right.
    ties: 'even' or 'first', see the module.
    implementation, interpret: which form runs, see kernels/choose.py; left to
      choose, the kernels run where they serve `ties` and a row fits into the
      TPU's VMEM.

  Returns:
    P (B, L, D) in the type of `gate`.

  Raises:
    ValueError: shapes that don't fit, or an unknown option.
  """
  _check(token, gate, segment, local, segment_ids, kind)
  if ties not in ('even', 'first'):
    raise ValueError(f"ties={ties!r}; expected 'even' or 'first'")
  form = choose.form(
    implementation, lambda form: ties == 'even' and _fits(form, gate)
  )
  if not contiguous:
    segment_ids = reference.join_padding(segment_ids, kind)
  if form == 'reference':
    return reference.segment_pooling(
      token, gate, segment, local, segment_ids, kind, contiguous, ties
    )
  if ties != 'even':
    raise ValueError(
      f"the kernels serve ties='even', found ties={ties!r}; use "
      "implementation='reference'"
    )
  labels = reference.dense_labels(segment_ids, contiguous)
  static = form, interpret, contiguous
  return pallas.spread(static, token, gate, segment, local, labels, kind)


def _fits(form, gate):
  return form != 'tpu' or tpu.fits(gate.shape[1], gate.dtype.itemsize)


def _check(token, gate, segment, local, segment_ids, kind):
  batch, _, width = gate.shape
  choose.check_shapes(
    f'gate (B, L, D) = {gate.shape}',
    {
      'token': (token, (batch, width)),
      'segment': (segment, gate.shape),
      'local': (local, gate.shape),
      'segment_ids': (segment_ids, gate.shape[:2]),
      'kind': (kind, gate.shape[:2]),
    },
  )
