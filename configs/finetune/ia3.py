"""(IA)3 (Liu et al. 2022, arXiv 2205.05638) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/ia3.py:rte
            --workdir=runs/ia3_rte
The argument is a task, and a form after a comma. Data and weights as in
configs/glue.py.

rte, rte,small: the small recipe of a laptop.
rte,base: RoBERTa-base in the setting of configs/finetune/lora.py. The learning
rate is T-Few's (not confirmed).
Hardware: small: 2 CPU cores; base: one accelerator.
Time:     small: minutes a seed, SST-2 three.
Expected: nothing is published for GLUE; T-Few's results are on other tasks.
Measured: base: not run.
Records:  ia3-sst2
"""

import ml_collections

from configs.finetune import lora

FORMS = lora.SMALL_OR_BASE


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task', 'task,small' or 'task,base'."""
  config = lora.small_or_base(arg)
  config.methods = (('ia3', dict(form='paper')),)
  config.optimizer.lr = 3e-3
  return config
