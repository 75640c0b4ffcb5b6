"""BERT's pre-training as published, then fine-tuning (Devlin et al. 2018).

Command:  python -m launch.train --config=configs/pretrain/bert.py:rte
            --workdir=runs/bert
rte,large is the large size. GLUE_JAX_CORPUS names a folder with train/ and
valid/ of text files, a sentence a line and a document a file; GLUE_JAX_WEIGHTS
a Hugging Face folder, or a name of the hub, whose tokenizer is used; the task's
data as in configs/glue.py.

Published setting (arXiv 1810.04805, appendix A.2): BooksCorpus and Wikipedia,
masked tokens and next sentences, batch 256, 1M steps, of which the last tenth
of length 512 and the others of 128; Adam 1e-4 without bias correction, beta2
0.999, decay 0.01, warm-up over 10,000 steps, linear decay, dropout 0.1. Here
the lengths are two stages of one schedule; Adam's moments begin anew in the
second. Masks are drawn in every step, not ten times before training.
Hardware: 4 (base) or 16 (large) Cloud TPUs.
Time:     4 days (published).
Expected: GLUE 79.6 (base) and 82.1 (large) on test, without WNLI.
Measured: not run.
"""

import os
from typing import Any

import ml_collections

from configs import argument, glue

FORMS = {'': None, 'large': None}
STEPS, LONG, WARMUP, RATE = 1_000_000, 100_000, 10_000, 1e-4


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Three stages: length 128, length 512, tuned on a task."""
  task, form = argument.parse(arg, FORMS)
  objective = dict(name='mlm_pairs', whole_word=False)
  adam = dict(name='bert_adam', weight_decay=0.01, clip_norm=1.0)
  rest = LONG / STEPS  # of the rate, as of the steps
  first = dict(
    task=dict(name='corpus', kind='next_sentence'),
    data=texts(batch_size=256, max_length=128),
    model=dict(name='bert', preset=form or 'base', dtype='bfloat16'),
    objective=objective,
    optimizer=dict(adam, lr=RATE, warmup=WARMUP, final=rest),
    train=dict(steps=STEPS - LONG, eval_every=10_000),
    seeds=(0,),
  )
  second = dict(
    first,
    data=texts(batch_size=256, max_length=512, tokenizer='stage:short'),
    model=dict(weights='stage:short', dtype='bfloat16'),
    optimizer=dict(adam, lr=RATE * rest, warmup=0),
    train=dict(steps=LONG, eval_every=10_000),
  )
  return then_tuned(task, short=first, long=second)


def texts(batch_size: int, max_length: int, **more: Any) -> dict[str, Any]:
  """Returns the data section of a corpus: rows of one length."""
  corpus = os.environ.get('GLUE_JAX_CORPUS', '')
  return (
    dict(
      files=dict(train=f'{corpus}/train', validation=f'{corpus}/valid'),
      tokenizer=os.environ.get('GLUE_JAX_WEIGHTS', ''),
      max_length=max_length,
      buckets=(max_length,),
      batch_size=batch_size,
      eval_batch_size=min(batch_size, 256),
    )
    | more
  )


def then_tuned(task: str, **stages: Any) -> ml_collections.ConfigDict:
  """Returns stages of pre-training, then configs/glue.py on the last one."""
  last = f'stage:{list(stages)[-1]}'
  tuned = glue.get_config(task).to_dict()
  # A dense layer of the pre-training head may have the name of a new one.
  tuned['model'] |= dict(weights=last, fresh=('head/.*',))
  tuned['data'] |= dict(tokenizer=last, train_limit=None)
  tuned['seeds'] = (0,)
  return ml_collections.ConfigDict(
    dict(stages=(*stages.items(), ('finetune', tuned)))
  )
