"""Masked language modelling on selected against random text, for equal steps.

Paper:    Xie, Santurkar, Ma, Liang, "Data Selection for Language Models via
          Importance Resampling", NeurIPS 2023, arXiv 2302.03169. There:
          BERT-base, 50k steps of 4096 x 128 tokens; here: a tiny encoder.
Command:  python -m launch.train --config=configs/dsir_mlm.py:weighted
            --workdir=runs/dsir_weighted
          and the same with `random` (and `top_k`) in both places.
GLUE_JAX_CORPUS names a folder with train/weighted/, train/random/ (and
train/top_k/) and heldout/, written by `python -m launch.select_data --out=...`;
heldout/ is text of the target that the selection has not seen. All runs share
one WordPiece vocabulary, of all texts in train/.
Hardware: 2 CPU cores, minutes for three seeds.
"""

import os

import ml_collections


def get_config(draw: str = 'weighted') -> ml_collections.ConfigDict:
  """A stage that makes the vocabulary, then BERT-tiny on one selection."""
  corpus = os.environ.get('GLUE_JAX_CORPUS', '')
  heldout = f'{corpus}/heldout'
  shared = dict(
    task=dict(name='corpus', kind='language_modeling'),
    model=dict(name='bert', preset='tiny'),
    objective=dict(name='mlm', rate=0.15, whole_word=True),
    optimizer=dict(lr=2e-3, warmup=0.1),
  )
  data = dict(
    vocab_size=4000,
    max_length=64,
    buckets=(64,),
    batch_size=16,
    eval_batch_size=32,
  )
  vocabulary = shared | dict(
    data=data
    | dict(
      files=dict(train=f'{corpus}/train', validation=heldout),
      tokenizer='train',
      eval_limit=32,
    ),
    train=dict(steps=1),
    seeds=(0,),
  )
  pretrain = shared | dict(
    data=data
    | dict(
      files=dict(train=f'{corpus}/train/{draw}', validation=heldout),
      tokenizer='stage:vocabulary',
      eval_limit=256,
    ),
    train=dict(steps=500, eval_every=250),
    seeds=(0, 1, 2),
  )
  return ml_collections.ConfigDict(
    dict(stages=(('vocabulary', vocabulary), ('pretrain', pretrain)))
  )
