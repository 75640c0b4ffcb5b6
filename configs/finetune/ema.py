"""Full fine-tuning evaluated by the moving average of its weights, on GLUE.

Command:  python -m launch.train --config=configs/finetune/ema.py:rte
            --workdir=runs/ema_rte
Data and weights as in configs/glue.py. Beside another method: its recipe with
('ema', dict(decay=0.999)) added to `config.methods`.

Hardware: 2 CPU cores.
Time:     that of configs/glue.py, and one pass over the weights a step.
Expected: nothing is published for GLUE with these encoders.
Measured: not run.
"""

import ml_collections

from configs import glue


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/glue.py with the average of the weights."""
  config = glue.get_config(task)
  config.methods = (('ema', dict(decay=0.999)),)
  return config
