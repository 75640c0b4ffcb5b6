"""BitFit (Ben Zaken et al. 2021, arXiv 2106.10199) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/bitfit.py:rte
            --workdir=runs/bitfit_rte
The argument is a task, and a form after a comma. Data and weights as in
configs/glue.py.

rte, rte,small: the small recipe of a laptop.
rte,base: RoBERTa-base in the setting of configs/finetune/lora.py with a
learning rate of 1e-3 (the paper's range of 1e-4 to 1e-3 is not confirmed).
Hardware: small: 2 CPU cores; base: one accelerator.
Time:     small: minutes a seed, SST-2 three.
Expected: base (LoRA's table 2, prior work): MNLI 84.7, SST-2 93.7, MRPC 92.7,
          CoLA 62.0, QNLI 91.8, QQP 84.0, RTE 81.5, STS-B 90.8.
Measured: base: not run.
Records:  bitfit-sst2
"""

import ml_collections

from configs.finetune import lora

FORMS = lora.SMALL_OR_BASE


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task', 'task,small' or 'task,base'."""
  config = lora.small_or_base(arg)
  config.methods = (('bitfit', {}),)
  config.optimizer.lr = 1e-3
  return config
