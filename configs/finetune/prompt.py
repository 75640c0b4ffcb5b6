"""Prompt tuning (Lester et al. 2021, arXiv 2104.08691) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/prompt.py:rte
            --workdir=runs/prompt_rte
or, at full size, --config=configs/finetune/prompt.py:base_rte.
Data and weights as in configs/glue.py; a task alone is the small recipe of a
laptop. Measured, SST-2, seed 0: 0.750.

base_rte is for RoBERTa-base, in the setting of configs/finetune/lora.py. The
paper reports T5 (100 prompts, learning rate 0.3 with Adafactor, not confirmed),
so there is no published figure for this model to reach.
Measured: not run at this scale.
"""

import ml_collections

from configs import glue
from configs.finetune import lora


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' or 'base_task'."""
  size, task = lora.size_of(arg, ('base',))
  config = lora.published(task, size) if size else glue.get_config(task)
  config.methods = (('prompt', dict(length=20, init='vocabulary')),)
  config.optimizer.lr = 1e-2
  return config
