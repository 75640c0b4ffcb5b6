"""LoRA (Hu et al. 2021, arXiv 2106.09685) on a GLUE task.

Command:  python -m launch.train --config=configs/lora_glue.py:rte
            --workdir=runs/lora_rte
Data and weights as in configs/glue.py. The paper's setting for RoBERTa-base
(rank 8, alpha 8, batch 32, 80 epochs, learning rate 5e-4, length 512) reaches
86.6 on RTE from an MNLI start; here the small recipe of a laptop: the same
factors, few epochs, length 128.
"""

import ml_collections

from configs import glue


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/glue.py with the backbone frozen and factors beside it."""
  config = glue.get_config(task)
  config.methods = (('lora', dict(rank=8, alpha=8.0)),)
  config.optimizer.lr = 5e-4
  return config
