"""DyLoRA: low-rank factors of which every truncation is a usable adapter.

Valipour et al. 2022, arXiv 2210.07558, equation 7 as its first author restated
it: y = x W + bias + (alpha / b) (x A_b) B_b, where A_b is the first b columns
of A (in, r) and B_b the first b rows of B (r, out), and b is drawn once a step,
the same at every layer. The leaves and their plug are those of LoRA
(peft/lora.py); what is here happens to the leaves before the model sees them. b
is masked, not sliced: it may be traced, and one compiled step serves all ranks.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from glue_jax import tree
from glue_jax.config.ranges import Count, OneOf, OpenShare, checked

MODES = ('nested', 'frozen')
DISTRIBUTIONS = ('uniform', 'geometric')
Mode = Annotated[str, OneOf(MODES)]
Distribution = Annotated[str, OneOf(DISTRIBUTIONS)]


def nested(
  params: tree.Tree, sites: str, active: Any, mode: Mode = 'nested'
) -> tree.Tree:
  """Returns the tree in which a LoRA of scale alpha / r is one of rank b.

  Args:
    params: a tree with lora_a (in, r) and lora_b (r, out) at the sites.
    sites: full-match regex on the paths of the layers.
    active: b, () int in 1..r; may be traced.
    mode: 'nested': the first b directions get gradient; 'frozen': only the b-th
      does. The values are the same, and no other direction ever gets any.

  Returns:
    the same tree with all directions after b zero, and B times r / b.
  """

  def restrict(name, leaf):
    if not tree.matches(f'({sites})/lora_[ab]', name):
      return leaf
    across = name.endswith('/lora_a')
    rank = leaf.shape[1 if across else 0]
    direction = jnp.arange(1, rank + 1)
    direction = direction if across else direction[:, None]
    if mode == 'frozen':
      last = direction == active
      leaf = jnp.where(last, leaf, jax.lax.stop_gradient(leaf))
    scale = 1 if across else (rank / active)
    kept = jnp.where(direction <= active, leaf, 0) * scale
    return kept.astype(leaf.dtype)

  return tree.map_named(restrict, params)


@checked
def log_weights(
  distribution: Distribution, low: Count, high: Count, probability: OpenShare
) -> jax.Array:
  """Returns the unnormalised log probabilities (high - low + 1,) of the ranks.

  Args:
    distribution: 'uniform', or 'geometric': P(low + i) ~ (1 - p)^i. The paper
      compares the two; its p is not confirmed.
    low, high: r_min and r_max.
    probability: p of the geometric distribution, in (0, 1).

  Raises:
    ValueError: an argument that isn't what its annotation says, or `low` above
      `high`.
  """
  if low > high:
    raise ValueError(f'dylora min_rank={low}: expected 1 to rank={high}')
  steps = jnp.arange(high - low + 1)
  decay = jnp.log1p(-probability) if distribution == 'geometric' else 0.0
  return steps * decay


def sample(rng: jax.Array, weights: jax.Array, low: int) -> jax.Array:
  """Draws b, () int32, from `log_weights` that begin at rank `low`."""
  return low + jax.random.categorical(rng, weights).astype(jnp.int32)


def strict(
  tx: optax.GradientTransformation, sites: str
) -> optax.GradientTransformation:
  """Lets a direction without gradient stand still, with its moments.

  A gradient of zero alone doesn't: AdamW's momentum and weight decay go on
  moving what was not drawn (as they do in the official code). A direction has a
  gradient if its column of A or its row of B has one at any site. Counts of the
  whole optimizer (bias correction) go on.

  Args:
    tx: the optimizer.
    sites: full-match regex on the paths of the layers.
  """
  tx = optax.with_extra_args_support(tx)

  def of_factor(name):
    return tree.matches(f'({sites})/lora_[ab]', name)

  def keep(active, name, new, old):
    shape = (1, -1) if name.endswith('a') else (-1, 1)
    return jnp.where(active.reshape(shape), new, old)

  def update(grads, state, params=None, **extra):
    active = False
    for name, grad in tree.flatten(grads).items():
      if of_factor(name):
        axis = 0 if name.endswith('a') else 1
        active |= jnp.any(grad != 0, axis)
    updates, new = tx.update(grads, state, params, **extra)
    updates = tree.map_named(
      lambda n, x: keep(active, n, x, 0) if of_factor(n) else x, updates
    )
    shapes = {n: x.shape for n, x in tree.flatten(grads).items()}

    def moment(path, new, old):
      keys = [str(k.key) for k in path if isinstance(k, jax.tree_util.DictKey)]
      ends = ('/'.join(keys[i:]) for i in range(len(keys)))
      name = next((end for end in ends if end in shapes), '')
      # A factored moment has lost the axis of the ranks: it goes on.
      if of_factor(name) and new.shape == shapes[name]:
        return keep(active, name, new, old)
      return new

    return updates, jax.tree_util.tree_map_with_path(moment, new, state)

  return optax.GradientTransformationExtraArgs(tx.init, update)
