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
The kernels: segment_pooling_tpu.py, segment_pooling_gpu.py. Not measured on a
TPU or GPU.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import PartitionSpec as P

from glue_jax.kernels import mesh_axes
from glue_jax.kernels.segment_pooling import gpu, tpu

PAD, ORDINARY, SPECIAL = 0, 1, 2
IMPLEMENTATIONS = ('reference', 'pallas')


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
  interpret: str | pltpu.InterpretParams | None = None,
) -> jax.Array:
  """Pools and fuses.

  Args:
    token: v (B, D).
    gate: o (B, L, D).
    segment: (B, L, D).
    local: (B, L, D).
    segment_ids: (B, L) int, any labels; equal ones make a segment.
    kind: (B, L) int: PAD, ORDINARY or SPECIAL.
    contiguous: promises that equal ids stand together in every row, which
      saves the kernels work; not checked.
    ties: 'even' or 'first', see the module.
    implementation: 'reference' (XLA), 'pallas', or None: Pallas on a TPU or
      GPU where it serves `ties` and a row fits into the TPU's VMEM, else the
      reference.
    interpret: runs the kernel of a platform ('tpu', 'gpu') without it, slowly,
      for tests; or `pltpu.InterpretParams`: with a TPU's semantics.

  Returns:
    P (B, L, D) in the type of `gate`.

  Raises:
    ValueError: shapes that don't fit, or an unknown option.
  """
  _check(token, gate, segment, local, segment_ids, kind)
  if ties not in ('even', 'first'):
    raise ValueError(f"ties={ties!r}; expected 'even' or 'first'")
  platform = _platform(interpret)
  if implementation is None:
    served = ties == 'even' and _served(platform, gate)
    implementation = 'pallas' if served else 'reference'
  if implementation not in IMPLEMENTATIONS:
    raise ValueError(
      f'implementation={implementation!r}; expected one of {IMPLEMENTATIONS}'
    )
  if implementation == 'reference':
    return segment_pooling_reference(
      token, gate, segment, local, segment_ids, kind, ties
    )
  if ties != 'even' or platform not in ('tpu', 'gpu'):
    raise ValueError(
      f"the kernels serve ties='even' on a TPU or GPU; found ties={ties!r} on "
      f"{platform}; use implementation='reference'"
    )
  static = platform, _mode(interpret), contiguous
  labels = dense_labels(segment_ids)
  return _spread(static, token, gate, segment, local, labels, kind)


def segment_pooling_reference(
  token: jax.Array,
  gate: jax.Array,
  segment: jax.Array,
  local: jax.Array,
  segment_ids: jax.Array,
  kind: jax.Array,
  ties: str = 'even',
) -> jax.Array:
  """The definition in plain jnp; see `segment_pooling`."""
  kind = kind[..., None]
  hidden = jnp.where(kind == PAD, lowest(segment.dtype), segment)
  pooled = segment_max(hidden, segment_ids, ties)
  window = local_max(jnp.where(kind == ORDINARY, local, lowest(local.dtype)))
  pooled = jnp.where(kind == ORDINARY, pooled, 0)
  window = jnp.where(kind == ORDINARY, window, 0)
  fused = (token[:, None] + pooled) * gate + window
  return jnp.where(kind == PAD, 0, fused).astype(gate.dtype)


def segment_max(
  x: jax.Array, segment_ids: jax.Array, ties: str = 'even'
) -> jax.Array:
  """Maximum over each segment, given back to its tokens: (B, L, D)."""
  size = x.shape[1]
  labels = dense_labels(segment_ids)
  reduce = jax.vmap(functools.partial(jax.ops.segment_max, num_segments=size))
  spread = jax.vmap(lambda table, index: table[index])
  if ties == 'even':
    return spread(reduce(x, labels), labels)
  top = spread(reduce(jax.lax.stop_gradient(x), labels), labels)
  position = jnp.arange(size)[:, None]
  candidates = jnp.where(x == top, -position, -size)
  first = -spread(reduce(candidates, labels), labels)
  return jnp.take_along_axis(x, first, axis=1)


