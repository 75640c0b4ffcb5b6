"""MEFT (Liao et al. 2023, arXiv 2306.00477) at MiniLM-L6's size, on a laptop.

Command:  python -m launch.train --config=configs/meft_minilm_glue.py:rte
            --workdir=runs/meft_small_rte
The argument is a task; or task_variant, rte_meft3; or rte_plain: as many
ordinary adapters of the same size (Houlsby's) in a plain stack.
Data and weights as in configs/glue.py, and its length, batch and seeds, twice
its epochs; rate and decay as in configs/finetune/meft.py. Measured, one seed at
a higher rate: README.
"""

import ml_collections

from configs import glue
from configs.finetune import meft


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task', 'task_variant' or 'task_plain'."""
  task, _, variant = arg.partition('_')
  config = meft.get_config(arg.removesuffix('_plain'))
  small = glue.get_config(task)
  config.data = small.data
  config.train = small.train
  config.train.epochs *= 2
  config.seeds = small.seeds
  if variant == 'plain':
    config.model.stack = 'plain'
    config.model.options = {}
    adapters = dict(size=8, activation='gelu', init_range=0.02)
    config.methods = (('houlsby', adapters),)
  return config
