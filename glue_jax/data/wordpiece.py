"""Trains a WordPiece vocabulary, for pre-training on texts of one's own.

Published vocabularies are read by tokenizing.py; nothing is trained for them.
"""

import collections
import os
from collections.abc import Iterable

import tokenizers as hf

from glue_jax.data.tokenizer import Tokenizer
from glue_jax.data.tokenizer_files import BERT
from glue_jax.data.tokenizers.backends import wordpiece


def train(
  texts: Iterable[str],
  vocab_size: int,
  folder: str | os.PathLike | None = None,
  lowercase: bool = True,
) -> Tokenizer:
  """Trains WordPiece on texts; equal texts give an equal vocabulary.

  Args:
    texts: lines of text (use readers.texts.read_lines for files).
    vocab_size: most entries; fewer when the texts have no more pieces.
    folder: where to save it.
    lowercase: lower case and strip accents, as the uncased BERT does.
  """
  base = wordpiece({'[UNK]': 0}, lowercase)
  counts = collections.Counter()
  for text in texts:
    text = base.normalizer.normalize_str(text)
    pieces = base.pre_tokenizer.pre_tokenize_str(text)
    counts.update(word for word, _ in pieces)
  letters = sorted({letter for word in counts for letter in word})
  # The trainer numbers pieces in the order of a hash map; naming every
  # letter beforehand and sorting the rest makes the ids repeatable.
  first = [*BERT, *letters, *(f'##{letter}' for letter in letters)]
  trainer = hf.trainers.WordPieceTrainer(
    vocab_size=max(vocab_size, len(first)),
    special_tokens=first,
    show_progress=False,
  )
  backend = hf.Tokenizer(hf.models.WordPiece(unk_token='[UNK]'))
  backend.pre_tokenizer = hf.pre_tokenizers.WhitespaceSplit()
  ordered = sorted(counts)
  backend.train_from_iterator(
    (f'{word} ' * counts[word] for word in ordered), trainer
  )
  learnt = sorted(backend.get_vocab(), key=backend.get_vocab().get)
  vocab = {piece: i for i, piece in enumerate(learnt)}
  backend = wordpiece(vocab, lowercase)
  backend.add_special_tokens(list(BERT))
  tokenizer = Tokenizer(backend)
  if folder is not None:
    tokenizer.save(folder)
  return tokenizer
