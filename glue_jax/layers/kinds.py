"""Kinds of heads that several places tell apart."""

# Their logits are over the vocabulary.
WORDS = ('mlm', 'sentence_structure', 'causal_lm', 'seq2seq_lm')
