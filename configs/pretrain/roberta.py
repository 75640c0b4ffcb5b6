"""RoBERTa's pre-training as published, then fine-tuning (Liu et al. 2019).

Command:  python -m launch.train --config=configs/pretrain/roberta.py:rte
            --workdir=runs/roberta
rte,large is the large size. Corpus, tokenizer and data as in
configs/pretrain/bert.py; the tokenizer is RoBERTa's own.

Published setting (arXiv 1907.11692, table 9): 160 GB of text, full sentences of
512 tokens, single tokens masked anew each time, batch 8,192, 500,000 steps.
Adam 6e-4 (base) or 4e-4 (large), beta2 0.98, epsilon 1e-6, decay 0.01, no
clipping, warm-up over 24,000 or 30,000 steps, linear decay. Where a document
ends, blocks run on here.
Hardware: 1,024 V100 GPUs.
Time:     a day for 100,000 steps (published).
Expected: GLUE dev of large: MNLI 90.2, QNLI 94.7, SST-2 96.4, RTE 86.6.
Measured: not run.
"""

import ml_collections

from configs import argument
from configs.pretrain import bert

# (rate, warm-up) by form.
FORMS = {'': None, 'large': None}
RATES = {'': (6e-4, 24_000), 'large': (4e-4, 30_000)}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Two stages: masked tokens, tuned on a task."""
  task, form = argument.parse(arg, FORMS)
  lr, warmup = RATES[form]
  pretrain = dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=bert.texts(batch_size=8192, max_length=512),
    model=dict(name='roberta', preset=form or 'base', dtype='bfloat16'),
    objective=dict(name='mlm', whole_word=False),
    optimizer=dict(
      lr=lr,
      warmup=warmup,
      weight_decay=0.01,
      clip_norm=None,
      args=dict(b2=0.98, eps=1e-6),
    ),
    train=dict(steps=500_000, eval_every=10_000),
    seeds=(0,),
  )
  return bert.then_tuned(task, pretrain=pretrain)
