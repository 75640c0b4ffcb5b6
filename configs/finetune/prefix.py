"""Prefix tuning (arXiv 2101.00190, for encoders 2110.07602) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/prefix.py:rte
            --workdir=runs/prefix_rte
The argument is a task, and a form after a comma. Data and weights as in
configs/glue.py.

rte, rte,small: the small recipe of a laptop.
rte,base: RoBERTa-base in the setting of configs/finetune/lora.py; the length,
the dropout of 0.1 and the learning rate are not confirmed.
Hardware: small: 2 CPU cores; base: one accelerator.
Time:     small: minutes a seed, SST-2 three.
Expected: nothing is published for GLUE; P-Tuning v2 reports SuperGLUE.
Measured: base: not run.
Records:  prefix-sst2
"""

import ml_collections

from configs.finetune import lora

FORMS = lora.SMALL_OR_BASE


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task', 'task,small' or 'task,base'."""
  config = lora.small_or_base(arg)
  config.methods = (('prefix', dict(length=20, dropout=0.1)),)
  config.optimizer.lr = 5e-3
  return config
