"""Quasiseparable mixing (Hydra): two state-space scans and a diagonal.

Hwang et al. 2024, arXiv 2407.09941, section 3. For a head with decay a < 0,
Y = M X with
  i > j: M_ij = dtF_j (CF_{i-1} . BF_j) exp(a sum_{k=j+1}^{i-1} dtF_k)
  i < j: M_ij = dtB_j (CB_{i+1} . BB_j) exp(a sum_{k=i+1}^{j-1} dtB_k)
  i = j: M_ii = delta_i
Each direction fills a strict triangle (the shift by one position), so a chunk
of Q tokens is one full Q x Q matrix: both directions cost a single product.
What is outside the chunk comes through a state (N x P a head) of either side.

  states     h of every chunk, both directions: a recurrence over chunks
  outputs    a chunk's matrix times x, plus what the two states give
  gradients  the same two steps with g, the states' gradient, by `states` too;
             everything but h is computed again

are the three steps of each form: quasiseparable_xla.py (jnp), _tpu.py, _gpu.py.
Sums of decays are pairs of float32 (a rounded value and what it lost), so that
their differences keep full relative precision however strong the decay is; no
exponential of a positive number is formed. States are float32.

Cost a token, E = H P channels, forward: 2 Q E + 2 Q N G + 8 E N operations;
reads x three times (both directions' states, output), writes y once and
2 N E / Q state values. At E = 1536, N = 64, Q = 128 in bfloat16 12 KiB for x
and y and 12 KiB for states against 1.2 MFLOP: 50 operations a byte, below the
200 to 300 that a TPU v5e or an H100 needs to be bound by arithmetic; the
bytes are the floor. Not measured on a TPU or GPU.
"""

import functools
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from glue_jax.kernels import mesh_axes
from glue_jax.kernels.quasiseparable import gpu, tpu, xla
from glue_jax.kernels.quasiseparable.xla import exponent, sums

IMPLEMENTATIONS = ('reference', 'pallas', 'tpu', 'gpu')
_FORMS = {'tpu': tpu, 'gpu': gpu}


def quasiseparable(
  x: jax.Array,
  dt: jax.Array,
  a: jax.Array,
  b: jax.Array,
  c: jax.Array,
  delta: jax.Array,
  initial_state: jax.Array | None = None,
  *,
  chunk: int | None = None,
  implementation: str | None = None,
  interpret: Any = False,
) -> jax.Array:
  """Mixes tokens by the quasiseparable matrix of each head.

  A token with dt = 0 and x = 0 leaves no trace: that is how padding is kept
  out.

  Args:
    x: (B, L, H, P).
    dt: step sizes (2, B, L, H), forward then backward direction, in the
      tokens' own order, not negative.
    a: (H,), negative.
    b: (2, B, L, G, N); head h uses group h // (H / G).
    c: (2, B, L, G, N).
    delta: the diagonal (B, L, H).
    initial_state: (H, P, N) before the first token of either direction; None
      is zero.
    chunk: Q, tokens a chunk; None chooses. The result doesn't depend on it.
    implementation: 'reference' (XLA, linear in L too); 'pallas', the kernels of
      the present platform; 'tpu' or 'gpu', those of a platform that need not
      be present (to lower or interpret them); None: Pallas on a TPU or GPU,
      else the reference.
    interpret: True runs the kernels without their platform, slowly, for tests;
      `pltpu.InterpretParams` with a TPU's semantics.

  Returns:
    y (B, L, H, P) in the type of `x`.

  Raises:
    ValueError: shapes that don't fit, or an unknown option.
  """
  _check(x, dt, a, b, c, delta, initial_state)
  form, chunk = _choose(implementation, chunk, x.shape[1])
  # Row i reads the state of its neighbour with the neighbour's C.
  c = jnp.stack([_shifted(c[0], 1), _shifted(c[1], -1)])
  start = _start(x, initial_state, b.shape[-1])
  static = (form, chunk, interpret)
  y, _ = _spread(static, x, dt, a, b, c, delta, start)
  return y


