"""LoRA: a low-rank update beside a frozen linear layer.

Hu et al. 2021, arXiv 2106.09685, equation 3: y = x W + b + s (x A) B with
s = alpha / r, A (in, r), B (r, out) = 0. The paper's text says Gaussian A;
libraries use U(-1/sqrt(in), 1/sqrt(in)), which is followed here.

On an embedding table (V, E), as in libraries: a lookup gives W[i] + s A[i] B
with A (V, r) = 0 and B (r, E) from N(0, 1).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.config.ranges import Count, Positive, Rate, checked
from glue_jax.layers import paths
from glue_jax.peft.low_rank import low_rank
from glue_jax.plugs import Plug, Site

# Every linear layer but those of the head, as in peft.
ALL_LINEAR = 'all-linear'

# One number for all layers, or what gives it for the path of a layer.
Rank = Count | Callable[[str], int]
Factor = float | Callable[[str], float]


@checked
def scale(rank: Count, alpha: Positive, rank_stabilised: bool) -> float:
  """Returns s: alpha / r, or alpha / sqrt(r) (arXiv 2312.03732).

  Raises:
    ValueError: an argument that isn't what its annotation says.
  """
  return alpha / (rank**0.5 if rank_stabilised else rank)


def at(value: Any, path: str) -> Any:
  """Returns the number of one layer, of a `Rank` or a `Factor`."""
  return value(path) if callable(value) else value


def names_layer(pattern: str, path: str) -> bool:
  """Says whether a pattern matches a layer's path, or the end of it."""
  return re.fullmatch(f'(.*/)?({pattern})', path) is not None


def by_layer(
  default: Any, patterns: Mapping[str, Any] | None
) -> Callable[[str], Any]:
  """Returns path of a layer -> its number: of the first pattern that names it.

  Args:
    default: of layers that none names.
    patterns: {pattern, see `names_layer`: number}.
  """

  def number(path):
    for pattern, value in (patterns or {}).items():
      if names_layer(pattern, path):
        return value
    return default

  return number


def sites(targets: Sequence[str], layers: Sequence[int] | None = None) -> str:
  """Returns the pattern of the paths of linear layers.

  Args:
    targets: names of linear layers inside a block, or whole paths.
    layers: the blocks, counted from 0; None = all, and layers outside blocks.
  """
  names = '|'.join(targets)
  inside = paths.of(f'.*({names})', layers)
  return inside if layers is not None else f'{inside}|{names}'


def all_linear(
  shapes: Mapping[str, Any], layers: Sequence[int] | None = None
) -> list[str]:
  """Returns the targets that `ALL_LINEAR` stands for.

  Args:
    shapes: {parameter name: its shape and type}, from `models.model.shapes`.
    layers: as in `sites`.
  """
  targets = set()
  for name, leaf in shapes.items():
    path, _, last = name.rpartition('/')
    if last != 'kernel' or len(leaf.shape) != 2 or path.startswith('head/'):
      continue
    place = paths.split(path)
    if layers is None or (place and place.number in layers):
      targets.add(place.inside if place else path)
  return sorted(targets)


@checked
def plug(pattern: str, rank: Rank, factor: Factor, dropout: Rate = 0.0) -> Plug:
  """Adds leaves lora_a (in, r), lora_b (r, out) to every matching linear layer.

  Args:
    pattern: full-match regex on module paths.
    rank: r.
    factor: s, from `scale`.
    dropout: rate on the input of A while training.

  Raises:
    ValueError: an argument that isn't what its annotation says; (when bound)
      the rank exceeds a layer's size.
  """

  def call(site: Site, next_fn, x):
    y = next_fn(x)
    a, b = factors(site, x.shape[-1], y.shape[-1], rank)
    key = site.rng() if dropout and site.train else None
    low = low_rank(x, a.astype(x.dtype), b.astype(x.dtype), key, dropout)
    return y + at(factor, site.path) * low

  return Plug(pattern, call)


