"""GaLore and Natural GaLore at MiniLM-L6's size, on a laptop.

Command:  python -m launch.train --config=configs/galore_minilm_glue.py:rte
            --workdir=runs/galore_rte
The argument is a task, or task_natural: galore_minilm_glue.py:rte_natural.
Data and weights as in configs/glue.py, whose epochs and batches it takes.
Rank 8 of 384; a refresh every 50 steps, as a run has a few hundred. The rate is
twice that of configs/glue.py's AdamW, not tuned. Measured, SST-2, seed 0:
0.833, natural 0.794.
"""

import ml_collections

from configs import glue
from configs.finetune import galore


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' or 'task_natural'."""
  task, _, kind = arg.partition('_')
  config = glue.get_config(task)
  config.optimizer = galore.optimizer(
    kind, lr=1e-4, rank=8, scale=1.0, update_proj_gap=50
  )
  return config
