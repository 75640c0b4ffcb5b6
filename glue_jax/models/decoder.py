"""The decoder: a stack in which a token attends to itself and earlier ones.

Radford et al. 2018 (GPT); positions count real tokens only, so that padding on
either side changes nothing.
"""

from typing import Any

import jax
import jax.numpy as jnp

from glue_jax.layers.context import BatchContext
from glue_jax.models.stack import Stack, excluded, real_positions


class Decoder(Stack):
  """Token ids to hidden states, from left to right."""

  def __call__(
    self, input_ids: jax.Array, attention_mask: jax.Array, train: bool = False
  ) -> dict[str, Any]:
    """Runs the stack.

    Args:
      input_ids: (B, L) int32.
      attention_mask: (B, L), 1 = real token; padding on either side.
      train: turns dropout on.

    Returns:
      see `Stack.run`.
    """
    mask = attention_mask != 0
    length = input_ids.shape[1]
    earlier = jnp.tril(jnp.ones((length, length), bool))
    places = real_positions(mask)
    context = BatchContext(
      mask=mask,
      bias=excluded(mask[:, None, None, :] & earlier),
      input_ids=input_ids,
      positions=places,
      key_positions=places,
    )
    return self.run(input_ids, context, train)
