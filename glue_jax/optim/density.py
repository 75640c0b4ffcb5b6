"""A density penalty as an optax transform, in place of a term of the loss.

Equal to adding weight * (mean of the statistics) to the loss
(objectives/density.py): the transform takes the derivative of the penalty by
the statistics and has `pullback` carry it to the parameters. Useful where the
task's loss can't be touched, and the penalty's gradient shall not pass through
what comes before in the chain (clipping, say).

As a choice of the config: optimizer.density=weight, with a method that logs
`METRIC` and leaves it out of the loss (deft with weight=0). The training step
sees by the optimizer's state that it wants the statistic (`wanted`) and gives
it for the whole batch, whichever way that is split; it costs a second backward
pass. By hand:

  captured = lambda params: ...  # {layer: surrogate densities}
  statistics, pullback = jax.vjp(captured, params)
  updates, state = tx.update(
    gradients, state, params, statistics=statistics,
    pullback=lambda c: pullback(c)[0],
  )
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from glue_jax.config.ranges import NonNegative, checked

# The metric of the loss whose mean over the batch is the statistic.
METRIC = 'density_loss'


class DensityState(NamedTuple):
  """State of `add_density_gradient`.

  Attributes:
    penalty: of the newest update, without its weight, ().
  """

  penalty: jax.Array


def layer_mean(statistics: Any) -> jax.Array:
  """The mean over layers of each layer's mean: the penalty of one stack.

  Args:
    statistics: tree with an array of surrogate densities for each layer.
  """
  leaves = jax.tree.leaves(statistics)
  return jnp.stack([leaf.mean() for leaf in leaves]).mean()


@checked
def add_density_gradient(
  weight: NonNegative = 1.0,
  penalty: Callable[[Any], jax.Array] = layer_mean,
) -> optax.GradientTransformationExtraArgs:
  """Adds weight * d penalty / d params to the updates.

  `update` takes besides:
    statistics: tree of captured statistics, `penalty`'s argument.
    pullback: their cotangents -> tree like the updates.

  Args:
    weight: of the penalty.
    penalty: statistics -> ().

  Raises:
    ValueError: a negative weight; (in update) statistics or pullback missing.
  """

  def init(params):
    del params
    return DensityState(jnp.zeros(()))

  def update(
    updates, state, params=None, *, statistics=None, pullback=None, **others
  ):
    del state, params, others
    if statistics is None or pullback is None:
      raise ValueError(
        'add_density_gradient.update needs statistics=... and pullback=... '
        '(see glue_jax/optim/density.py)'
      )
    value, cotangents = jax.value_and_grad(penalty)(statistics)
    added = pullback(cotangents)
    updates = jax.tree.map(lambda u, g: u + weight * g, updates, added)
    return updates, DensityState(value)

  return optax.GradientTransformationExtraArgs(init, update)


def wanted(opt_state: Any) -> tuple[str, ...]:
  """Returns the metrics whose gradient an optimizer with this state wants.

  Args:
    opt_state: of the whole optimizer, whatever it is wrapped in.
  """

  def ours(x):
    return isinstance(x, DensityState)

  states = jax.tree.leaves(opt_state, is_leaf=ours)
  return (METRIC,) if any(map(ours, states)) else ()
