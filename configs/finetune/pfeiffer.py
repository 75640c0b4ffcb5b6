"""Pfeiffer adapters (Pfeiffer et al. 2020, arXiv 2005.00247) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/pfeiffer.py:rte
            --workdir=runs/pfeiffer_rte
or, the published setting, --config=configs/finetune/pfeiffer.py:large64_rte.
Data and weights as in configs/glue.py; a task alone is the small recipe of a
laptop, width over bottleneck 16. Measured, SST-2, seed 0: 0.819.

large64_rte and large16_rte are the adapters of LoRA's table 2; setting as in
configs/finetune/houlsby.py.
Expected, 64 / 16: MNLI 90.2 / 90.5, SST-2 96.1 / 96.6, MRPC 90.2 / 89.7, CoLA
68.3 / 67.8, QNLI 94.8 / 94.8, QQP 91.9 / 91.7, RTE 83.8 / 80.1, STS-B 92.1 /
91.9. Measured: not run at this scale.
"""

import ml_collections

from configs import glue
from configs.finetune import houlsby, lora

SIZES = {'large64': 64, 'large16': 16}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' or 'size_task'."""
  size, task = lora.size_of(arg, SIZES)
  if size:
    return houlsby.compared(task, ('pfeiffer', dict(size=SIZES[size])))
  config = glue.get_config(task)
  config.methods = (('pfeiffer', dict(reduction=16)),)
  config.optimizer.lr = 5e-4
  return config
