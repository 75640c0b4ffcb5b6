"""LaMDA: a small square matrix between two spectral projections.

Azizi et al. 2024, arXiv 2406.12832: y = x W' + bias + s (((x A) S) B), with
s = alpha / r; A (in, r) is frozen, S (r, r) learns, B (r, out) learns in an
early phase while its rows are frozen one by one in singular-value order. In the
paper's orientation these are A^T (PMA), S^T (LDA) and B^T (PMB): a row of B
here is a column there.

Initialisations, of W = V diag(sigma) U^T with sigma descending:

- svd_residual: A = V_r, B = U_r^T, S = diag(sigma_r) / s, W' = W - V_r
  diag(sigma_r) U_r^T. The paper says that the projections come from the leading
  singular vectors; what becomes of W and S is not confirmed.
- svd_zero: the same A and B, S = 0, W' = W.
- released: as the official code, which has no SVD: A and S uniform as linear
  layers are, B = 0, W' = W. (Its S is bfloat16; here all is float32, as small
  updates would be lost.)
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from glue_jax import tree
from glue_jax.config.ranges import OneOf
from glue_jax.layers.dropout import dropout as drop
from glue_jax.plugs import Plug, Site

INITIALISATIONS = ('svd_residual', 'svd_zero', 'released')
SCHEDULES = ('intended', 'released')
Initialisation = Annotated[str, OneOf(INITIALISATIONS)]
Schedule = Annotated[str, OneOf(SCHEDULES)]
_LEAVES = ('/lamda_a', '/lamda_s', '/lamda_b')

# Path of a layer -> its rank.
RankOf = Callable[[str], int]


def plug(
  pattern: str, rank_of: RankOf, alpha: float, dropout: float = 0.0
) -> Plug:
  """Adds leaves lamda_a (in, r), lamda_s (r, r), lamda_b (r, out).

  They start as `released`; `decompose` overwrites them for the other two.

  Args:
    pattern: full-match regex on the paths of linear layers.
    rank_of: path -> r.
    alpha: s = alpha / r.
    dropout: rate on the input of A while training.

  Raises:
    ValueError: (when bound) the rank exceeds a layer's size.
  """
  zeros = jax.nn.initializers.zeros

  def call(site: Site, next_fn, x):
    y = next_fn(x)
    rank = rank_of(site.path)
    if rank > min(x.shape[-1], y.shape[-1]):
      raise ValueError(
        f'lamda rank={rank} exceeds min(d_in, d_out)='
        f'{min(x.shape[-1], y.shape[-1])} at {site.path}; lower the rank'
      )
    a = site.param('lamda_a', _uniform(x.shape[-1]), (x.shape[-1], rank))
    s = site.param('lamda_s', _uniform(rank), (rank, rank))
    b = site.param('lamda_b', zeros, (rank, y.shape[-1]))
    if dropout and site.train:
      x = drop(x, site.rng(), dropout)
    a, s, b = (leaf.astype(x.dtype) for leaf in (a, s, b))
    return y + (alpha / rank) * (((x @ a) @ s) @ b)

  return Plug(pattern, call)


def _uniform(fan_in: int) -> Callable[..., jax.Array]:
  """Draws from U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
  bound = fan_in**-0.5

  def init(rng, shape, dtype=jnp.float32):
    return jax.random.uniform(rng, shape, dtype, -bound, bound)

  return init


