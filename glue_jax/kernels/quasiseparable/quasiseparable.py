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

are the three steps of each form: xla.py (jnp), tpu.py, gpu.py; chunked.py joins
them, decays.py sums decays exactly, reference.py has the matrix. States are
float32.

Cost a token, E = H P channels, forward: 2 Q E + 2 Q N G + 8 E N operations;
reads x three times (both directions' states, output), writes y once and
2 N E / Q state values. At E = 1536, N = 64, Q = 128 in bfloat16 12 KiB for x
and y and 12 KiB for states against 1.2 MFLOP: 50 operations a byte, below the
200 to 300 that a TPU v5e or an H100 needs to be bound by arithmetic; the
bytes are the floor. Not measured on a TPU or GPU.
"""

import jax
import jax.numpy as jnp
from jax.experimental.pallas import tpu as pltpu

from glue_jax.kernels import choose
from glue_jax.kernels.quasiseparable import chunked, reference


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
  interpret: bool | pltpu.InterpretParams = False,
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
    implementation, interpret: which form runs, see kernels/choose.py; the
      reference is linear in L too.

  Returns:
    y (B, L, H, P) in the type of `x`.

  Raises:
    ValueError: shapes that don't fit, or an unknown option.
  """
  _check(x, dt, a, b, c, delta, initial_state)
  form, chunk = _choose(implementation, chunk, x.shape[1])
  c = reference.read_by_neighbours(c)
  start = _start(x, initial_state, b.shape[-1])
  static = (form, chunk, interpret)
  y, _ = chunked.spread(static, x, dt, a, b, c, delta, start)
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
  interpret: bool | pltpu.InterpretParams = False,
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
  y, final = chunked.spread(
    (form, chunk, interpret), *causal(x, dt, a, b, c), start
  )
  return y[:, 1:], final[0]


def causal(
  x: jax.Array, dt: jax.Array, a: jax.Array, b: jax.Array, c: jax.Array
) -> tuple[jax.Array, ...]:
  """`ssd` as a quasiseparable matrix of L + 1 tokens.

  Returns:
    x (B, L + 1, H, P), dt, a, b, c (shifted) and delta; the backward direction
    and the diagonal are zero, row t + 1 is row t of the scan.
  """

  def longer(y):
    return chunked.padded(y, y.shape[1] + 1)

  def both(y):
    return jnp.stack([y, jnp.zeros_like(y)])

  later = both(reference.shifted(longer(c), 1))
  dt = longer(dt)
  return longer(x), both(dt), a, both(longer(b)), later, jnp.zeros_like(dt)


def default_chunk(platform: str) -> int:
  """Tokens a chunk: a TPU's lanes, a GPU's registers, a CPU's cache."""
  return {'tpu': 128, 'gpu': 64}.get(platform, 32)


def _start(x, initial_state, width):
  """States (2, B, H, P, N) float32 before either end."""
  shape = (2, x.shape[0], *x.shape[2:], width)
  if initial_state is None:
    return jnp.zeros(shape, jnp.float32)
  return jnp.broadcast_to(initial_state.astype(jnp.float32), shape)


def _choose(implementation, chunk, length):
  """Returns the form to run, and its chunk."""
  form = choose.form(implementation)
  if chunk is None:
    chunk = default_chunk(form)
    chunk = min(chunk, length) if form == 'reference' else chunk
  served = getattr(chunked.FORMS[form], 'CHUNKS', None)
  if chunk < 1 or (served and chunk not in served):
    raise ValueError(
      f'chunk={chunk}: the {form} form serves {served or "positive numbers"}'
    )
  return form, chunk


def _check(x, dt, a, b, c, delta, initial_state, directions=2):
  batch, length, heads, size = x.shape
  groups, width = b.shape[-2:]
  choose.check_shapes(
    f'x (B, L, H, P) = {x.shape}',
    {
      'dt': (dt, (directions, batch, length, heads)),
      'a': (a, (heads,)),
      'b': (b, (directions, batch, length, groups, width)),
      'c': (c, (directions, batch, length, groups, width)),
      'delta': (delta, (batch, length, heads)),
      'initial_state': (initial_state, (heads, size, width)),
    },
  )
  if heads % groups:
    raise ValueError(f'{groups} groups do not divide {heads} heads')
