"""DoRA: the magnitude of a low-rank update learns apart from its direction.

Liu et al. 2024, arXiv 2402.09353, equation 5: W' = m (W + s A B) / n, where n
(out,) is the norm of each column of W + s A B (in, out), which belongs to one
output, and m (out,) begins as that of W. Section 4.3: no gradient flows through
n. The factors are those of LoRA (peft/lora.py).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.config.ranges import Rate, checked
from glue_jax.layers.dropout import dropout as drop
from glue_jax.peft import lora
from glue_jax.peft.low_rank import low_rank
from glue_jax.plugs import Plug, Site

LEAF = 'lora_magnitude'


def norms(weight: jax.Array) -> jax.Array:
  """Returns the norm of each column of (in, out): (out,)."""
  return jnp.sqrt(jnp.sum(jnp.square(weight), axis=0))


@checked
def plug(
  pattern: str, rank: lora.Rank, factor: lora.Factor, dropout: Rate = 0.0
) -> Plug:
  """Adds lora_a (in, r), lora_b (r, out), lora_magnitude (out,) to layers.

  The magnitudes begin as 1; `start` gives them their values.

  Args:
    pattern: full-match regex on paths of linear layers.
    rank: r.
    factor: s, from `lora.scale`.
    dropout: rate on the input of all that isn't the plain layer, as in peft.

  Raises:
    ValueError: an argument that isn't what its annotation says; (when bound)
      the rank exceeds a layer's size, or its weight isn't there as numbers.
  """

  def call(site: Site, next_fn, x):
    y = next_fn(x)
    a, b = lora.factors(site, x.shape[-1], y.shape[-1], rank)
    magnitude = site.param(LEAF, jax.nn.initializers.ones, y.shape[-1:])
    weights = site.module.variables['params']
    if 'kernel' not in weights:
      raise ValueError(
        f'DoRA needs the norms of {site.path}, which has no weight, or a '
        'packed one; leave lora.dora out'
      )
    s, kernel = lora.at(factor, site.path), weights['kernel']
    norm = norms(jax.lax.stop_gradient(kernel + s * (a @ b)))
    ratio = (magnitude / norm).astype(y.dtype)
    key = site.rng() if dropout and site.train else None
    if key is not None:
      plain = drop(x, key, dropout) @ kernel.astype(x.dtype)
    else:
      plain = y - weights['bias'].astype(y.dtype) if 'bias' in weights else y
    low = low_rank(x, a.astype(x.dtype), b.astype(x.dtype), key, dropout)
    return y + (ratio - 1) * plain + ratio * s * low

  return Plug(pattern, call)


def plugs(
  targets: Sequence[str],
  rank: lora.Rank,
  factor: lora.Factor,
  dropout: float = 0.0,
  layers: Sequence[int] | None = None,
) -> tuple[Plug, ...]:
  """Returns a `plug` for each target, so that none may match nothing."""
  patterns = (lora.sites((target,), layers) for target in targets)
  return tuple(plug(pattern, rank, factor, dropout) for pattern in patterns)


def start(params: tree.Tree) -> tree.Tree:
  """Returns the tree in which the magnitudes are those of the weights."""
  flat = tree.flatten(params)
  for name in flat:
    if name.endswith(f'/{LEAF}'):
      flat[name] = norms(flat[name.replace(LEAF, 'kernel')])
  return tree.unflatten(flat)


def merge(params: tree.Tree, factor: lora.Factor) -> tree.Tree:
  """Folds every A, B, m into its matrix; the leaves are dropped."""
  flat = tree.flatten(params)
  magnitudes = {n: x for n, x in flat.items() if n.endswith(f'/{LEAF}')}
  rest = {n: x for n, x in flat.items() if n not in magnitudes}
  merged = tree.flatten(lora.merge(tree.unflatten(rest), factor))
  for name, magnitude in magnitudes.items():
    kernel = name.replace(LEAF, 'kernel')
    ratio = magnitude / norms(merged[kernel])
    merged[kernel] = (merged[kernel] * ratio).astype(merged[kernel].dtype)
  return tree.unflatten(merged)
