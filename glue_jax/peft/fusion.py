"""AdapterFusion: attention over the outputs of frozen source adapters.

Pfeiffer et al. 2020, arXiv 2005.00247, as in CPJKU/ScaLearn 81d77ea. With x the
input of a block's last LayerNorm LN, h = LN(x) and u_t the output of adapter t,
without residual: scores_t = Q(h) . K(u_t), p = softmax_t(scores),
LN(x + sum_t p_t V(u_t)). No 1 / sqrt(D); dropout is on the raw scores.

Both sums are taken before the maps of width D: Q(h) . K(u_t) = (Q(h) K^T) . u_t
and sum_t p_t V(u_t) = V(sum_t p_t u_t), so that the cost of the three maps does
not grow with n, and the u_t, (B, L, n, D), are never there.
"""

import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.config.ranges import Positive, Rate, checked
from glue_jax.layers.dropout import dropout as drop
from glue_jax.method import Loss
from glue_jax.peft.adapter import Linear, placed
from glue_jax.peft.source_adapters import Sources, Stacked
from glue_jax.plugs import Plug, Site

VALUE = 'fusion_value_kernel'


def scores(
  h: jax.Array, hidden: jax.Array, up: Linear, query: Linear, key: Linear
) -> jax.Array:
  """Returns Q(h) . K(u_t), (..., n).

  Args:
    h: (..., D).
    hidden: activations of the adapters, (..., n, M).
    up: kernel (n, M, D) and bias (n, D) that make u_t of them.
    query, key: kernel (D, D) and bias (D,).
  """
  q = h @ query[0] + query[1]
  back = q @ key[0].T
  each = jnp.einsum('...d,nmd->...nm', back, up[0])
  own = (hidden * each).sum(-1) + back @ up[1].T
  # One number for all t: softmax drops it, dropout of scores doesn't.
  return own + (q @ key[1])[..., None]


def mixed(p: jax.Array, hidden: jax.Array, up: Linear) -> jax.Array:
  """Returns sum_t p_t u_t, (..., D); arguments as in `scores`, p (..., n)."""
  weighted = hidden * p[..., None]
  return jnp.einsum('...nm,nmd->...d', weighted, up[0]) + p @ up[1]


def near_identity(
  rng: jax.Array, shape: tuple[int, int], dtype: jnp.dtype = jnp.float32
) -> jax.Array:
  """Returns V at the start: the identity, 1e-6 off the diagonal."""
  del rng
  eye = jnp.eye(*shape, dtype=dtype)
  return eye + 1e-6 * (1 - eye)


@checked
def plug(
  pattern: str,
  sources: Sources,
  *,
  dropout: Rate,
  init_range: Positive = 0.02,
) -> Plug:
  """Adds leaves fusion_{query,key}_{kernel,bias} and fusion_value_kernel.

  Kernels are (D, D), biases (D,): 3 D^2 + 2 D a match.

  Args:
    pattern: full-match regex on module paths, from `adapter.last_site`.
    sources: the adapters.
    dropout: rate on the scores while training.
    init_range: standard deviation of the fresh query and key kernels.

  Raises:
    ValueError: an argument that isn't what its annotation says.
  """
  d = sources.width
  normal = jax.nn.initializers.normal(init_range)
  zeros = jax.nn.initializers.zeros

  def call(site: Site, next_fn, x, *rest):
    def cast(pair):
      return tuple(leaf.astype(x.dtype) for leaf in pair)

    stacked = sources.leaves(site)
    stacked = Stacked(cast(stacked.down), cast(stacked.up))
    query, key = (
      cast(
        (
          site.param(f'fusion_{name}_kernel', normal, (d, d)),
          site.param(f'fusion_{name}_bias', zeros, (d,)),
        )
      )
      for name in ('query', 'key')
    )
    value = site.param(VALUE, near_identity, (d, d)).astype(x.dtype)

    def fused(h):
      hidden = sources.hidden(h, stacked)
      logits = scores(h, hidden, stacked.up, query, key)
      if dropout and site.train:
        logits = drop(logits, site.rng(), dropout)
      p = jax.nn.softmax(logits, -1)
      return mixed(p, hidden, stacked.up) @ value

    return placed(next_fn, fused, x, *rest)

  return Plug(pattern, call)


def penalty(params: tree.Tree) -> jax.Array:
  """Returns the sum over layers of ||I - V||_F^2, ()."""
  values = [x for n, x in tree.flatten(params).items() if n.endswith(VALUE)]
  return sum(jnp.square(jnp.eye(len(v)) - v).sum() for v in values)


def penalised(loss: Loss, weight: float) -> Loss:
  """Adds weight * `penalty` to a loss; its metrics stay what they were."""

  def with_penalty(apply, params, batch, rng):
    value, metrics = loss(apply, params, batch, rng)
    return value + weight * penalty(params), metrics

  return with_penalty
