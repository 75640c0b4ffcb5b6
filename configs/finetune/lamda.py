"""LaMDA (Azizi et al. 2024, arXiv 2406.12832) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/lamda.py:rte
            --workdir=runs/lamda_rte
Data and weights as in configs/glue.py.

Published settings: for GLUE none were released (not confirmed). The official
script is for LLaMA-2-7B on WikiText-2, a decoder: rank 64, alpha 16, adapter
dropout 0.1, targets q, k, v, o, up, down and gate, learning rate 3e-4, 3
epochs, batch 4 x accumulation 2, blocks of 1024, weight decay 0.1, warm-up
0.03, cosine, eta 0.3. Here that recipe's rank, dropout, weight decay, warm-up,
schedule and eta, all linear layers of a block, and the epochs, batch and length
of configs/glue.py.
Expected: abstract only: up to 17.7 times fewer updated parameters and 1.32
times less peak memory; tables not confirmed. Measured: not run at this rank;
`launch.benchmark lamda` sets rank 8 beside LoRA's (README).
"""

import ml_collections

from configs import glue

TARGETS = ('query', 'key', 'value', 'attn_out', 'ffn_in', 'ffn_out')


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/glue.py with the three factors on every linear layer."""
  config = glue.get_config(task)
  arguments = dict(rank=64, alpha=16.0, dropout=0.1, targets=TARGETS, eta=0.3)
  config.methods = (('lamda', arguments),)
  config.optimizer.update(
    lr=3e-4, weight_decay=0.1, warmup=0.03, schedule='cosine'
  )
  return config
