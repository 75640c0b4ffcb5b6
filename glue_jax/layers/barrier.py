"""A part of a program that the compiler leaves as it stands."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def apart(fn: Callable[..., Any], *operands: Any) -> Any:
  """Returns `fn(*operands)`, computed as it stands, all of it at one time.

  What saves memory is otherwise undone: a compiler keeps what it finds computed
  already instead of computing it again, puts off what is needed last, or fuses
  the sums of many layers into each of their uses and keeps all their terms. A
  barrier ties operands and results together. On a CPU barriers are gone before
  operations are fused and ordered; nothing is moved through a conditional,
  though, so there `fn` is the branch that is always taken.

  Args:
    fn: (*operands) -> a tree of arrays.
    *operands: trees of arrays, a floating-point one among them.
  """
  return jax.lax.platform_dependent(
    *operands,
    cpu=lambda *operands: _branch(fn, operands),
    default=lambda *operands: _barrier(fn, operands),
  )


def _branch(fn, operands):
  shapes = jax.eval_shape(fn, *operands)

  def zeros(*_):
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

  some = next(
    leaf
    for leaf in jax.tree.leaves(operands)
    if jnp.issubdtype(leaf.dtype, jnp.floating)
  )
  one = some[(0,) * some.ndim].astype(jnp.float32)
  # No number is both; the compiler doesn't know.
  never = jnp.isnan(one) & jnp.isinf(one)
  return jax.lax.cond(never, zeros, fn, *operands)


def _barrier(fn, operands):
  operands = jax.lax.optimization_barrier(operands)
  return jax.lax.optimization_barrier(fn(*operands))
