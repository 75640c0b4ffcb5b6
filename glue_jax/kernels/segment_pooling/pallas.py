"""The pooling's kernels as one function with a gradient, on every device."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from glue_jax.kernels import mesh_axes
from glue_jax.kernels.segment_pooling import gpu, reference, tpu

_FORMS = {'tpu': tpu, 'gpu': gpu}


def spread(
  static: tuple[str, Any, bool],
  token: jax.Array,
  gate: jax.Array,
  segment: jax.Array,
  local: jax.Array,
  labels: jax.Array,
  kind: jax.Array,
) -> jax.Array:
  """`pooling` on every device's own rows and channels.

  Args:
    static: platform, interpret, contiguous.
    token, gate, segment, local, kind: as in segment_pooling.py.
    labels: (B, L), dense.
  """
  fn = functools.partial(pooling, *static)
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
def pooling(
  platform: str, interpret: Any, contiguous: bool, *arrays: jax.Array
) -> jax.Array:
  """The forward kernel of a platform; arrays as in `spread`."""
  kernel = _FORMS[platform].forward
  return kernel(*arrays, contiguous=contiguous, interpret=interpret)


def _forward(platform, interpret, contiguous, *arrays):
  return pooling(platform, interpret, contiguous, *arrays), arrays


def _backward(platform, interpret, contiguous, arrays, cotangent):
  token, gate, segment, local, labels, kind = arrays
  # Padding gives nothing.
  cotangent = jnp.where(kind[..., None] == reference.PAD, 0, cotangent)
  ordinary = kind[..., None] == reference.ORDINARY
  kernel = _FORMS[platform].backward
  d_gate, d_segment = kernel(
    cotangent, token, gate, segment, labels, kind,
    contiguous=contiguous, interpret=interpret,
  )  # fmt: skip
  # These two are single passes that XLA fuses as well as a kernel would.
  d_token = jnp.sum(
    cotangent.astype(jnp.float32) * gate.astype(jnp.float32), axis=1
  )
  _, pull = jax.vjp(
    lambda x: reference.local_max(
      jnp.where(ordinary, x, reference.lowest(x.dtype))
    ),
    local,
  )
  (d_local,) = pull(jnp.where(ordinary, cotangent, 0).astype(local.dtype))
  return d_token.astype(token.dtype), d_gate, d_segment, d_local, None, None


pooling.defvjp(_forward, _backward)
