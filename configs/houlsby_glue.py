"""Houlsby adapters (Houlsby et al. 2019, arXiv 1902.00751) on a GLUE task.

Command:  python -m launch.train --config=configs/houlsby_glue.py:rte
            --workdir=runs/houlsby_rte
Data and weights as in configs/glue.py.
"""

import ml_collections

from configs import glue


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/glue.py with adapters of size 64 after both sublayers."""
  config = glue.get_config(task)
  config.methods = (('houlsby', dict(size=64)),)
  config.optimizer.lr = 5e-4
  return config
