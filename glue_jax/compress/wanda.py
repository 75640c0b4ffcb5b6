"""WANDA: pruning by weight times activation, without training.

Sun et al. 2023, arXiv 2306.11695: the score of W_ij is |W_ij| ||x_j||_2, x_j
the j-th input of the layer over calibration tokens; of each output the lowest
share is set to zero. Kernels are (in, out) here, so an output is a column.
"""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from glue_jax import tree
from glue_jax.config.ranges import Rate, checked
from glue_jax.plugs import Plug, Site

_SQUARES = 'input_squares'


def keep_mask(
  kernel: jax.Array, norms: jax.Array, sparsity: float
) -> jax.Array:
  """Which weights stay: (in, out) bool.

  floor(in * sparsity) of each output go; of equal scores the first inputs'.

  Args:
    kernel: (in, out).
    norms: of the inputs, (in,), up to a common factor.
    sparsity: share that goes, in [0, 1).
  """
  score = jnp.abs(kernel) * norms[:, None]
  gone = int(kernel.shape[0] * sparsity)
  rank = jnp.argsort(jnp.argsort(score, axis=0, stable=True), axis=0)
  return rank >= gone


@checked
def prune(
  params: tree.Tree, norms: Mapping[str, np.ndarray], sparsity: Rate
) -> tree.Tree:
  """Zeroes the lowest-scored weights of every layer that there are norms of.

  Args:
    params: whole tree.
    norms: {path of a linear layer: (in,)}; see `read_norms`.
    sparsity: share that goes, in [0, 1).

  Raises:
    ValueError: an argument that isn't what its annotation says, a layer without
      such a kernel, or norms that aren't finite.
  """
  new = tree.flatten(params)
  for path, values in norms.items():
    name = f'{path}/kernel'
    if name not in new:
      packed = f'{path}/nf4_codes' in new
      raise ValueError(
        f'wanda: {path} has no kernel to prune'
        + (
          '; it is packed: list wanda before nf4 or qlora'
          if packed
          else '; are the norms those of another model?'
        )
      )
    if values.shape != new[name].shape[:1] or not np.isfinite(values).all():
      raise ValueError(
        f'wanda: norms {values.shape} of {path}, expected finite numbers of '
        f'shape {new[name].shape[:1]}'
      )
    mask = keep_mask(new[name], jnp.asarray(values), sparsity)
    new[name] = jnp.where(mask, new[name], 0)
  return tree.unflatten(new)


def read_norms(path: str) -> dict[str, np.ndarray]:
  """Reads {path of a linear layer: (in,)}.

  Raises:
    ValueError: there is no such file, or it holds something else.
  """
  try:
    with np.load(path, allow_pickle=False) as file:
      norms = {name: file[name] for name in file.files}
  except (OSError, ValueError) as error:
    raise ValueError(
      f'wanda: norms {path!r} cannot be read ({error}); write them with '
      'python -m launch.probe input-norms --config=CONFIG --output=FILE'
    ) from error
  if not norms:
    raise ValueError(f'wanda: {path} holds no norms')
  return norms


def plug(pattern: str, mask: jax.Array) -> Plug:
  """Captures sums of squares of the inputs of linear layers, (in,).

  Args:
    pattern: full-match regex on paths; matches that are no linear layers are
      passed over.
    mask: (B, L), 1 = real token; padding is left out.
  """

  def call(site: Site, next_fn, x, *args, **kwargs):
    if isinstance(site.module, nn.Dense):
      real = mask[:, : x.shape[1], None] != 0
      squares = jnp.square(jnp.where(real, x, 0).astype(jnp.float32))
      site.capture(_SQUARES, squares.sum((0, 1)))
    return next_fn(x, *args, **kwargs)

  return Plug(pattern, call)


def input_squares(captured: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
  """Returns {path of a layer: (in,)} of what the plug captured."""
  ending = f'/{_SQUARES}'
  return {
    name.removesuffix(ending): value
    for name, value in captured.items()
    if name.endswith(ending)
  }


def keep_zeros(
  names: Callable[[str], bool],
) -> optax.GradientTransformation:
  """Updates that leave a weight at zero which is at zero.

  The zeros themselves are the mask: nothing else needs to be kept or saved.

  Args:
    names: says which leaves were pruned.
  """

  def update(updates, state, params=None):
    values = tree.flatten(params)
    held = tree.map_named(
      lambda name, u: jnp.where(values[name] == 0, 0, u) if names(name) else u,
      updates,
    )
    return held, state

  return optax.GradientTransformation(lambda _: optax.EmptyState(), update)
