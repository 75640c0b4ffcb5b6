"""(IA)3 (Liu et al. 2022, arXiv 2205.05638) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/ia3.py:rte
            --workdir=runs/ia3_rte
or, at full size, --config=configs/finetune/ia3.py:base_rte.
Data and weights as in configs/glue.py; a task alone is the small recipe of a
laptop. Measured, SST-2, seed 0: 0.791.

base_rte is for RoBERTa-base, in the setting of configs/finetune/lora.py. The
learning rate is T-Few's (not confirmed), whose results are on other tasks;
there is no published figure for GLUE to reach.
Measured: not run at this scale.
"""

import ml_collections

from configs import glue
from configs.finetune import lora


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' or 'base_task'."""
  size, task = lora.size_of(arg, ('base',))
  config = lora.published(task, size) if size else glue.get_config(task)
  config.methods = (('ia3', dict(form='paper')),)
  config.optimizer.lr = 3e-3
  return config
