"""SpanBERT's pre-training as published, then fine-tuning (Joshi et al. 2019).

Command:  python -m launch.train --config=configs/pretrain/spanbert.py:rte
            --workdir=runs/spanbert
rte,large is the large size. Corpus, tokenizer and data as in
configs/pretrain/bert.py; the published tokenizer is BERT's cased one.

Published setting (arXiv 1907.10529, section 4.2): BERT's corpus as single runs
of 512 tokens, spans with the boundary objective, batch 256, 2.4M steps; AdamW
1e-4 with epsilon 1e-8, warm-up over 10,000 steps, linear decay, dropout 0.1.
The decay of the weights, 0.1, is not confirmed.
Hardware: 32 V100 GPUs.
Time:     15 days (published).
Expected: SQuAD 1.1 94.6 F1, 2.0 88.7 F1 (large, test).
Measured: not run.
"""

import ml_collections

from configs import argument
from configs.pretrain import bert

FORMS = {'': None, 'large': None}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Two stages: masked spans, tuned on a task."""
  task, form = argument.parse(arg, FORMS)
  pretrain = dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=bert.texts(batch_size=256, max_length=512),
    model=dict(name='bert', preset=form or 'base', dtype='bfloat16'),
    objective=dict(name='mlm_spans'),
    optimizer=dict(lr=1e-4, warmup=10_000, weight_decay=0.1, clip_norm=1.0),
    train=dict(steps=2_400_000, eval_every=10_000),
    seeds=(0,),
  )
  return bert.then_tuned(task, pretrain=pretrain)