def spectrum(
  kernel: Any, name: str = 'kernel'
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns V (in, n), sigma (n,) descending and U^T (n, out), float64.

  Signs are fixed: in each right vector (column of V) the entry of the largest
  magnitude is positive, so that runs and processes agree.

  Args:
    kernel: (in, out); n = min(in, out).
    name: for messages.

  Raises:
    ValueError: a value isn't finite, or the decomposition doesn't converge.
  """
  kernel = np.asarray(kernel, np.float64)
  bad = int(kernel.size - np.isfinite(kernel).sum())
  if bad:
    raise ValueError(
      f'{name}: {bad} of {kernel.size} values are not finite, so it has no '
      'singular values; check the weights'
    )
  try:
    v, sigma, ut = np.linalg.svd(kernel, full_matrices=False)
  except np.linalg.LinAlgError as error:
    raise ValueError(f'{name}: no singular values: {error}') from error
  largest = v[np.abs(v).argmax(0), np.arange(v.shape[1])]
  sign = np.where(largest < 0, -1.0, 1.0)
  return v * sign, sigma, ut * sign[:, None]


def decompose(
  kernel: Any, rank: int, alpha: float, init: str, name: str = 'kernel'
) -> dict[str, np.ndarray]:
  """Returns the leaves of a layer that starts from its own spectrum.

  Args:
    kernel: W (in, out).
    rank: r.
    alpha: s = alpha / r.
    init: 'svd_residual' or 'svd_zero'.
    name: of the kernel, for messages.

  Returns:
    lamda_a (in, r), lamda_s (r, r), lamda_b (r, out) and kernel (in, out), all
    float32.
  """
  v, sigma, ut = spectrum(kernel, name)
  a, b, core = v[:, :rank], ut[:rank], np.diag(sigma[:rank])
  kernel = np.asarray(kernel, np.float64)
  if init == 'svd_residual':
    kernel, s = kernel - a @ core @ b, core / (alpha / rank)
  else:
    s = np.zeros_like(core)
  leaves = {'lamda_a': a, 'lamda_s': s, 'lamda_b': b, 'kernel': kernel}
  return {key: value.astype(np.float32) for key, value in leaves.items()}


def initialise(
  params: tree.Tree, pattern: str, alpha: float, init: str
) -> tree.Tree:
  """Returns the tree with every layer's leaves from its spectrum, on the host.

  Args:
    params: a tree with the plug's leaves.
    pattern: full-match regex on the paths of the layers.
    alpha, init: see `decompose`.

  Raises:
    ValueError: a layer without a plain kernel, or values that aren't finite.
  """
  flat = dict(tree.flatten(params))
  for name in list(flat):
    path, _, leaf = name.rpartition('/')
    if leaf != 'lamda_a' or not tree.matches(pattern, path):
      continue
    kernel = f'{path}/kernel'
    if kernel not in flat:
      raise ValueError(f'lamda init={init}: {path} has no leaf kernel')
    rank = flat[name].shape[1]
    leaves = decompose(flat[kernel], rank, alpha, init, kernel)
    flat |= {
      f'{path}/{key}': jnp.asarray(value, flat[f'{path}/{key}'].dtype)
      for key, value in leaves.items()
    }
  return tree.unflatten(flat)


def merge(params: tree.Tree, alpha: float) -> tree.Tree:
  """Folds A, S, B into every kernel: W' + s A S B; the leaves are dropped."""
  flat = tree.flatten(params)
  merged = {n: x for n, x in flat.items() if not n.endswith(_LEAVES)}
  for name, a in flat.items():
    if name.endswith('/lamda_a'):
      path = name.removesuffix('/lamda_a')
      inner = a @ flat[f'{path}/lamda_s'] @ flat[f'{path}/lamda_b']
      kernel = merged[f'{path}/kernel']
      delta = (alpha / a.shape[1]) * inner
      merged[f'{path}/kernel'] = kernel + delta.astype(kernel.dtype)
  return tree.unflatten(merged)


def frozen_rows(
  step: int, rank: int, total: int, rate: float, schedule: str = 'intended'
) -> int:
  """Returns how many leading rows of B stand still in a step.

  Args:
    step: 1-based.
    rank: r.
    total: steps of the run.
    rate: eta: the share of the steps after which all of B is frozen.
    schedule: 'intended': min(r, floor(r step / (eta total))); 'released': the
      official counter, which lacks the factor r and so never exceeds 1 / eta.
      It counts micro-steps: give micro-steps for both `step` and `total`.
  """
  if not rate:
    return rank
  numerator = rank * step if schedule == 'intended' else step
  return min(rank, int(numerator / (rate * total)))


def freezing_steps(
  rank: int, total: int, rate: float, schedule: str = 'intended'
) -> np.ndarray:
  """Returns the 1-based step from which each row of B is frozen, (r,) int.

  Rows that are never frozen within the run have total + 1. Arguments as in
  `frozen_rows`, of which it is the inverse.
  """
  counts = [
    frozen_rows(step, rank, total, rate, schedule)
    for step in range(1, total + 1)
  ]
  return 1 + np.searchsorted(counts, np.arange(1, rank + 1))


class FreezeState(NamedTuple):
  """Finished updates, () int32, and the optimizer's own state."""

  count: jax.Array
  inner: Any


def freeze_gradually(
  tx: optax.GradientTransformation,
  pattern: str,
  steps_of: Callable[[int], np.ndarray],
  gradient_only: bool = False,
) -> optax.GradientTransformation:
  """Freezes the rows of every B one after another.

  Both gradient and update of a frozen row are zero: the one keeps it out of the
  clipped norm, the other stops momentum and weight decay.

  Args:
    tx: the optimizer.
    pattern: full-match regex on the paths of the layers.
    steps_of: r -> `freezing_steps`.
    gradient_only: as the official code: AdamW goes on moving frozen rows.
  """
  tx = optax.with_extra_args_support(tx)

  def masked(updates, step):
    def mask(name, x):
      if not tree.matches(f'({pattern})/lamda_b', name):
        return x
      moves = step < jnp.asarray(steps_of(x.shape[0]))
      return jnp.where(moves[:, None], x, 0)

    return tree.map_named(mask, updates)

  def init(params):
    return FreezeState(jnp.zeros((), jnp.int32), tx.init(params))

  def update(grads, state, params=None, **extra):
    step = state.count + 1
    grads = masked(grads, step)
    updates, inner = tx.update(grads, state.inner, params, **extra)
    if not gradient_only:
      updates = masked(updates, step)
    return updates, FreezeState(step, inner)

  return optax.GradientTransformationExtraArgs(init, update)


def updated_parameters(
  shapes: Mapping[str, tuple[int, int]], steps_of: Callable, total: int
) -> float:
  """Returns the mean number of elements of S and B that move in a step.

  Args:
    shapes: {path: (r, out)} of every B.
    steps_of: r -> `freezing_steps`.
    total: steps of the run.
  """
  moving = 0
  for rank, size in shapes.values():
    steps = np.minimum(steps_of(rank), total + 1) - 1
    moving += rank * rank * total + size * int(steps.sum())
  return moving / total