def factors(
  site: Site, d_in: int, d_out: int, rank: Rank
) -> tuple[jax.Array, jax.Array]:
  """Returns a layer's leaves A (in, r) and B (r, out).

  Raises:
    ValueError: the rank exceeds a side of the layer.
  """
  size = at(rank, site.path)
  if size > min(d_in, d_out):
    raise ValueError(
      f'lora rank={size} exceeds min(d_in, d_out)={min(d_in, d_out)} at '
      f'{site.path}; lower the rank'
    )
  a = site.param('lora_a', initial_a, (d_in, size))
  b = site.param('lora_b', jax.nn.initializers.zeros, (size, d_out))
  return a, b


def plugs(
  targets: Sequence[str],
  rank: Rank,
  factor: Factor,
  dropout: float = 0.0,
  layers: Sequence[int] | None = None,
) -> tuple[Plug, ...]:
  """Returns a `plug` for each target, so that none may match nothing."""
  patterns = (sites((target,), layers) for target in targets)
  return tuple(plug(pattern, rank, factor, dropout) for pattern in patterns)


def table_site(table: str) -> str:
  """Returns the pattern of an embedding table: 'word', 'position', ..."""
  return paths.table(table)


def table_plug(table: str, rank: Rank, factor: Factor) -> Plug:
  """Adds leaves lora_a (V, r), lora_b (r, E) to an embedding table.

  Args:
    table: its name in the embeddings: 'word', 'position' or 'token_type'.
    rank: r.
    factor: s, from `scale`.

  Raises:
    ValueError: (when bound) the rank exceeds a side of the table.
  """

  def call(site: Site, next_fn, ids):
    y = next_fn(ids)
    shape, size = (site.module.rows, y.shape[-1]), at(rank, site.path)
    if size > min(shape):
      raise ValueError(
        f'lora rank={size} exceeds min(rows, width)={min(shape)} at '
        f'{site.path}; lower the rank'
      )
    a = site.param('lora_a', jax.nn.initializers.zeros, (shape[0], size))
    b = site.param('lora_b', jax.nn.initializers.normal(1), (size, shape[1]))
    low = jnp.take(a, ids, axis=0, mode='fill')
    return y + at(factor, site.path) * (low @ b).astype(y.dtype)

  return Plug(table_site(table), call)


def merge(params: tree.Tree, factor: Factor) -> tree.Tree:
  """Folds every A, B into its matrix: W + s A B; the leaves are dropped."""
  flat = tree.flatten(params)
  merged = {n: x for n, x in flat.items() if not n.endswith(_LEAVES)}
  for name in flat:
    if name.endswith('/lora_a'):
      site = name.removesuffix('/lora_a')
      delta = at(factor, site) * (flat[name] @ flat[f'{site}/lora_b'])
      weight = f'{site}/kernel'
      if weight not in merged:
        weight = f'{site}/embedding'
      merged[weight] += delta.astype(merged[weight].dtype)
  return tree.unflatten(merged)


def truncate(params: tree.Tree, pattern: str, rank: int) -> tree.Tree:
  """Returns the tree with all directions of A and B after `rank` zero.

  Args:
    params: a tree with lora_a and lora_b at the sites.
    pattern: full-match regex on the paths of the layers.
    rank: how many directions are left.
  """

  def cut(name, leaf):
    if not tree.matches(f'({pattern})/lora_[ab]', name):
      return leaf
    kept = jnp.arange(leaf.shape[1 if name.endswith('a') else 0]) < rank
    return jnp.where(kept if name.endswith('a') else kept[:, None], leaf, 0)

  return tree.map_named(cut, params)


def check_rank(rank: int, low: int, high: int) -> None:
  """Refuses a rank that wasn't trained.

  Raises:
    ValueError: it isn't in low..high.
  """
  if not low <= rank <= high:
    raise ValueError(f'rank {rank}: this run has the ranks {low} to {high}')


_LEAVES = ('/lora_a', '/lora_b')


def initial_a(
  rng: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32
) -> jax.Array:
  """Draws A (in, r) from U(-1/sqrt(in), 1/sqrt(in))."""
  bound = shape[0] ** -0.5
  return jax.random.uniform(rng, shape, dtype, -bound, bound)
