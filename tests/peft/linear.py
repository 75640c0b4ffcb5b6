"""One linear layer as a model, for plugs on it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax.plugs import Apply, Plug

SITE = 'layer'


class Linear(nn.Module):
  """y = x W + bias under the name `layer`."""

  features: int

  @nn.compact
  def __call__(self, batch: Any, train: bool = False) -> dict[str, jax.Array]:
    del train
    return {'y': nn.Dense(self.features, name=SITE)(batch['x'])}


def apply(plug: Plug, features: int) -> Apply:
  """The layer with a plug."""
  return Apply(Linear(features), plugs=(plug,))


def tree(**leaves: Any) -> dict[str, dict[str, jax.Array]]:
  """The parameters of the layer."""
  return {SITE: {name: jnp.asarray(value) for name, value in leaves.items()}}
