"""Houlsby adapters (Houlsby et al. 2019, arXiv 1902.00751) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/houlsby.py:rte
            --workdir=runs/houlsby_rte
The argument is a task, and a form after a comma. Data and weights as in
configs/glue.py.

rte, rte,small: the small recipe of a laptop, with adapters of size 64.
rte,large64 and rte,large8: the adapters of LoRA's table 2 (arXiv 2106.09685) on
RoBERTa-large: batch 32, length 128, learning rate 3e-4 (3e-5 for some tasks,
which ones is not confirmed), epochs as in LoRA's own runs.
Hardware: small: 2 CPU cores; large64, large8: one accelerator.
Time:     small: minutes a seed, SST-2 three.
Expected: large64 / large8: MNLI 89.9 / 90.3, SST-2 96.2 / 96.3, MRPC 88.7 /
          87.7, CoLA 66.5 / 66.3, QNLI 94.7 / 94.7, QQP 92.1 / 91.5, RTE 83.4 /
          72.9, STS-B 91.0 / 91.5.
Measured: large64, large8: not run.
Records:  houlsby-sst2
"""

import ml_collections

from configs import argument, glue
from configs.finetune import lora

SIZES = {'large64': 64, 'large8': 8}
FORMS = {'': None, 'small': None} | dict.fromkeys(SIZES, lora.FORMS['dagger'])


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task', 'task,small' or 'task,size'."""
  task, form = argument.parse(arg, FORMS)
  if form in SIZES:
    return compared(task, ('houlsby', dict(size=SIZES[form])))
  config = glue.get_config(task)
  config.methods = (('houlsby', dict(size=64)),)
  config.optimizer.lr = 5e-4
  return config


def compared(task: str, method: tuple) -> ml_collections.ConfigDict:
  """Returns the setting of the adapters in LoRA's table 2."""
  _, tasks = lora.PUBLISHED['dagger']
  config = lora.full(task, 32, tasks[task][1], 128)
  config.methods = (method,)
  config.optimizer.update(lr=3e-4, warmup=0.06)
  return config
