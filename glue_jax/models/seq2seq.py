"""What encoder-decoders share (Vaswani et al. 2017, arXiv 1706.03762).

An encoder reads the input, a decoder writes the output: its tokens attend to
those before them and, in each block, to the encoder's states. Both look words
up in one table, which is the encoder's (`encoder/embeddings/word`).

A task that isn't written out (a class, a span) is read off the decoder as well,
which gets the input once more, one position later (Lewis et al. 2020, arXiv
1910.13461, section 3.2).
"""

import jax
import jax.numpy as jnp

from glue_jax.layers import heads
from glue_jax.layers.heads import HeadSpec
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models.stack import Decoder, Encoder

_HIDDEN = ('hidden', 'tanh')
HEADS: dict[str, HeadSpec] = {
  'encoder': HeadSpec(None),
  'seq2seq_lm': HeadSpec(heads.CausalLM),
  'classification': HeadSpec(heads.Sentence, True, (_HIDDEN,)),
  'regression': HeadSpec(heads.Sentence, True, (_HIDDEN, ('squeeze', True))),
  'multiple_choice': HeadSpec(
    heads.Sentence, True, (_HIDDEN, ('squeeze', True))
  ),
  'span': HeadSpec(heads.Span),
}


def decoder(config: EncoderConfig, encoder: Encoder) -> Decoder:
  """Returns the decoder that reads an encoder and shares its word table.

  Args:
    config: of both, see `EncoderConfig.of_decoder`.
    encoder: bound, in `setup` of the model that has both.
  """
  words = encoder.embeddings.word
  return Decoder(config.of_decoder, cross=True, words=words)


def shifted(ids: jax.Array, config: EncoderConfig) -> jax.Array:
  """Returns what a decoder is given to predict a text: (B, T) int32.

  Args:
    ids: (B, T), the text; a negative one (no target) counts as padding.
    config: `start_id` comes first, `pad_id` stands for negative ids.
  """
  start = jnp.full_like(ids[:, :1], config.start_id)
  before = jnp.concatenate([start, ids[:, :-1]], axis=1)
  return jnp.where(before < 0, config.pad_id, before)
