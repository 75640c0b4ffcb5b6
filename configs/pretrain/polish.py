"""A small Polish encoder: own WordPiece vocabulary, masked language modelling.

Command:  python -m launch.train --config=configs/pretrain/polish.py
            --workdir=runs/polish_mlm
GLUE_JAX_CORPUS names a folder with train/ and valid/ of plain Polish texts
(.txt or .txt.gz), for example novels that are out of copyright. The vocabulary
is cased and keeps diacritics. What it leaves in runs/polish_mlm/model is the
encoder and tokenizer of configs/suites/lepiszcze.py in its small form.

Hardware: 2 CPU cores.
Time:     not known.
Expected: depends on the corpus.
Measured: 1,000 steps: not run.
Records:  polish-mlm-200
"""

import os

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Two layers of width 128, a vocabulary of 8000 pieces."""
  corpus = os.environ.get('GLUE_JAX_CORPUS', '')
  return ml_collections.ConfigDict(
    dict(
      task=dict(name='corpus', kind='language_modeling'),
      data=dict(
        files=dict(train=f'{corpus}/train', validation=f'{corpus}/valid'),
        tokenizer='train',
        vocab_size=8000,
        lowercase=False,
        max_length=64,
        buckets=(64,),
        batch_size=32,
        eval_batch_size=64,
        eval_limit=500,
        cache_dir='~/.cache/glue_jax/examples',
      ),
      model=dict(
        name='bert',
        preset='tiny',
        num_layers=2,
        hidden_size=128,
        num_heads=4,
        intermediate_size=512,
        max_positions=512,
        dropout=0.0,
        attention_dropout=0.0,
      ),
      objective=dict(name='mlm', rate=0.15, whole_word=False),
      optimizer=dict(lr=2e-3, warmup=0.1, weight_decay=0.01),
      train=dict(steps=1000, eval_every=250, log_every=50),
      seeds=(0,),
    )
  )
