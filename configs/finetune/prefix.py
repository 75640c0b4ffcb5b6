"""Prefix tuning (arXiv 2101.00190, for encoders 2110.07602) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/prefix.py:rte
            --workdir=runs/prefix_rte
or, at full size, --config=configs/finetune/prefix.py:base_rte.
Data and weights as in configs/glue.py; a task alone is the small recipe of a
laptop. Measured, SST-2, seed 0: 0.771.

base_rte is for RoBERTa-base, in the setting of configs/finetune/lora.py.
P-Tuning v2 reports SuperGLUE, so there is no published figure for GLUE to
reach; the length, the dropout of 0.1 and the learning rate are not confirmed.
Measured: not run at this scale.
"""

import ml_collections

from configs import glue
from configs.finetune import lora


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' or 'base_task'."""
  size, task = lora.size_of(arg, ('base',))
  config = lora.published(task, size) if size else glue.get_config(task)
  config.methods = (('prefix', dict(length=20, dropout=0.1)),)
  config.optimizer.lr = 5e-3
  return config
