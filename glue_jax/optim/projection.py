"""Projection of gradients onto their top singular subspaces (GaLore).

Zhao et al. 2024, arXiv 2403.03507, section 4; official code
jiaweizzhao/GaLore. A matrix G (m, n) of rank-r factors U (m, r) and V^T (r, n)
is projected to R = U^T G, G V or U^T G V, and an update N of R's shape comes
back as U N, N V^T or U N V^T. Leading dimensions are separate matrices.

SVD signs are arbitrary, and moments outlive a refresh of the factors, so signs
are fixed: the entry of largest magnitude of every singular vector is positive.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from glue_jax.config.ranges import OneOf

# (U (..., m, r) or None, V^T (..., r, n) or None); one at least is there.
Factors = tuple[jax.Array | None, jax.Array | None]

# 'std' projects the smaller dimension (the columns of a square matrix),
# 'reverse_std' the larger (the rows), 'full' both.
Projection = Literal['std', 'reverse_std', 'left', 'right', 'full']
OVERSAMPLES, POWER_STEPS = 8, 2


def sides(projection: str, m: int, n: int) -> tuple[bool, bool]:
  """Returns whether the rows are projected (by U), and the columns (by V).

  The official code says this of weights laid out (out, in). Here kernels are
  (in, out): 'std' and 'reverse_std' project the same dimension of the layer in
  both layouts, except for square matrices; there 'left' or 'right' decides.

  Args:
    projection: see `Projection`.
    m, n: rows and columns.
  """
  return {
    'std': (m < n, m >= n),
    'reverse_std': (m >= n, m < n),
    'left': (True, False),
    'right': (False, True),
    'full': (True, True),
  }[projection]


def shapes(
  projection: str, rank: int, shape: tuple[int, ...]
) -> tuple[tuple | None, tuple | None, tuple]:
  """Returns the shapes of U, V^T and R for a gradient's shape (..., m, n)."""
  *lead, m, n = shape
  rows, columns = sides(projection, m, n)
  return (
    (*lead, m, rank) if rows else None,
    (*lead, rank, n) if columns else None,
    (*lead, rank if rows else m, rank if columns else n),
  )


def project(g: jax.Array, factors: Factors) -> jax.Array:
  """Returns R in float32, see the module."""
  left, right = factors
  g = g.astype(jnp.float32)
  if left is not None:
    g = jnp.einsum('...mr,...mn->...rn', left.astype(jnp.float32), g)
  if right is not None:
    g = jnp.einsum('...mn,...rn->...mr', g, right.astype(jnp.float32))
  return g


def back(r: jax.Array, factors: Factors) -> jax.Array:
  """Returns the full-size matrix of a projected one, in float32."""
  left, right = factors
  if left is not None:
    r = jnp.einsum('...mr,...rn->...mn', left.astype(jnp.float32), r)
  if right is not None:
    r = jnp.einsum('...mr,...rn->...mn', r, right.astype(jnp.float32))
  return r


def find(
  g: jax.Array,
  rank: int,
  projection: str = 'std',
  solver: str = 'svd',
  key: jax.Array | None = None,
) -> Factors:
  """Returns the factors of the top-`rank` singular subspaces of g.

  A decomposition that doesn't converge gives NaN, which the loop finds in the
  update and stops at.

  Args:
    g: (..., m, n), any float type; decomposed in float32.
    rank: at most min(m, n).
    projection: see `Projection`.
    solver: a key of `SOLVERS`.
    key: typed key of the random range finder; fixed by default.
  """
  rows, columns = sides(projection, *g.shape[-2:])
  key = jax.random.key(0) if key is None else key
  u, vt = SOLVERS[solver](g.astype(jnp.float32), rank, key)
  left = _fix_signs(u, -2) if rows else None
  right = _fix_signs(vt, -1) if columns else None
  return left, right


def share_out(fn: Callable[[jax.Array], Any], stack: jax.Array) -> Any:
  """Returns fn(stack), every device of the mesh doing its share of the stack.

  XLA doesn't partition decompositions: without this each device does them all.

  Args:
    fn: maps (k, ...) to a tree of arrays (k, ...), matrix by matrix.
    stack: (k, ...); k need not be divisible by the number of devices.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.size == 1:
    return fn(stack)
  count = len(stack)
  # What fills up the last shares is a copy: zeros have no singular vectors.
  fill = jnp.broadcast_to(stack[:1], (-count % mesh.size, *stack.shape[1:]))
  # Matrices may be split themselves; a share needs them whole.
  stack = jax.lax.with_sharding_constraint(jnp.concatenate([stack, fill]), P())
  spec = P(mesh.axis_names)
  shared = jax.shard_map(
    fn, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
  )
  whole = jax.lax.with_sharding_constraint(shared(stack), P())
  return jax.tree.map(lambda x: x[:count], whole)


def devices() -> int:
  """Returns the number of devices of the mesh that is entered, or 1."""
  mesh = jax.sharding.get_abstract_mesh()
  return 1 if mesh.empty else mesh.size


def _svd(g, rank, key):
  del key
  u, _, vt = jnp.linalg.svd(g, full_matrices=False)
  return u[..., :rank], vt[..., :rank, :]


def _gram(g, rank, key):
  """Eigenvectors of the smaller Gram matrix; their images on the other side."""
  del key
  # Squares of small entries would vanish.
  largest = jnp.max(jnp.abs(g), (-2, -1), keepdims=True)
  g = g / jnp.where(largest > 0, largest, 1.0)
  m, n = g.shape[-2:]
  if m < n:
    vt, ut = _gram(g.mT, rank, None)
    return ut.mT, vt.mT
  _, v = jnp.linalg.eigh(g.mT @ g)  # rising eigenvalues
  v = v[..., ::-1][..., :rank]
  return jnp.linalg.qr(g @ v)[0], v.mT


def _randomised(g, rank, key):
  """Halko et al. 2011, arXiv 0909.4061, algorithms 4.4 and 5.1."""
  m, n = g.shape[-2:]
  size = min(rank + OVERSAMPLES, m, n)
  omega = jax.random.normal(key, (n, size))
  q = jnp.linalg.qr(g @ omega)[0]
  for _ in range(POWER_STEPS):
    q = jnp.linalg.qr(g.mT @ q)[0]
    q = jnp.linalg.qr(g @ q)[0]
  # Q^T G = T^T W^T with W orthonormal: only a small matrix is left.
  w, t = jnp.linalg.qr(g.mT @ q)
  u, _, vt = jnp.linalg.svd(t.mT, full_matrices=False)
  return (q @ u)[..., :rank], (vt @ w.mT)[..., :rank, :]


# (g (..., m, n), rank, key) -> (U (..., m, rank), V^T (..., rank, n)).
SOLVERS: dict[str, Callable] = {
  'svd': _svd,
  'randomised': _randomised,
  'gram': _gram,
}
Solver = Annotated[str, OneOf(SOLVERS)]


def _fix_signs(vectors, axis):
  """Makes the largest entry along `axis` of each vector positive."""
  place = jnp.argmax(jnp.abs(vectors), axis, keepdims=True)
  largest = jnp.take_along_axis(vectors, place, axis)
  return vectors * jnp.where(largest < 0, -1.0, 1.0)
