"""Masked language modelling on own text files, then fine-tuning.

BERT's objective (Devlin et al. 2019, arXiv 1810.04805) with whole words.

Command:  python -m launch.train --config=configs/pretrain/mlm.py:rte
            --workdir=runs/mlm
GLUE_JAX_CORPUS names a folder with train/ and valid/, each of plain text files
(.txt or .txt.gz); the task's data as in configs/glue.py.

Hardware: 2 CPU cores.
Time:     not known.
Expected: depends on the corpus.
Measured: not run.
"""

import os

import ml_collections

from configs import glue


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Two stages: BERT-mini is pre-trained on a corpus, then tuned on a task."""
  corpus = os.environ.get('GLUE_JAX_CORPUS', '')
  tuned = glue.get_config(task).to_dict()
  pretrain = dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(
      files=dict(train=f'{corpus}/train', validation=f'{corpus}/valid'),
      tokenizer='train',
      vocab_size=8000,
      max_length=128,
      buckets=(128,),
      batch_size=32,
      eval_batch_size=32,
    ),
    model=dict(name='bert', preset='mini'),
    objective=dict(name='mlm', rate=0.15, whole_word=True),
    optimizer=dict(lr=1e-3, warmup=0.1),
    train=dict(steps=2000, eval_every=500),
    seeds=(0,),
  )
  tuned['model'] = dict(weights='stage:pretrain')
  tuned['data']['tokenizer'] = 'stage:pretrain'
  tuned['seeds'] = (0,)
  return ml_collections.ConfigDict(
    dict(stages=(('pretrain', pretrain), ('finetune', tuned)))
  )
