"""ALBERT's pre-training as published, then fine-tuning (Lan et al. 2019).

Command:  python -m launch.train --config=configs/pretrain/albert.py:rte
            --workdir=runs/albert
rte,large, rte,xlarge and rte,xxlarge are the larger sizes. Corpus, tokenizer
and data as in configs/pretrain/bert.py; the tokenizer is ALBERT's own.

Published setting (arXiv 1909.11942, section 4.1): BERT's corpus, sentence order
beside masked tokens, length 512, batch 4,096, 125,000 steps, LAMB 0.00176
without bias correction. The warm-up over 3,125 steps and the decay of the
weights, 0.01, are not confirmed. Masks are runs of up to 3 words.
Hardware: 64 to 512 TPUs v3.
Time:     not known.
Expected: MNLI 81.6 (base), 83.5 (large), 86.4 (xlarge), 88.0 (xxlarge) on dev.
Measured: not run.
"""

import ml_collections

from configs import argument
from configs.pretrain import bert

FORMS = {'': None, 'large': None, 'xlarge': None, 'xxlarge': None}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Two stages: masked words and sentence order, tuned on a task."""
  task, form = argument.parse(arg, FORMS)
  pretrain = dict(
    task=dict(name='corpus', kind='sentence_order'),
    data=bert.texts(batch_size=4096, max_length=512),
    model=dict(name='albert', preset=form or 'base', dtype='bfloat16'),
    objective=dict(name='mlm_pairs', ngrams=3),
    optimizer=dict(
      name='lamb',
      lr=1.76e-3,
      warmup=3_125,
      weight_decay=0.01,
      clip_norm=1.0,
      args=dict(bias_correction=False),
    ),
    train=dict(steps=125_000, eval_every=5_000),
    seeds=(0,),
  )
  return bert.then_tuned(task, pretrain=pretrain)
