"""Pfeiffer adapters (Pfeiffer et al. 2020, arXiv 2005.00247) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/pfeiffer.py:rte
            --workdir=runs/pfeiffer_rte
The argument is a task, and a form after a comma. Data and weights as in
configs/glue.py.

rte, rte,small: the small recipe of a laptop, width over bottleneck 16.
rte,large64 and rte,large16: the adapters of LoRA's table 2; setting as in
configs/finetune/houlsby.py.
Hardware: small: 2 CPU cores; large64, large16: one accelerator.
Time:     small: minutes a seed, SST-2 three.
Expected: large64 / large16: MNLI 90.2 / 90.5, SST-2 96.1 / 96.6, MRPC 90.2 /
          89.7, CoLA 68.3 / 67.8, QNLI 94.8 / 94.8, QQP 91.9 / 91.7, RTE 83.8 /
          80.1, STS-B 92.1 / 91.9.
Measured: large64, large16: not run.
Records:  pfeiffer-sst2
"""

import ml_collections

from configs import argument, glue
from configs.finetune import houlsby, lora

SIZES = {'large64': 64, 'large16': 16}
FORMS = {'': None, 'small': None} | dict.fromkeys(SIZES, lora.FORMS['dagger'])


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task', 'task,small' or 'task,size'."""
  task, form = argument.parse(arg, FORMS)
  if form in SIZES:
    return houlsby.compared(task, ('pfeiffer', dict(size=SIZES[form])))
  config = glue.get_config(task)
  config.methods = (('pfeiffer', dict(reduction=16)),)
  config.optimizer.lr = 5e-4
  return config
