"""Rows sorted into groups, and their product with one matrix a group.

Capacity-free: every row finds its place, whatever the shares. A group takes a
whole number of tiles, so that a tile has one matrix; a group without rows has
no tile and costs nothing. On TPU and GPU the product is `jax.lax.ragged_dot`;
on a CPU, where that multiplies all rows by all matrices (measured: 16 matrices,
16 times the time), a loop over the tiles in use.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Groups(NamedTuple):
  """Where the rows lie after sorting; P places, R rows.

  Attributes:
    source: (P,) the row at a place; R for none.
    place: (R,) the place of a row; P for rows of no group.
    group: (P,) the group of a place, clipped to the last.
    sizes: (n,) places of each group, multiples of `tile`.
    tile: places that share a matrix.
  """

  source: jax.Array
  place: jax.Array
  group: jax.Array
  sizes: jax.Array
  tile: int


def sort(ids: jax.Array, groups: int) -> Groups:
  """Sorts rows by group.

  Args:
    ids: (R,) group of each row; a row with another number than 0 .. n - 1 gets
      no place.
    groups: n.
  """
  rows = ids.shape[0]
  tile = tile_size(rows, groups)
  places = (-(-rows // tile) + groups) * tile
  ids = jnp.where((ids >= 0) & (ids < groups), ids, groups)
  member = ids[:, None] == jnp.arange(groups)
  rank = jnp.cumsum(member.astype(jnp.int32), axis=0)
  sizes = -(-rank[-1] // tile) * tile
  starts = jnp.cumsum(sizes) - sizes
  own = jnp.minimum(ids, groups - 1)
  within = jnp.take_along_axis(rank, own[:, None], axis=1)[:, 0] - 1
  place = jnp.where(ids < groups, starts[own] + within, places)
  source = jnp.full((places,), rows, jnp.int32)
  source = source.at[place].set(jnp.arange(rows), mode='drop')
  ends = jnp.cumsum(sizes)
  group = jnp.searchsorted(ends, jnp.arange(places), side='right')
  return Groups(source, place, jnp.minimum(group, groups - 1), sizes, tile)


def tile_size(rows: int, groups: int) -> int:
  """8 to 128, so that the places left empty don't outnumber the rows."""
  share = max(1, rows // groups)
  return min(128, max(8, 1 << (share.bit_length() - 1)))


@jax.custom_vjp
def gather(x: jax.Array, index: jax.Array, back: jax.Array) -> jax.Array:
  """Rows of x (R, D) at index (P,), zeros where it is R or more.

  Args:
    x: (R, D).
    index: (P,).
    back: (R, m) the places that read each row (P for none), so that the
      gradient is a gather as well: scattering rows is slow on a CPU.
  """
  del back
  return x.at[index].get(mode='fill', fill_value=0)


def _gather_forward(x, index, back):
  return gather(x, index, back), back


def _gather_backward(back, cotangent):
  rows = cotangent.at[back].get(mode='fill', fill_value=0)
  return rows.sum(1), None, None


gather.defvjp(_gather_forward, _gather_backward)


def dot(x: jax.Array, kernels: jax.Array, groups: Groups) -> jax.Array:
  """Rows times the matrix of their group.

  Args:
    x: (P, D), rows in places.
    kernels: (n, D, F).
    groups: of the rows.

  Returns:
    (P, F); what stands at places of no group carries no meaning but is finite.
  """
  owners = groups.group[:: groups.tile]
  used = groups.sizes.sum() // groups.tile
  return jax.lax.platform_dependent(
    x,
    kernels,
    cpu=lambda x, kernels: _tiled_dot(groups.tile, x, kernels, owners, used),
    default=lambda x, kernels: _ragged_dot(x, kernels, groups.sizes),
  )


def _ragged_dot(x, kernels, sizes):
  inside = (jnp.arange(x.shape[0]) < sizes.sum())[:, None]
  # What lies behind the last group is left undefined.
  return jnp.where(inside, jax.lax.ragged_dot(x, kernels, sizes), 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _tiled_dot(tile, x, kernels, owners, used):
  out = jnp.zeros((x.shape[0], kernels.shape[-1]), x.dtype)

  def one(i, out):
    rows = jax.lax.dynamic_slice_in_dim(x, i * tile, tile)
    kernel = jax.lax.dynamic_index_in_dim(kernels, owners[i], keepdims=False)
    return jax.lax.dynamic_update_slice_in_dim(out, rows @ kernel, i * tile, 0)

  # Its length is traced, so that tiles of nobody aren't computed.
  return jax.lax.fori_loop(0, used, one, out)


def _tiled_forward(tile, x, kernels, owners, used):
  return _tiled_dot(tile, x, kernels, owners, used), (x, kernels, owners, used)


def _tiled_backward(tile, saved, cotangent):
  x, kernels, owners, used = saved
  d_x = _tiled_dot(tile, cotangent, kernels.swapaxes(1, 2), owners, used)

  def one(i, total):
    def at(array):
      return jax.lax.dynamic_slice_in_dim(array, i * tile, tile)

    return total.at[owners[i]].add(at(x).T @ at(cotangent))

  zeros = jnp.zeros(kernels.shape, kernels.dtype)
  return d_x, jax.lax.fori_loop(0, used, one, zeros), None, None


_tiled_dot.defvjp(_tiled_forward, _tiled_backward)
