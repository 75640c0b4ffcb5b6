"""Gradual unfreezing (Howard and Ruder 2018, arXiv 1801.06146) on GLUE.

Command:  python -m launch.train
            --config=configs/finetune/gradual_unfreezing.py:rte
            --workdir=runs/unfreezing_rte
Data and weights as in configs/glue.py, eight epochs.

Hardware: 2 CPU cores.
Time:     not known.
Expected: nothing is published for GLUE; the paper tunes an LSTM.
Measured: not run.
"""

import ml_collections

from configs import glue


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/glue.py with one more block learning each epoch."""
  config = glue.get_config(task)
  config.methods = (('gradual_unfreezing', dict(epochs_per_layer=1)),)
  config.train.epochs = 8
  return config
