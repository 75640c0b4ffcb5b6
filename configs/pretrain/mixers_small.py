"""Token mixers pre-trained and fine-tuned alike, at a size for two cores.

Command:  python -m launch.train --config=configs/pretrain/mixers_small.py:ponet
            --workdir=runs/mixers_ponet
The argument is a family of models: bert, fnet, hydra, ponet. GLUE_JAX_CORPUS
names a folder with train/ and valid/ of plain text (sentences are cut by rule);
the task's data as in configs/glue.py (SST-2, 8,000 rows).

Two blocks of width 128, 1,500 steps of masked words and sentence structure on
16 sequences of 128 tokens, vocabulary 4,000; then two epochs of SST-2. All arms
have the same data, steps, seeds and, but for the mixer, parameters; Hydra's
block has no FFN, so it gets four blocks (the published model has 23 for 12).
Hardware: 2 CPU cores.
Time:     not known.
Expected: nothing is published at this size.
Records:  mixers-small-bert, mixers-small-fnet, mixers-small-hydra,
          mixers-small-ponet
"""

import os

import ml_collections

from configs import argument

SIZES = dict(preset='tiny', hidden_size=128)
BERT_SIZES = dict(num_heads=2, intermediate_size=512)
HYDRA_SIZES = dict(num_layers=4)
FORMS = {'': ('bert', 'fnet', 'hydra', 'ponet')}


def get_config(family: str = 'ponet') -> ml_collections.ConfigDict:
  """Two stages: pre-training on a corpus, then SST-2."""
  family, _ = argument.parse(family, FORMS, 'family')
  corpus = os.environ.get('GLUE_JAX_CORPUS', '')
  cache = '~/.cache/glue_jax/examples'
  sizes = SIZES | (HYDRA_SIZES if family == 'hydra' else BERT_SIZES)
  lengths = dict(max_length=128, buckets=(128,), cache_dir=cache)
  pretrain = dict(
    task=dict(name='corpus', kind='sentence_structure'),
    data=dict(
      files=dict(train=f'{corpus}/train', validation=f'{corpus}/valid'),
      tokenizer='train',
      vocab_size=4000,
      sentences='rule',
      copies=2,
      eval_limit=500,
      batch_size=16,
      eval_batch_size=50,
      **lengths,
    ),
    model=dict(name=family, **sizes),
    objective=dict(name='mlm_sso'),
    optimizer=dict(lr=1e-3, warmup=0.1, weight_decay=0.01, clip_norm=1.0),
    train=dict(steps=1500, eval_every=1500),
    seeds=(0,),
  )
  # FNet needs one length; the others save work on short sentences.
  buckets = (64,) if family == 'fnet' else (16, 32, 64)
  tuned = dict(
    task=dict(name='sst2'),
    data=dict(
      data_dir=os.environ.get('GLUE_JAX_DATA', ''),
      tokenizer='stage:pretrain',
      max_length=64,
      cache_dir=cache,
      buckets=buckets,
      train_limit=8000,
      batch_size=32,
      eval_batch_size=64,
    ),
    model=dict(weights='stage:pretrain'),
    optimizer=dict(lr=5e-4, warmup=0.1, weight_decay=0.01, clip_norm=1.0),
    train=dict(epochs=2),
    seeds=(0,),
  )
  return ml_collections.ConfigDict(
    dict(stages=(('pretrain', pretrain), ('finetune', tuned)))
  )
