"""DyLoRA (Valipour et al. 2022, arXiv 2210.07558) on GLUE with MiniLM-L6.

Command:  python -m launch.train --config=configs/dylora_minilm_glue.py:rte
            --workdir=runs/dylora_rte
          python -m launch.evaluate --workdir=runs/dylora_rte --ranks=1..8
Data and weights as in configs/glue.py. The recipe of configs/finetune/lora.py:
few epochs, length 128, with the factors of configs/finetune/dylora.py in nested
mode, the better one in few steps; learning rate 2e-3, since at 5e-4 157 steps
of SST-2 learnt nothing (0.509). `launch.benchmark dylora` sets it beside LoRA.
Measured, SST-2, one seed: 0.812 to 0.833 by rank (README, 'Few parameters,
little memory').
"""

import ml_collections

from configs import glue


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/glue.py with factors of every rank up to 8."""
  config = glue.get_config(task)
  config.methods = (('dylora', dict(rank=8, alpha=16.0, mode='nested')),)
  config.optimizer.lr = 2e-3
  return config
