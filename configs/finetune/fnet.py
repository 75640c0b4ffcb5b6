"""FNet-base (Lee-Thorp et al. 2022, arXiv 2105.03824) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/fnet.py:rte
            --workdir=runs/fnet_rte
Data as in configs/glue.py; GLUE_JAX_WEIGHTS names a Hugging Face folder of
fnet-base.

Recipe of the published model cards: length 512, batch 16, learning rate 2e-5,
3 epochs. FNet mixes padding in, so every batch has the one length 512.
Hardware: one accelerator.
Time:     not known.
Expected: development sets (model cards of a PyTorch port): MNLI 76.75, QQP
          88.47 / F1 84.66, QNLI 84.39, RTE 62.82.
Measured: not run.
"""

import ml_collections

from configs import glue


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/glue.py at FNet's setting."""
  config = glue.get_config(task)
  config.data.update(
    max_length=512,
    buckets=(512,),
    batch_size=16,
    eval_batch_size=16,
    train_limit=None,
  )
  config.model.stack = 'plain'
  config.optimizer.update(lr=2e-5, warmup=0.0)
  config.train.epochs = 3
  return config