def ssd(
  x: jax.Array,
  dt: jax.Array,
  a: jax.Array,
  b: jax.Array,
  c: jax.Array,
  initial_state: jax.Array | None = None,
  *,
  chunk: int | None = None,
  implementation: str | None = None,
  interpret: Any = False,
) -> tuple[jax.Array, jax.Array]:
  """The causal scan of Mamba-2: h_t = exp(a dt_t) h_{t-1} + dt_t x_t B_t^T.

  Dao and Gu 2024, arXiv 2405.21060. It is the lower triangle of a
  quasiseparable matrix read one position later, and runs as one.

  Args:
    x: (B, L, H, P).
    dt: (B, L, H).
    a: (H,), negative.
    b, c: (B, L, G, N).
    initial_state: (B, H, P, N) or (H, P, N); None is zero.
    chunk, implementation, interpret: see `quasiseparable`.

  Returns:
    y_t = h_t C_t (B, L, H, P) in the type of `x`, and the last h (B, H, P, N)
    float32.

  Raises:
    ValueError: shapes that don't fit, or an unknown option.
  """
  shared = (
    None
    if initial_state is None or initial_state.ndim == 4
    else (initial_state)
  )
  _check(x, dt[None], a, b[None], c[None], dt, shared, directions=1)
  form, chunk = _choose(implementation, chunk, x.shape[1] + 1)
  start = _start(x, initial_state, b.shape[-1])
  y, final = _spread((form, chunk, interpret), *causal(x, dt, a, b, c), start)
  return y[:, 1:], final[0]


def causal(
  x: jax.Array, dt: jax.Array, a: jax.Array, b: jax.Array, c: jax.Array
) -> tuple[jax.Array, ...]:
  """`ssd` as a quasiseparable matrix of L + 1 tokens.

  Returns:
    x (B, L + 1, H, P), dt, a, b, c (shifted) and delta; the backward direction
    and the diagonal are zero, row t + 1 is row t of the scan.
  """
  longer = lambda y: _padded(y, y.shape[1] + 1)
  both = lambda y: jnp.stack([y, jnp.zeros_like(y)])
  later = both(_shifted(longer(c), 1))
  dt = longer(dt)
  return longer(x), both(dt), a, both(longer(b)), later, jnp.zeros_like(dt)


def matrix(
  dt: jax.Array,
  a: jax.Array,
  b: jax.Array,
  c: jax.Array,
  delta: jax.Array,
) -> jax.Array:
  """The matrices M (B, H, L, L) themselves, float32; see `quasiseparable`."""
  c = jnp.stack([_shifted(c[0], 1), _shifted(c[1], -1)])
  return xla.matrix(sums(dt, a, dt.shape[2]), b, c, delta)[0]


def default_chunk(platform: str) -> int:
  """Tokens a chunk: a TPU's lanes, a GPU's registers, a CPU's cache."""
  return {'tpu': 128, 'gpu': 64}.get(platform, 32)


def _spread(static, x, dt, a, b, c, delta, start):
  """`_mix` on every device's own rows and heads.

  XLA splits the reference by itself and cannot look into a kernel.
  """
  args = x, dt, a, b, c, delta, start
  sizes = mesh_axes.sizes()
  if static[0] == 'reference' or not sizes:
    return _mix(static, *args)
  rows = mesh_axes.rows(x.shape[0])
  parts, groups = sizes.get('tensor', 1), b.shape[3]
  whole_groups = groups == 1 or groups % parts == 0
  heads = 'tensor' if whole_groups and x.shape[2] % parts == 0 else None
  group = P(None, rows, None, heads if groups > 1 else None)
  of_x, of_state = P(rows, None, heads), P(None, rows, heads)
  of_dt = P(None, rows, None, heads)
  return jax.shard_map(
    functools.partial(_mix, static),
    in_specs=(of_x, of_dt, P(heads), group, group, of_x, of_state),
    out_specs=(of_x, of_state),
    check_vma=False,
  )(*args)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mix(static, x, dt, a, b, c, delta, start):
  """y (B, L, H, P) and the last states (2, B, H, P, N); c is shifted."""
  return _forward(static, x, dt, a, b, c, delta, start)[0]


def _forward(static, x, dt, a, b, c, delta, start):
  form, chunk, interpret = static
  length = x.shape[1]
  args = _whole_chunks(chunk, x, dt, b, c, delta)
  y, states, final = _run(form, interpret, chunk, a, start, *args)
  return (y[:, :length], final), (x, dt, a, b, c, delta, states)


def _run(form, interpret, chunk, a, start, x, dt, b, c, delta):
  decays = sums(dt, a, chunk)
  states, final = _module(form).states(
    decays.carried, x, b, decays.kept, start,
    backward=False, chunk=chunk, interpret=interpret,
  )  # fmt: skip
  y = _module(form).outputs(
    x, decays, b, c, delta, states, chunk=chunk, interpret=interpret
  )
  return y, states, final


