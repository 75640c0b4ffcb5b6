"""LaMDA (Azizi et al. 2024, arXiv 2406.12832) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/lamda.py:rte
            --workdir=runs/lamda_rte
The argument is a task, and a form after a comma. Data and weights as in
configs/glue.py.

rte: for GLUE no settings were released (not confirmed). The official script is
for LLaMA-2-7B on WikiText-2, a decoder: rank 64, alpha 16, adapter dropout 0.1,
targets q, k, v, o, up, down and gate, learning rate 3e-4, 3 epochs, batch 4 x
accumulation 2, blocks of 1024, weight decay 0.1, warm-up 0.03, cosine, eta 0.3.
Here that recipe's rank, dropout, weight decay, warm-up, schedule and eta, all
linear layers of a block, and the epochs, batch and length of configs/glue.py.
rte,small: rank 8 at LoRA's learning rate, as `launch.benchmark lamda` sets it
beside a LoRA.
Hardware: 2 CPU cores.
Time:     minutes a seed.
Expected: abstract only: up to 17.7 times fewer updated parameters and 1.32
          times less peak memory; tables not confirmed.
Measured: rank 64: not run.
Records:  lamda-sst2-small, lamda-sst2-small-156,
          lamda-sst2-small-156-4e-3, lamda-rte-small
"""

import ml_collections

from configs import argument, glue

TARGETS = ('query', 'key', 'value', 'attn_out', 'ffn_in', 'ffn_out')
FORMS = {'': None, 'small': None}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/glue.py with the three factors on every linear layer."""
  task, form = argument.parse(arg, FORMS)
  config = glue.get_config(task)
  if form == 'small':
    arguments = dict(rank=8, alpha=8.0, targets=TARGETS, eta=0.3)
    config.methods = (('lamda', arguments),)
    config.optimizer.lr = 2e-3
    return config
  arguments = dict(rank=64, alpha=16.0, dropout=0.1, targets=TARGETS, eta=0.3)
  config.methods = (('lamda', arguments),)
  config.optimizer.update(
    lr=3e-4, weight_decay=0.1, warmup=0.03, schedule='cosine'
  )
  return config
