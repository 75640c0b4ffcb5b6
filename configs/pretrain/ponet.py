"""PoNet-base pre-training and fine-tuning (Tan et al. 2022, arXiv 2110.02442).

Command:  python -m launch.train --config=configs/pretrain/ponet.py:rte
            --workdir=runs/ponet
GLUE_JAX_CORPUS names a folder with train/ and valid/ of text files, a sentence
a line and a document a file; GLUE_JAX_WEIGHTS a Hugging Face folder, or a name
of the hub, whose uncased tokenizer is used; the task's data as in
configs/glue.py. With imdb, or imdb,2048, the second stage is that of
configs/finetune/ponet.py: long texts, on a position table grown from 512. A
small form is configs/pretrain/mixers_small.py:ponet.

Published setting: BookCorpus and Wikipedia, masked LM and sentence structure,
length 512, 192 sequences a step, Adam 1e-4 with 5,000 warm-up steps and linear
decay, five passes with other cuts; 340,000 steps (not confirmed). Then GLUE:
length 128, 4 epochs, best of lr {3e-4, 1e-4, 5e-5, 3e-5} and batch {128, 64,
32, 16, 8}.
Hardware: a pod.
Time:     not known.
Expected: 95.7 % of BERT's GLUE average (abstract).
Measured: not run.
"""

import os

import ml_collections

from configs import argument, glue
from configs.finetune import ponet

FORMS = {'': None} | {str(n): ('imdb',) for n in ponet.LENGTHS}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Two stages: PoNet-base is pre-trained on a corpus, then tuned on a task."""
  task, length = argument.parse(arg, FORMS)
  corpus = os.environ.get('GLUE_JAX_CORPUS', '')
  if task == 'imdb':
    tuned = ponet.published(int(length or 4096)).to_dict()
  else:
    tuned = glue.get_config(task).to_dict()
    tuned['optimizer'] |= dict(lr=1e-4)
    tuned['train'] = dict(epochs=4)
    tuned['model'] = {}
  pretrain = dict(
    task=dict(name='corpus', kind='sentence_structure'),
    data=dict(
      files=dict(train=f'{corpus}/train', validation=f'{corpus}/valid'),
      tokenizer=os.environ.get('GLUE_JAX_WEIGHTS', ''),
      max_length=ponet.PRETRAINED,
      buckets=(ponet.PRETRAINED,),
      copies=5,
      batch_size=192,
      eval_batch_size=192,
    ),
    model=dict(name='ponet', preset='base', dtype='bfloat16'),
    objective=dict(name='mlm_sso'),
    optimizer=dict(lr=1e-4, warmup=5_000 / 340_000, clip_norm=1.0),
    train=dict(steps=340_000, eval_every=10_000),
    seeds=(0,),
  )
  tuned['data'] |= dict(tokenizer='stage:pretrain', train_limit=None)
  tuned['model'] |= dict(weights='stage:pretrain')
  tuned['seeds'] = (0,)
  return ml_collections.ConfigDict(
    dict(stages=(('pretrain', pretrain), ('finetune', tuned)))
  )
