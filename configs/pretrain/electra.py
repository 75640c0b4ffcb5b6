"""ELECTRA's pre-training as published, then fine-tuning (Clark et al. 2020).

Command:  python -m launch.train --config=configs/pretrain/electra.py:rte
            --workdir=runs/electra
rte,base and rte,large are the larger sizes. Corpus, tokenizer and data as in
configs/pretrain/bert.py.

Published setting (arXiv 2003.10555, appendix A, and the code): generator and
discriminator on runs of tokens, 15 % of them drawn (large 25 %), loss 1 and 50;
Adam without bias correction, decay 0.01, warm-up over 10,000 steps times a
linear decay from the first one. Small: BERT's corpus, length 128, batch 128, 1M
steps, 5e-4. Base: length 512, batch 256, 766,000 steps, 2e-4. Large: XLNet's
corpus, batch 2,048, 400,000 steps, 2e-4. Steps are not confirmed in the code.
Tuned with the rate 0.8 lower from layer to layer (large: 0.9), epochs as in
configs/glue.py; published are 3, and 10 for RTE and STS-B.
Hardware: one V100 (small), 16 (base) or 32 (large, 1.75M steps) TPUs v3.
Time:     4 days each; large more (published).
Expected: GLUE 79.9 (small) and 85.1 (base), 89.5 (large, 1.75M steps, dev).
Measured: not run.
"""

import ml_collections

from configs import argument
from configs.pretrain import bert

FORMS = {'': None, 'base': None, 'large': None}
# Form -> rate, steps, batch, length, share that is drawn, generator's width.
PUBLISHED = {
  'small': (5e-4, 1_000_000, 128, 128, 0.15, 1 / 4),
  'base': (2e-4, 766_000, 256, 512, 0.15, 1 / 3),
  'large': (2e-4, 400_000, 2048, 512, 0.25, 1 / 4),
}
# Rate of tuning and its factor from layer to layer.
TUNED = {'small': (3e-4, 0.8), 'base': (1e-4, 0.8), 'large': (5e-5, 0.9)}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Two stages: replaced tokens, tuned on a task."""
  task, form = argument.parse(arg, FORMS)
  size = form or 'small'
  lr, steps, batch, length, share, width = PUBLISHED[size]
  pretrain = dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=bert.texts(batch_size=batch, max_length=length),
    model=dict(
      name='electra', preset=size, head='replaced_tokens', dtype='bfloat16'
    ),
    objective=dict(name='rtd', rate=share, generator_size=width),
    optimizer=dict(
      name='bert_adam',
      lr=lr,
      schedule='product',
      warmup=10_000,
      weight_decay=0.01,
      clip_norm=1.0,
    ),
    train=dict(steps=steps, eval_every=10_000),
    seeds=(0,),
  )
  config = bert.then_tuned(task, pretrain=pretrain).to_dict()
  rate, decay = TUNED[size]
  config['stages'][-1][1]['optimizer'] |= dict(
    lr=rate, layer_decay=decay, weight_decay=0.0
  )
  return ml_collections.ConfigDict(config)
