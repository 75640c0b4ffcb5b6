"""MEFT's adapters, at the three places of a block of the reversible stack.

Liao et al. 2023, arXiv 2306.00477: A(x) = drop(act(x W_down + b)) W_up + b, no
residual and no LayerNorm of its own, weights N(0, 0.02^2), biases 0.
"""

from typing import Annotated

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import Count, OneOf, Positive, Rate, checked
from glue_jax.layers import activations
from glue_jax.layers.activations import Activation
from glue_jax.layers.dropout import keep_mask
from glue_jax.plugs import Plug, Site

# What becomes of the output f of a submodule called on x.
PLACES = {
  'sequential': 'f + A(f)',
  'parallel': 'f + A(x)',
  'alone': 'A(x)',
}


@checked
def plug(
  pattern: str,
  place: Annotated[str, OneOf(PLACES)],
  size: Count,
  activation: Activation,
  dropout: Rate,
  init_range: Positive,
) -> Plug:
  """Adds an adapter to every match.

  New leaves: adapter_{down,up}_kernel and adapter_{down,up}_bias.

  Args:
    pattern: full-match regex on module paths.
    place: key of `PLACES`; 'alone' puts the adapter in the submodule's place.
    size: bottleneck M.
    activation: a key of `activations.ACTIVATIONS`.
    dropout: rate after the activation, while training.
    init_range: standard deviation of the fresh kernels.

  Raises:
    ValueError: an argument that isn't what its annotation says.
  """
  act = activations.activation(activation)

  def call(site: Site, next_fn, x, *args, **kwargs):
    f = next_fn(x, *args, **kwargs)
    weights = _leaves(site, x.shape[-1], size, init_range)

    def adapter(x):
      down, down_bias, up, up_bias = (w.astype(x.dtype) for w in weights)
      hidden = act(x @ down + down_bias)
      if dropout and site.train:
        keep = keep_mask(site.rng(), dropout, hidden.shape)
        hidden = jnp.where(keep, hidden / (1 - dropout), 0)
      return hidden @ up + up_bias

    if place == 'alone':
      return adapter(x)
    return f + adapter(f if place == 'sequential' else x)

  return Plug(pattern, call)


def _leaves(site, width, size, init_range) -> tuple[jax.Array, ...]:
  """Returns W_down (D, M), its bias, W_up (M, D), its bias."""
  normal = jax.nn.initializers.normal(init_range)
  zeros = jax.nn.initializers.zeros
  return (
    site.param('adapter_down_kernel', normal, (width, size)),
    site.param('adapter_down_bias', zeros, (size,)),
    site.param('adapter_up_kernel', normal, (size, width)),
    site.param('adapter_up_bias', zeros, (width,)),
  )
