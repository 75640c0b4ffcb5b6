"""The kernels as one function with a gradient, on every device."""

import functools
from typing import Any

import jax
from jax.sharding import PartitionSpec as P

from glue_jax.kernels import mesh_axes
from glue_jax.kernels.disentangled import gpu, tpu

_FORMS = {'tpu': tpu, 'gpu': gpu}


def spread(
  static: tuple[str, Any, bool], x: jax.Array, table: jax.Array
) -> jax.Array:
  """`by_distance` on every device's own rows and heads."""
  fn = functools.partial(by_distance, static)
  sizes = mesh_axes.sizes()
  if not sizes:
    return fn(x, table)
  rows = mesh_axes.rows(x.shape[0])
  heads = 'tensor' if 'tensor' in sizes else None
  if heads and x.shape[1] % sizes[heads]:
    heads = None
  return jax.shard_map(
    fn,
    in_specs=(P(rows, heads), P(heads)),
    out_specs=P(rows, heads),
    check_vma=False,
  )(x, table)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def by_distance(
  static: tuple[str, Any, bool], x: jax.Array, table: jax.Array
) -> jax.Array:
  """`reference.by_distance` by the kernels of a platform.

  Args:
    static: platform, interpret, transposed.
    x: (B, H, L, K).
    table: (H, L + M, K).
  """
  platform, interpret, transposed = static
  kernel = _FORMS[platform].forward
  return kernel(x, table, transposed=transposed, interpret=interpret)


def _forward(static, x, table):
  return by_distance(static, x, table), (x, table)


def _backward(static, kept, cotangent):
  platform, interpret, transposed = static
  x, table = kept
  kernel = _FORMS[platform].backward
  d_x, d_table = kernel(
    cotangent, x, table, transposed=transposed, interpret=interpret
  )
  return d_x.astype(x.dtype), d_table.astype(table.dtype)


by_distance.defvjp(_forward, _backward)