def local_max(x: jax.Array) -> jax.Array:
  """Maximum of each token and its two neighbours; the first one's at ties."""
  border = jnp.full_like(x[:, :1], lowest(x.dtype))
  left = jnp.concatenate([border, x[:, :-1]], axis=1)
  right = jnp.concatenate([x[:, 1:], border], axis=1)
  best = jnp.where(left >= x, left, x)
  return jnp.where(best >= right, best, right)


def dense_labels(segment_ids: jax.Array) -> jax.Array:
  """Relabels (B, L) ids by 0, 1, ... in their order, without gaps."""
  order = jnp.argsort(segment_ids, axis=1)
  ordered = jnp.take_along_axis(segment_ids, order, axis=1)
  new = (ordered[:, 1:] != ordered[:, :-1]).astype(jnp.int32)
  labels = jnp.pad(jnp.cumsum(new, axis=1), ((0, 0), (1, 0)))
  back = jnp.argsort(order, axis=1)
  return jnp.take_along_axis(labels, back, axis=1)


def lowest(dtype: jnp.dtype) -> jax.Array:
  """The most negative finite number: loses every maximum."""
  return jnp.asarray(jnp.finfo(dtype).min, dtype)


def _spread(static, token, gate, segment, local, labels, kind):
  """`_pallas` on every device's own rows and channels."""
  fn = functools.partial(_pallas, *static)
  arrays = token, gate, segment, local, labels, kind
  sizes = mesh_axes.sizes()
  if not sizes:
    return fn(*arrays)
  rows = mesh_axes.rows(gate.shape[0])
  channels = 'tensor' if 'tensor' in sizes else None
  if channels and gate.shape[2] % sizes[channels]:
    channels = None
  x, ids = P(rows, None, channels), P(rows)
  return jax.shard_map(
    fn,
    in_specs=(P(rows, channels), x, x, x, ids, ids),
    out_specs=x,
    check_vma=False,
  )(*arrays)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _pallas(platform, interpret, contiguous, *arrays):
  """Forward kernel of a platform; the labels are dense."""
  kernel = _kernels(platform).forward
  return kernel(*arrays, contiguous=contiguous, interpret=interpret)


def _forward(platform, interpret, contiguous, *arrays):
  return _pallas(platform, interpret, contiguous, *arrays), arrays


def _backward(platform, interpret, contiguous, arrays, cotangent):
  token, gate, segment, local, labels, kind = arrays
  # Padding gives nothing.
  cotangent = jnp.where(kind[..., None] == PAD, 0, cotangent)
  ordinary = kind[..., None] == ORDINARY
  kernel = _kernels(platform).backward
  d_gate, d_segment = kernel(
    cotangent, token, gate, segment, labels, kind,
    contiguous=contiguous, interpret=interpret,
  )  # fmt: skip
  # These two are single passes that XLA fuses as well as a kernel would.
  d_token = jnp.sum(
    cotangent.astype(jnp.float32) * gate.astype(jnp.float32), axis=1
  )
  _, pull = jax.vjp(
    lambda x: local_max(jnp.where(ordinary, x, lowest(x.dtype))), local
  )
  (d_local,) = pull(jnp.where(ordinary, cotangent, 0).astype(local.dtype))
  return d_token.astype(token.dtype), d_gate, d_segment, d_local, None, None


_pallas.defvjp(_forward, _backward)


def _platform(interpret):
  if isinstance(interpret, pltpu.InterpretParams):
    return 'tpu'
  return interpret or jax.default_backend()


def _mode(interpret):
  """What `pallas_call` takes."""
  return True if isinstance(interpret, str) else interpret or False


def _served(platform, gate):
  if platform == 'tpu':
    return tpu.fits(gate.shape[1], gate.dtype.itemsize)
  return platform == 'gpu'


def _kernels(platform):
  return tpu if platform == 'tpu' else gpu


def _check(token, gate, segment, local, segment_ids, kind):
  batch, _, width = gate.shape
  expected = {
    'token': (token, (batch, width)),
    'segment': (segment, gate.shape),
    'local': (local, gate.shape),
    'segment_ids': (segment_ids, gate.shape[:2]),
    'kind': (kind, gate.shape[:2]),
  }
  wrong = [
    f'{name} {array.shape} for {shape}'
    for name, (array, shape) in expected.items()
    if array.shape != shape
  ]
  if wrong:
    raise ValueError(
      f'with gate (B, L, D) = {gate.shape}: {", ".join(wrong)} expected'
    )
