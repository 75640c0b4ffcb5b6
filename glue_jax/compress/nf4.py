"""NF4: weights in four bits, the quantiles of a normal distribution as levels.

Dettmers et al. 2023, arXiv 2305.14314; the numbers are those of the library
`bitsandbytes`. W (out, in), the transpose of a kernel, is cut row by row into
blocks of 64; each keeps its largest absolute value, and a weight is the index
of the level nearest to weight / absmax. Double quantisation: absmax less its
mean over the blocks is itself stored in 8 bits, 256 to a scale (the paper says
FP8, the library has a fixed code; the library is followed).

Packed leaves of a linear layer, beside its bias and in place of its kernel:
  nf4_codes (blocks, 32) uint8    two indices a byte, the first in the high bits
  nf4_absmax (blocks,) float32; with double quantisation uint8, and
  nf4_nested (blocks / 256,), nf4_offset () float32
Blocks lead, so that devices which split that axis hold whole blocks.
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.layers.barrier import apart
from glue_jax.plugs import Plug, Site

BLOCK, NESTED, GRID = 64, 256, 2**16
LEAVES = ('nf4_codes', 'nf4_absmax', 'nf4_nested', 'nf4_offset')
CODE = np.array(
  [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
    0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
  ],
  np.float32,
)  # fmt: skip


@functools.cache
def dynamic_code() -> np.ndarray:
  """The 256 levels of the 8-bit code, ascending.

  Seven decades below 1, 2^i levels of either sign in the i-th: the middles of
  equal parts of [0.1, 1]. Besides 0 and 1.
  """
  levels = [0.0, 1.0]
  for i in range(7):
    ends = np.linspace(0.1, 1, 2**i + 1, dtype=np.float32)
    means = (ends[:-1] + ends[1:]) / np.float32(2)
    for sign in (1, -1):
      levels += (sign * 10.0 ** (i - 6) * means).tolist()
  return np.sort(np.array(levels, np.float32))


@functools.cache
def _dynamic_indices() -> np.ndarray:
  """The index of the nearest 8-bit level, for 65536 equal steps of [-1, 1].

  The library looks indices up in such a table, so that a value near the middle
  of two levels may get the farther one.
  """
  levels = dynamic_code()
  steps = np.float32(-1) + np.float32(2) * np.arange(GRID) / np.float32(
    GRID - 1
  )
  middles = (levels[:-1] + levels[1:]) / np.float32(2)
  return np.searchsorted(middles, steps, side='left').astype(np.uint8)


def quantise(w: jax.Array, block: int = BLOCK) -> tuple[jax.Array, jax.Array]:
  """Quantises an array, flattened row by row.

  Args:
    w: any shape; the last block is filled up with zeros.
    block: values that share a scale, an even number.

  Returns:
    (packed (blocks, block / 2) uint8, absmax (blocks,) float32).

  Raises:
    ValueError: an odd or non-positive block.
  """
  if block < 2 or block % 2:
    raise ValueError(f'nf4 block={block}: expected a positive even number')
  flat = jnp.ravel(w).astype(jnp.float32)
  rows = jnp.pad(flat, (0, -flat.size % block)).reshape(-1, block)
  absmax = jnp.abs(rows).max(1)
  # A block of zeros has the index of 0 throughout.
  scaled = rows * (1 / jnp.where(absmax > 0, absmax, 1))[:, None]
  middles = (CODE[:-1] + CODE[1:]) / np.float32(2)
  codes = jnp.searchsorted(middles, scaled, side='left').astype(jnp.uint8)
  pairs = codes.reshape(len(rows), -1, 2)
  return pairs[..., 0] * jnp.uint8(16) + pairs[..., 1], absmax


def dequantise(
  packed: jax.Array,
  absmax: jax.Array,
  shape: tuple[int, ...],
  dtype: Any = jnp.float32,
) -> jax.Array:
  """Returns the array that `quantise` packed, in its shape.

  Args:
    packed: (blocks, block / 2) uint8.
    absmax: (blocks,) float32.
    shape: of the array.
    dtype: of the result; levels are scaled in float32.
  """
  pairs = jnp.stack([packed >> 4, packed & 15], axis=-1)
  levels = jnp.asarray(CODE)[pairs.reshape(len(packed), -1)]
  flat = (levels * absmax[:, None]).astype(dtype).reshape(-1)
  return flat[: int(np.prod(shape))].reshape(shape)


def quantise_absmax(
  absmax: jax.Array, nested: int = NESTED
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Double quantisation: ((blocks,) uint8, scales, () their offset).

  Args:
    absmax: (blocks,) float32.
    nested: how many share one of the scales.
  """
  offset = absmax.mean()
  rest = absmax - offset
  rows = jnp.pad(rest, (0, -rest.size % nested)).reshape(-1, nested)
  scale = jnp.abs(rows).max(1)
  inverse = 1 / jnp.where(scale > 0, scale, 1)
  steps = (rows * inverse[:, None] + 1) * 0.5 * (GRID - 1) + 0.5
  codes = jnp.asarray(_dynamic_indices())[steps.astype(jnp.int32)]
  # As the library has it where all are equal; the scale is 0 there.
  codes = jnp.where(scale[:, None] > 0, codes, 0)
  return codes.reshape(-1)[: absmax.size], scale, offset


