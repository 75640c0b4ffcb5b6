"""Masked language modelling of --corpus, as several benchmarks set it up."""

import pathlib
from typing import Any


def sections(
  folder: str, vocab_size: int, length: int, batch_size: int
) -> dict[str, Any]:
  """Sections task, data and objective of a config.

  Args:
    folder: with train/ and valid/; the tokenizer is trained on the former.
    vocab_size: of the tokenizer.
    length: of the blocks, in tokens.
    batch_size: of training.
  """
  corpus = pathlib.Path(folder)
  return dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(
      files=dict(train=str(corpus / 'train'), validation=str(corpus / 'valid')),
      tokenizer='train',
      vocab_size=vocab_size,
      max_length=length,
      buckets=(length,),
      batch_size=batch_size,
      eval_batch_size=64,
      eval_limit=512,
      cache_dir='~/.cache/glue_jax/examples',
    ),
    objective=dict(name='mlm', rate=0.15, whole_word=False),
  )
