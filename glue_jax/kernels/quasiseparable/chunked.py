"""Quasiseparable mixing by the three steps of a form, with its gradient.

Each form (xla.py, tpu.py, gpu.py) has `states`, `outputs` and `gradients`; what
is here joins them: whole chunks, devices, and the gradients of the decays.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from glue_jax.kernels import mesh_axes
from glue_jax.kernels.quasiseparable import gpu, tpu, xla
from glue_jax.kernels.quasiseparable.decays import exponent, sums

FORMS = {'reference': xla, 'tpu': tpu, 'gpu': gpu}


def spread(
  static: tuple[str, int, Any],
  x: jax.Array,
  dt: jax.Array,
  a: jax.Array,
  b: jax.Array,
  c: jax.Array,
  delta: jax.Array,
  start: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """`mix` on every device's own rows and heads.

  XLA splits the reference by itself and cannot look into a kernel. Zeros fill
  a state smaller than the form serves: they are never read.
  """
  width = b.shape[-1]
  least = getattr(FORMS[static[0]], 'SMALLEST_STATE', 1)
  if width < least:
    b, c, start = (
      jnp.pad(y, [(0, 0)] * (y.ndim - 1) + [(0, least - width)])
      for y in (b, c, start)
    )
  y, final = _on_devices(static, x, dt, a, b, c, delta, start)
  return y, final[..., :width]


def _on_devices(static, *args):
  x, b = args[0], args[3]
  sizes = mesh_axes.sizes()
  if static[0] == 'reference' or not sizes:
    return mix(static, *args)
  rows = mesh_axes.rows(x.shape[0])
  parts, groups = sizes.get('tensor', 1), b.shape[3]
  whole_groups = groups == 1 or groups % parts == 0
  heads = 'tensor' if whole_groups and x.shape[2] % parts == 0 else None
  group = P(None, rows, None, heads if groups > 1 else None)
  of_x, of_state = P(rows, None, heads), P(None, rows, heads)
  of_dt = P(None, rows, None, heads)
  return jax.shard_map(
    functools.partial(mix, static),
    in_specs=(of_x, of_dt, P(heads), group, group, of_x, of_state),
    out_specs=(of_x, of_state),
    check_vma=False,
  )(*args)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def mix(
  static: tuple[str, int, Any],
  x: jax.Array,
  dt: jax.Array,
  a: jax.Array,
  b: jax.Array,
  c: jax.Array,
  delta: jax.Array,
  start: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """y (B, L, H, P) and the last states (2, B, H, P, N).

  Args:
    static: form, chunk, interpret.
    x, dt, a, b, delta: as in quasiseparable.py.
    c: shifted, see `reference.read_by_neighbours`.
    start: states before either end (2, B, H, P, N) float32.
  """
  return _forward(static, x, dt, a, b, c, delta, start)[0]


def _forward(static, x, dt, a, b, c, delta, start):
  form, chunk, interpret = static
  length = x.shape[1]
  args = _whole_chunks(chunk, x, dt, b, c, delta)
  y, states, final = _run(form, interpret, chunk, a, start, *args)
  return (y[:, :length], final), (x, dt, a, b, c, delta, states)


def _run(form, interpret, chunk, a, start, x, dt, b, c, delta):
  decays = sums(dt, a, chunk)
  states, final = FORMS[form].states(
    decays.carried, x, b, decays.kept, start,
    backward=False, chunk=chunk, interpret=interpret,
  )  # fmt: skip
  y = FORMS[form].outputs(
    x, decays, b, c, delta, states, chunk=chunk, interpret=interpret
  )
  return y, states, final


def _backward(static, saved, cotangents):
  form, chunk, interpret = static
  x, dt, a, b, c, delta, states = saved
  length, (cotangent, last) = x.shape[1], cotangents
  xs, dts, bs, cs, deltas = _whole_chunks(chunk, x, dt, b, c, delta)
  cotangent = padded(cotangent, xs.shape[1])
  decays = sums(dts, a, chunk)
  options = dict(chunk=chunk, interpret=interpret)
  later, d_start = FORMS[form].states(
    jnp.exp(decays.read[0] + decays.read[1]), cotangent, cs, decays.kept, last,
    backward=True, **options,
  )  # fmt: skip
  d = FORMS[form].gradients(
    cotangent, xs, decays, bs, cs, deltas, states, later, **options
  )
  # Of the scalars of each token; B and C sum over the heads of a group.
  share = exponent(decays.total[..., None], _chunks(decays.read_by, chunk))
  d_dt = d.within + share.reshape(decays.dt.shape) * d.carried
  read, carried = (
    _chunks(y, chunk) for y in (d.read, decays.carried * d.carried)
  )
  # A token's decay stands between a state and the rows that read it later,
  # and between the tokens before it and the next state.
  d_log = jnp.stack(
    [
      _after(read[0]) + _before(carried[0]),
      _before(read[1]) + _after(carried[1]),
    ]
  )
  d_log += (decays.kept * d.kept)[..., None]
  d_log = d.log + d_log.reshape(decays.dt.shape)
  a = a.astype(jnp.float32)[:, None]
  d_a = jnp.sum(decays.dt * d_log, axis=(0, 1, 3))
  d_dt = (d_dt + a * d_log).swapaxes(2, 3)[:, :, :length]
  d_delta = d.delta.swapaxes(1, 2)[:, :length]
  return (
    d.x[:, :length].astype(x.dtype),
    d_dt.astype(dt.dtype),
    d_a.astype(saved[2].dtype),
    d.b[:, :, :length].astype(b.dtype),
    d.c[:, :, :length].astype(c.dtype),
    d_delta.astype(delta.dtype),
    d_start,
  )


mix.defvjp(_forward, _backward)


def _before(y):
  """Sums over the earlier tokens of a chunk (..., Q)."""
  y = jnp.pad(y, [(0, 0)] * (y.ndim - 1) + [(1, 0)])
  return jnp.cumsum(y, axis=-1)[..., :-1]


def _after(y):
  return jnp.flip(_before(jnp.flip(y, -1)), -1)


def _chunks(y, chunk):
  return y.reshape(*y.shape[:-1], -1, chunk)


def _whole_chunks(chunk, x, dt, b, c, delta):
  """Fills the last chunk with tokens that leave no trace."""
  size = -(-x.shape[1] // chunk) * chunk
  return (
    padded(x, size),
    padded(dt, size, 2),
    padded(b, size, 2),
    padded(c, size, 2),
    padded(delta, size),
  )


def padded(y: jax.Array, size: int, axis: int = 1) -> jax.Array:
  """Fills an axis with zeros up to a size."""
  pads = [(0, 0)] * y.ndim
  pads[axis] = (0, size - y.shape[axis])
  return jnp.pad(y, pads)
