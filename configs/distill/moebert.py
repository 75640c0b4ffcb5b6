"""MoEBERT (Zuo et al. 2022, arXiv 2204.07675) on a GLUE task.

As configs/finetune/comet.py with the hash gate: every token id has one expert.

Command:  python -m launch.train --config=configs/distill/moebert.py:rte
            --workdir=runs/moebert_rte
Teacher, importance and data as in configs/finetune/comet.py.

Recipe of the official example: batch 8, lr 5e-5, 5 epochs, distillation weight
5, random hash, length 128. A small form is configs/finetune/comet.py:
rte,small,hash.
Hardware: one accelerator.
Time:     not known.
Expected: not confirmed.
Measured: not run.
"""

import ml_collections

from configs.finetune import comet


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for a task of `glue_jax.data.tasks.by_name`."""
  config = comet.student(task, distillation=5.0, gate='hash')
  config.data.update(batch_size=8, train_limit=None)
  config.optimizer.update(lr=5e-5)
  config.train.epochs = 5
  return config
