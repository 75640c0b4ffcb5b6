"""Prompt tuning (Lester et al. 2021, arXiv 2104.08691) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/prompt.py:rte
            --workdir=runs/prompt_rte
The argument is a task, and a form after a comma. Data and weights as in
configs/glue.py.

rte, rte,small: the small recipe of a laptop.
rte,base: RoBERTa-base in the setting of configs/finetune/lora.py.
Hardware: small: 2 CPU cores; base: one accelerator.
Time:     small: minutes a seed, SST-2 three.
Expected: nothing is published for this model; the paper reports T5 (100
          prompts, learning rate 0.3 with Adafactor, not confirmed).
Measured: base: not run.
Records:  prompt-sst2
"""

import ml_collections

from configs.finetune import lora

FORMS = lora.SMALL_OR_BASE


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task', 'task,small' or 'task,base'."""
  config = lora.small_or_base(arg)
  config.methods = (('prompt', dict(length=20, init='vocabulary')),)
  config.optimizer.lr = 1e-2
  return config
