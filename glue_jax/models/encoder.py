"""The encoder: a stack in which every token attends to every real one.

Devlin et al. 2019, arXiv 1810.04805.
"""

from typing import Any

import jax
import jax.numpy as jnp

from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig as EncoderConfig
from glue_jax.models.stack import Stack, excluded


class Encoder(Stack):
  """Token ids to hidden states, both ways."""

  def __call__(
    self,
    input_ids: jax.Array,
    attention_mask: jax.Array,
    token_type_ids: jax.Array,
    train: bool = False,
    segment_ids: jax.Array | None = None,
  ) -> dict[str, Any]:
    """Encodes.

    Args:
      input_ids: (B, L) int32.
      attention_mask: (B, L), 1 = real token.
      token_type_ids: (B, L) int32.
      train: turns dropout on.
      segment_ids: (B, L) int, for mixers that pool over segments.

    Returns:
      see `Stack.run`.
    """
    mask = attention_mask != 0
    places = jnp.arange(input_ids.shape[1], dtype=jnp.int32)
    places = jnp.broadcast_to(places, input_ids.shape)
    context = BatchContext(
      mask=mask,
      bias=excluded(mask)[:, None, None, :],
      input_ids=input_ids,
      segment_ids=segment_ids,
      token_type_ids=token_type_ids,
      positions=places,
      key_positions=places,
    )
    return self.run(input_ids, context, train)