def _backward(static, saved, cotangents):
  form, chunk, interpret = static
  x, dt, a, b, c, delta, states = saved
  length, (cotangent, last) = x.shape[1], cotangents
  xs, dts, bs, cs, deltas = _whole_chunks(chunk, x, dt, b, c, delta)
  cotangent = _padded(cotangent, xs.shape[1])
  decays = sums(dts, a, chunk)
  options = dict(chunk=chunk, interpret=interpret)
  later, d_start = _module(form).states(
    jnp.exp(decays.read[0] + decays.read[1]), cotangent, cs, decays.kept, last,
    backward=True, **options,
  )  # fmt: skip
  d = _module(form).gradients(
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


_mix.defvjp(_forward, _backward)


def _before(y):
  """Sums over the earlier tokens of a chunk (..., Q)."""
  y = jnp.pad(y, [(0, 0)] * (y.ndim - 1) + [(1, 0)])
  return jnp.cumsum(y, axis=-1)[..., :-1]


def _after(y):
  return jnp.flip(_before(jnp.flip(y, -1)), -1)


def _chunks(y, chunk):
  return y.reshape(*y.shape[:-1], -1, chunk)


def _shifted(y, by):
  """Moves (B, L, ...) one position to the right or left; zero comes in."""
  zero = jnp.zeros_like(y[:, :1])
  parts = [zero, y[:, :-1]] if by == 1 else [y[:, 1:], zero]
  return jnp.concatenate(parts, axis=1)


def _whole_chunks(chunk, x, dt, b, c, delta):
  """Fills the last chunk with tokens that leave no trace."""
  size = -(-x.shape[1] // chunk) * chunk
  return (
    _padded(x, size),
    _padded(dt, size, 2),
    _padded(b, size, 2),
    _padded(c, size, 2),
    _padded(delta, size),
  )


def _padded(y, size, axis=1):
  pads = [(0, 0)] * y.ndim
  pads[axis] = (0, size - y.shape[axis])
  return jnp.pad(y, pads)


def _start(x, initial_state, width):
  """States (2, B, H, P, N) float32 before either end."""
  shape = (2, x.shape[0], *x.shape[2:], width)
  if initial_state is None:
    return jnp.zeros(shape, jnp.float32)
  return jnp.broadcast_to(initial_state.astype(jnp.float32), shape)


def _module(form: str) -> ModuleType:
  return _FORMS.get(form, xla)


def _choose(implementation, chunk, length):
  """Returns the form to run, and its chunk."""
  platform = jax.default_backend()
  if implementation is None:
    implementation = platform if platform in _FORMS else 'reference'
  if implementation not in IMPLEMENTATIONS:
    raise ValueError(
      f'implementation={implementation!r}; expected one of {IMPLEMENTATIONS}'
    )
  form = platform if implementation == 'pallas' else implementation
  if form not in ('reference', *_FORMS):
    raise ValueError(
      f'the kernels serve a TPU or GPU, found {platform}; use '
      "implementation='reference'"
    )
  if chunk is None:
    chunk = default_chunk(form)
    chunk = min(chunk, length) if form == 'reference' else chunk
  served = getattr(_module(form), 'CHUNKS', None)
  if chunk < 1 or (served and chunk not in served):
    raise ValueError(
      f'chunk={chunk}: the {form} form serves {served or "positive numbers"}'
    )
  return form, chunk


def _check(x, dt, a, b, c, delta, initial_state, directions=2):
  batch, length, heads, size = x.shape
  groups, width = b.shape[-2:]
  wanted = {
    'dt': (dt, (directions, batch, length, heads)),
    'a': (a, (heads,)),
    'b': (b, (directions, batch, length, groups, width)),
    'c': (c, (directions, batch, length, groups, width)),
    'delta': (delta, (batch, length, heads)),
  }
  if initial_state is not None:
    wanted['initial_state'] = (initial_state, (heads, size, width))
  wrong = [
    f'{name} {array.shape} for {shape}'
    for name, (array, shape) in wanted.items()
    if array.shape != shape
  ]
  if wrong:
    raise ValueError(
      f'with x (B, L, H, P) = {x.shape}: {", ".join(wrong)} expected'
    )
  if heads % groups:
    raise ValueError(f'{groups} groups do not divide {heads} heads')