def dequantise_absmax(
  codes: jax.Array, scale: jax.Array, offset: jax.Array, nested: int = NESTED
) -> jax.Array:
  """Returns absmax (blocks,), the inverse of `quantise_absmax`."""
  levels = jnp.asarray(dynamic_code())[codes]
  return levels * jnp.repeat(scale, nested)[: codes.size] + offset


def pack(kernel: jax.Array, double: bool = True) -> dict[str, jax.Array]:
  """Returns the packed leaves of a kernel (in, out); see the file's header."""
  codes, absmax = quantise(kernel.T)
  if not double:
    return {'nf4_codes': codes, 'nf4_absmax': absmax}
  values = (codes, *quantise_absmax(absmax))
  return dict(zip(LEAVES, values, strict=True))


def shapes(
  shape: tuple[int, int], double: bool = True
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns shapes and types of the packed leaves of a kernel (in, out)."""
  kernel = jax.ShapeDtypeStruct(shape, jnp.float32)
  return jax.eval_shape(functools.partial(pack, double=double), kernel)


def unpack(
  leaves: Mapping[str, jax.Array],
  shape: tuple[int, int],
  dtype: Any = jnp.float32,
) -> jax.Array:
  """Returns the kernel (in, out) of the leaves that `pack` made."""
  absmax = leaves['nf4_absmax']
  if 'nf4_nested' in leaves:
    absmax = dequantise_absmax(
      absmax, leaves['nf4_nested'], leaves['nf4_offset']
    )
  return dequantise(leaves['nf4_codes'], absmax, shape[::-1], dtype).T


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def matmul(
  x: jax.Array, leaves: Mapping[str, jax.Array], features: int
) -> jax.Array:
  """x (..., in) times the packed kernel: (..., features), in the type of x.

  The gradient goes to x only. The kernel lives for the length of a product:
  the backward pass unpacks it again in place of keeping it.
  """
  return x @ unpack(leaves, (x.shape[-1], features), x.dtype)


def _forward(x, leaves, features):
  return matmul(x, leaves, features), (leaves, x.shape[-1])


def _backward(features, kept, g):
  leaves, width = kept

  def gradient(g, leaves):
    return g @ unpack(leaves, (width, features), g.dtype).T

  # Else the compiler sees one kernel in both passes, and keeps it from the
  # first to the second.
  return apart(gradient, g, leaves), None


matmul.defvjp(_forward, _backward)


def plug(pattern: str, double: bool = True) -> Plug:
  """Makes every matching linear layer multiply by its packed kernel.

  Raises:
    ValueError: (when bound) a match is no linear layer, or another plug sits
      on it already and would be passed over.
  """

  def call(site: Site, next_fn, x):
    del next_fn  # It would ask for the kernel.
    layer = site.module
    if not isinstance(layer, nn.Dense):
      raise ValueError(
        f'nf4 packs linear layers; {site.path} is {type(layer).__name__}'
      )
    if not site.innermost(call):
      raise ValueError(
        f'another method changes {site.path} before its weights are packed; '
        'list the method that packs them (nf4, qlora) first'
      )
    x = x.astype(layer.dtype or x.dtype)
    # Made as zeros: surgery packs the kernel that is there.
    zeros = jax.nn.initializers.zeros
    leaves = {
      name: site.param(name, zeros, leaf.shape, leaf.dtype)
      for name, leaf in shapes((x.shape[-1], layer.features), double).items()
    }
    y = matmul(x, leaves, layer.features)
    if layer.use_bias:
      bias = site.param('bias', layer.bias_init, (layer.features,))
      y += bias.astype(y.dtype)
    return y

  return Plug(pattern, call)


def pack_tree(
  params: tree.Tree, pattern: str, double: bool = True
) -> tree.Tree:
  """Replaces the kernel of every layer that matches by its packed leaves.

  Args:
    params: whole tree, with or without packed leaves from the plugs.
    pattern: full-match regex on the paths of linear layers.
    double: double quantisation.

  Raises:
    ValueError: no kernel matches.
  """
  flat = tree.flatten(params)
  kernels = tree.match([f'({pattern})/kernel'], flat)
  new = {name: x for name, x in flat.items() if name not in kernels}
  packed = jax.jit(pack, static_argnums=1)
  for name in sorted(kernels):
    site = name.removesuffix('/kernel')
    for leaf, value in packed(flat[name], double).items():
      new[f'{site}/{leaf}'] = value
  return tree.unflatten(new)


def unpack_tree(
  params: tree.Tree, sizes: Mapping[str, tuple[int, int]]
) -> tree.Tree:
  """Gives every layer its dequantised kernel back; the leaves are dropped.

  Args:
    params: tree with packed leaves.
    sizes: {kernel name: (in, out)} of the plain model.
  """
  flat = tree.flatten(params)
  sites = [n.rpartition('/')[0] for n in flat if n.endswith('/nf4_codes')]
  new = {n: x for n, x in flat.items() if n.rpartition('/')[2] not in LEAVES}
  for site in sites:
    leaves = {
      leaf: flat[f'{site}/{leaf}']
      for leaf in LEAVES
      if f'{site}/{leaf}' in flat
    }
    name = f'{site}/kernel'
    new[name] = unpack(leaves, sizes[name])
  return tree.unflatten(new)


def bits_per_weight(leaves: Mapping[str, Any], weights: int) -> float:
  """Bits that the packed leaves take for each of so many weights.

  Args:
    leaves: arrays or shapes; whole blocks are counted.
    weights: of the kernel.
  """
  return 8 * tree.nbytes(dict(leaves)) / weights
