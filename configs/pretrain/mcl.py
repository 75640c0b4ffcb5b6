"""Course learning as published, then fine-tuning (Chen et al. 2023).

Command:  python -m launch.train --config=configs/pretrain/mcl.py:rte
            --workdir=runs/mcl
rte,small is ELECTRA's small size. rte,rtd and rte,rtd_std and rte,rtd_itd have
fewer courses and no notebooks: ingredients of a soup, which begin with the same
weights where `seeds` are the same:
  python -m launch.merge --method=soup --soup=weighted --out=runs/soup
    --models=runs/mcl/finetune,runs/rtd/finetune
Corpus, tokenizer (cased) and data as in configs/pretrain/bert.py.

Published setting (arXiv 2305.03981): only the abstract could be read, so what
follows is not confirmed: BERT's corpus, 125,000 steps of 2,048 rows of length
512, relative positions in buckets beside the table, a generator of 4 layers as
wide as the model. The rest is ELECTRA's (configs/pretrain/electra.py). With its
insertions a row has up to 589 tokens, so the position table has as many rows.
Hardware: not stated.
Time:     not stated.
Expected: GLUE 2.8 and SQuAD 2.0 3.2 points above ELECTRA's (base), as the
          abstract has it; the averages themselves are not confirmed.
Measured: not run.
"""

import ml_collections

from configs import argument
from configs.pretrain import bert, electra

_ALONE = dict(generator_correction=0.0, discriminator_correction=0.0)
# What a form leaves out of the objective.
LEFT_OUT = {
  'rtd': _ALONE | dict(swapped=0.0, inserted=0.0),
  'rtd_std': _ALONE | dict(inserted=0.0),
  'rtd_itd': _ALONE | dict(swapped=0.0),
}
FORMS = {'': None, 'small': None} | dict.fromkeys(LEFT_OUT)
LENGTH, RATE = 512, 0.15
LONGEST = 589  # with ceil(0.15 * 512) insertions


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Two stages: the courses, tuned on a task."""
  task, form = argument.parse(arg, FORMS)
  size = 'small' if form == 'small' else 'base'
  lr = electra.PUBLISHED[size][0]
  pretrain = dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=bert.texts(batch_size=2048, max_length=LENGTH),
    model=dict(
      name='electra',
      preset=size,
      head='replaced_tokens',
      positions='relative_buckets',
      max_positions=LONGEST,
      dtype='bfloat16',
    ),
    objective=dict(
      name='mcl', rate=RATE, generator_layers=4, **LEFT_OUT.get(form, {})
    ),
    optimizer=dict(
      name='bert_adam',
      lr=lr,
      schedule='product',
      warmup=10_000,
      weight_decay=0.01,
      clip_norm=1.0,
    ),
    train=dict(steps=125_000, eval_every=10_000),
    seeds=(0,),
  )
  config = bert.then_tuned(task, pretrain=pretrain).to_dict()
  rate, decay = electra.TUNED[size]
  config['stages'][-1][1]['optimizer'] |= dict(
    lr=rate, layer_decay=decay, weight_decay=0.0
  )
  return ml_collections.ConfigDict(config)
