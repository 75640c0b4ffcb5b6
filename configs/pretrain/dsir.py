"""Masked language modelling on selected against random text, for equal steps.

Xie, Santurkar, Ma, Liang, "Data Selection for Language Models via Importance
Resampling", NeurIPS 2023, arXiv 2302.03169. There: BERT-base, 50k steps of 4096
x 128 tokens; here: a tiny encoder.

Command:  zcat SST-2/train.tsv.gz | tail -n +2 | cut -f1 >sst2.txt
          tail -n +2 SST-2/dev.tsv | cut -f1 >corpus/heldout/sst2.txt
          python -m launch.select_data --raw=english_novels/train,wikitext-2
            --target=sst2.txt --k=60000 --chunk_words=24 --min_length=16
            --laplace=1 --workers=2 --draw=weighted --out=corpus/train/weighted
          python -m launch.train --config=configs/pretrain/dsir.py:weighted
            --workdir=runs/dsir_weighted
          and the last two with `random` (and `top_k`) for `weighted`.
GLUE_JAX_CORPUS names the folder `corpus`: train/weighted/, train/random/ (and
train/top_k/), and heldout/ with text of the target that the selection has not
seen. All runs share one WordPiece vocabulary, of all texts in train/.

Hardware: 2 CPU cores.
Time:     some minutes for three seeds.
Expected: a lower loss than random text's; nothing is published at this size.
Records:  dsir-mlm
"""

import os

import ml_collections

from configs import argument

FORMS = {'': ('weighted', 'random', 'top_k')}


def get_config(draw: str = 'weighted') -> ml_collections.ConfigDict:
  """A stage that makes the vocabulary, then BERT-tiny on one selection."""
  draw, _ = argument.parse(draw, FORMS, 'draw')
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
