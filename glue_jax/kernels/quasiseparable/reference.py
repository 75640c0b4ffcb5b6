"""The quasiseparable matrix itself: the definition.

`matrix` is M of whole rows, L x L: for tests, and to look at. `chunk_matrix` is
that of one chunk of Q tokens, from which the form of xla.py is built. The
formula is in quasiseparable.py, letters in xla.py.
"""

import jax
import jax.numpy as jnp

from glue_jax.kernels.quasiseparable.decays import Decays, sums


def matrix(
  dt: jax.Array,
  a: jax.Array,
  b: jax.Array,
  c: jax.Array,
  delta: jax.Array,
) -> jax.Array:
  """M (B, H, L, L) in float32; arguments as in quasiseparable.py."""
  return chunk_matrix(
    sums(dt, a, dt.shape[2]), b, read_by_neighbours(c), delta
  )[0]


def read_by_neighbours(c: jax.Array) -> jax.Array:
  """Shifts c (2, B, L, G, N): row i reads a neighbour's state by its C."""
  return jnp.stack([shifted(c[0], 1), shifted(c[1], -1)])


def shifted(y: jax.Array, by: int) -> jax.Array:
  """Moves (B, L, ...) one position to the right or left; zero comes in."""
  zero = jnp.zeros_like(y[:, :1])
  parts = [zero, y[:, :-1]] if by == 1 else [y[:, 1:], zero]
  return jnp.concatenate(parts, axis=1)


def scores(b: jax.Array, c: jax.Array) -> jax.Array:
  """C_i . B_j of the direction that (i, j) belongs to: (B, G, Q, Q) float32."""
  both = dot('dzign,dzjgn->dzgij', c, b)
  return jnp.where(lower(b.shape[2]), both[0], both[1])


def decay(decays: Decays) -> jax.Array:
  """Decay between tokens i and j of a chunk: (B, H, Q, Q); 1 on the diagonal.

  Args:
    decays: those of one chunk, L = Q.
  """
  size = decays.dt.shape[-1]
  both = [
    (decays.read[:, d, ..., :, None] - decays.read_by[:, d, ..., None, :])
    for d in (0, 1)
  ]
  log = jnp.where(lower(size), both[0].sum(0), both[1].sum(0))
  # Before the exponential: the diagonal, which isn't of the form, may be > 0.
  return jnp.exp(jnp.where(jnp.eye(size, dtype=bool), 0.0, log))


def steps(decays: Decays) -> jax.Array:
  """dt_j of the direction that (i, j) belongs to: (B, H, Q, Q)."""
  size = decays.dt.shape[-1]
  dt = decays.dt[..., None, :]
  return jnp.where(lower(size), dt[0], dt[1])


def lower(size: int) -> jax.Array:
  """The strict lower triangle (Q, Q) bool: the forward direction's."""
  return jnp.tri(size, k=-1, dtype=bool)


def chunk_matrix(
  decays: Decays, b: jax.Array, c: jax.Array, delta: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """M (B, H, Q, Q) of one chunk, and its decays with a zero diagonal.

  Args:
    decays: those of the chunk, L = Q.
    b: (2, B, Q, G, N).
    c: (2, B, Q, G, N), shifted.
    delta: (B, Q, H).
  """
  size, heads = decays.dt.shape[-1], decays.dt.shape[2]
  diagonal = jnp.eye(size, dtype=bool)
  weight = jnp.where(diagonal, 0.0, decay(decays))
  score = jnp.repeat(scores(b, c), heads // b.shape[3], axis=1)
  delta = delta.astype(jnp.float32).swapaxes(1, 2)[..., None]
  return jnp.where(diagonal, delta, score * weight * steps(decays)), weight


def dot(equation: str, one: jax.Array, two: jax.Array) -> jax.Array:
  """An einsum with float32 sums; in full precision for float32 inputs."""
  return jnp.einsum(
    equation,
    one,
    two,
    precision=jax.lax.Precision.HIGHEST,
    preferred_element_type=jnp.float32,
  )
