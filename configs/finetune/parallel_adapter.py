"""Parallel adapters (He et al. 2021, arXiv 2110.04366) on a GLUE task.

Command:  python -m launch.train
          --config=configs/finetune/parallel_adapter.py:rte
            --workdir=runs/parallel_adapter_rte
or, at full size, --config=configs/finetune/parallel_adapter.py:base_rte.
Data and weights as in configs/glue.py; a task alone is the small recipe of a
laptop. Measured, SST-2, seed 0: 0.849.

base_rte is for RoBERTa-base, in the setting of configs/finetune/lora.py. The
paper reports other tasks of this suite only in part; no figure is confirmed.
Measured: not run at this scale.
"""

import ml_collections

from configs import glue
from configs.finetune import lora


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' or 'base_task'."""
  size, task = lora.size_of(arg, ('base',))
  config = lora.published(task, size) if size else glue.get_config(task)
  config.methods = (('parallel_adapter', dict(reduction=2)),)
  config.optimizer.lr = 5e-4
  return config
