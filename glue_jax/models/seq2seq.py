"""What encoder-decoders share (Vaswani et al. 2017, arXiv 1706.03762).

An encoder reads the input, a decoder writes the output: its tokens attend to
those before them and, in each block, to the encoder's states. Both look words
up in one table, which is the encoder's (`encoder/embeddings/word`).

A task that isn't written out (a class, a span) is read off the decoder as well,
which gets the input once more, one position later (Lewis et al. 2020, arXiv
1910.13461, section 3.2).
"""

from glue_jax.layers import heads
from glue_jax.layers.heads import HeadSpec

_HIDDEN = (('hidden', 'tanh'), ('hidden_bias', True))
HEADS: dict[str, HeadSpec] = {
  'encoder': HeadSpec(None),
  'seq2seq_lm': HeadSpec(heads.CausalLM),
  'classification': HeadSpec(heads.Sentence, True, _HIDDEN),
  'regression': HeadSpec(heads.Sentence, True, (*_HIDDEN, ('squeeze', True))),
  'multiple_choice': HeadSpec(
    heads.Sentence, True, (*_HIDDEN, ('squeeze', True))
  ),
  'span': HeadSpec(heads.Span),
}
# Names of the library that its encoder-decoders share.
CLASSES = {
  'head/dense': 'classification_head.dense',
  'head/out': 'classification_head.out_proj',
}
COPIES = {
  'encoder.embed_tokens.weight': 'shared.weight',
  'decoder.embed_tokens.weight': 'shared.weight',
}
