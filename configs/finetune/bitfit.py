"""BitFit (Ben Zaken et al. 2021, arXiv 2106.10199) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/bitfit.py:rte
            --workdir=runs/bitfit_rte
or, the published setting, --config=configs/finetune/bitfit.py:base_rte.
Data and weights as in configs/glue.py; a task alone is the small recipe of a
laptop. Measured, SST-2, seed 0: 0.803.

base_rte is for RoBERTa-base, in the setting of configs/finetune/lora.py with a
learning rate of 1e-3 (the paper's range of 1e-4 to 1e-3 is not confirmed).
Expected (LoRA's table 2, prior work): MNLI 84.7, SST-2 93.7, MRPC 92.7, CoLA
62.0, QNLI 91.8, QQP 84.0, RTE 81.5, STS-B 90.8. Measured: not run at this
scale.
"""

import ml_collections

from configs import glue
from configs.finetune import lora


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' or 'base_task'."""
  size, task = lora.size_of(arg, ('base',))
  config = lora.published(task, size) if size else glue.get_config(task)
  config.methods = (('bitfit', {}),)
  config.optimizer.lr = 1e-3
  return config
