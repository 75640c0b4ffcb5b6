"""LoRA: a low-rank update beside a frozen linear layer.

Hu et al. 2021, arXiv 2106.09685, equation 3: y = x W + b + s (x A) B with
s = alpha / r, A (in, r), B (r, out) = 0. The paper's text says Gaussian A;
libraries use U(-1/sqrt(in), 1/sqrt(in)), which is followed here.

On an embedding table (V, E), as in libraries: a lookup gives W[i] + s A[i] B
with A (V, r) = 0 and B (r, E) from N(0, 1).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.layers.dropout import dropout as drop
from glue_jax.plugs import Plug, Site
from glue_jax.ranges import Count, Positive, Rate, checked


@checked
def scale(rank: Count, alpha: Positive, rank_stabilised: bool) -> float:
  """Returns s: alpha / r, or alpha / sqrt(r) (arXiv 2312.03732).

  Raises:
    ValueError: an argument that isn't what its annotation says.
  """
  return alpha / (rank**0.5 if rank_stabilised else rank)


def sites(targets: Sequence[str]) -> str:
  """Returns the pattern of the named linear layers inside every block."""
  return rf'encoder/layer_\d+/.*({"|".join(targets)})'


@checked
def plug(pattern: str, rank: Count, factor: float, dropout: Rate = 0.0) -> Plug:
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
    if rank > min(x.shape[-1], y.shape[-1]):
      raise ValueError(
        f'lora rank={rank} exceeds min(d_in, d_out)='
        f'{min(x.shape[-1], y.shape[-1])} at {site.path}; lower the rank'
      )
    a = site.param('lora_a', initial_a, (x.shape[-1], rank))
    b = site.param('lora_b', jax.nn.initializers.zeros, (rank, y.shape[-1]))
    if dropout and site.train:
      x = drop(x, site.rng(), dropout)
    # On the activation path: forming W + A B would cost twice the work.
    return y + factor * ((x @ a.astype(x.dtype)) @ b.astype(x.dtype))

  return Plug(pattern, call)


def plugs(
  targets: Sequence[str], rank: int, factor: float, dropout: float = 0.0
) -> tuple[Plug, ...]:
  """Returns a `plug` for each target, so that none may match nothing."""
  return tuple(plug(sites((t,)), rank, factor, dropout) for t in targets)


def table_site(table: str) -> str:
  """Returns the path of a table of the embeddings: 'word', 'position', ..."""
  return f'encoder/embeddings/{table}'


def table_plug(table: str, rank: int, factor: float) -> Plug:
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
    shape = site.module.rows, y.shape[-1]
    if rank > min(shape):
      raise ValueError(
        f'lora rank={rank} exceeds min(rows, width)={min(shape)} at '
        f'{site.path}; lower the rank'
      )
    a = site.param('lora_a', jax.nn.initializers.zeros, (shape[0], rank))
    b = site.param('lora_b', jax.nn.initializers.normal(1), (rank, shape[1]))
    low = jnp.take(a, ids, axis=0, mode='fill')
    return y + factor * (low @ b).astype(y.dtype)

  return Plug(table_site(table), call)


def merge(params: tree.Tree, factor: float) -> tree.Tree:
  """Folds every A, B into its matrix: W + s A B; the leaves are dropped."""
  flat = tree.flatten(params)
  merged = {n: x for n, x in flat.items() if not n.endswith(_LEAVES)}
  for name in flat:
    if name.endswith('/lora_a'):
      site = name.removesuffix('/lora_a')
      delta = factor * (flat[name] @ flat[f'{site}/lora_b'])
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
