"""Parallel adapters (He et al. 2021, arXiv 2110.04366) on a GLUE task.

Command:  python -m launch.train
            --config=configs/finetune/parallel_adapter.py:rte
            --workdir=runs/parallel_adapter_rte
The argument is a task, and a form after a comma. Data and weights as in
configs/glue.py.

rte, rte,small: the small recipe of a laptop.
rte,base: RoBERTa-base in the setting of configs/finetune/lora.py.
Hardware: small: 2 CPU cores; base: one accelerator.
Time:     small: minutes a seed, SST-2 three.
Expected: not confirmed; the paper reports this suite only in part.
Measured: base: not run.
Records:  parallel_adapter-sst2
"""

import ml_collections

from configs.finetune import lora

FORMS = lora.SMALL_OR_BASE


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task', 'task,small' or 'task,base'."""
  config = lora.small_or_base(arg)
  config.methods = (('parallel_adapter', dict(reduction=2)),)
  config.optimizer.lr = 5e-4
  return config
