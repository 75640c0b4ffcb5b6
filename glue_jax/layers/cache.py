"""Keys and values of the tokens so far: the collection `cache` of a decoder.

A decoder that writes token by token computes each token's key and value once
(Shazeer 2019, arXiv 1911.02150, section 2.4). Their arrays have room for all
tokens from the start, so that one program serves every step. Across, to an
encoder's states, keys and values are computed with the first tokens.

Variables, M positions of room:
  layer_{i}/mixer/{keys,values} (B, M, groups, K), after the rotation
  layer_{i}/cross/{keys,values}, M of them the encoder's
  tokens/{mask (B, M) bool, memory_mask (B, M) bool, taken () int32}
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

NAME = 'cache'


def kept(module: nn.Module) -> bool:
  """Says whether the call in progress keeps a cache; a bound module."""
  return module.is_mutable_collection(NAME) and not module.is_initializing()


def read(module: nn.Module) -> tuple[jax.Array, jax.Array]:
  """Returns the keys and values of a mixer, as they are."""
  return tuple(module.get_variable(NAME, name) for name in ('keys', 'values'))


def extended(
  module: nn.Module, key: jax.Array, value: jax.Array, start: jax.Array | int
) -> tuple[jax.Array, jax.Array]:
  """Writes keys and values of new tokens and returns all: (B, M, groups, K).

  Where there is no cache yet, what is given fixes its shape.

  Args:
    module: the mixer, in a compact method.
    key, value: (B, L, groups, K).
    start: position of the first of them.
  """
  return tuple(
    _write(module, name, x, start)
    for name, x in (('keys', key), ('values', value))
  )


def _write(module, name, x, start):
  room = module.variable(NAME, name, jnp.zeros, x.shape, x.dtype)
  room.value = jax.lax.dynamic_update_slice_in_dim(room.value, x, start, 1)
  return room.value


class Tokens(nn.Module):
  """Which positions of the cache are taken, and which of those are real."""

  @nn.compact
  def __call__(
    self, mask: jax.Array, memory_mask: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Takes positions for new tokens.

    Args:
      mask: (B, L), True = real token.
      memory_mask: (B, M) of an encoder's states, with the first tokens.

    Returns:
      mask of all tokens (B, M), the first of the new positions (), and the mask
      of the encoder's states where there are some.
    """
    taken = self.variable(NAME, 'taken', jnp.zeros, (), jnp.int32)
    start = taken.value
    seen = _write(self, 'mask', mask, start)
    taken.value = start + mask.shape[1]
    if memory_mask is not None:
      memory_mask = _write(self, 'memory_mask', memory_mask != 0, 0)
    elif self.has_variable(NAME, 'memory_mask'):
      memory_mask = self.get_variable(NAME, 'memory_mask')
    return seen, start, memory_mask
