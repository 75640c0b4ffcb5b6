"""BERT-base (Devlin et al. 2019, arXiv 1810.04805) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/bert_base.py:rte
            --workdir=runs/bert_base_rte
Data as in configs/glue.py; GLUE_JAX_WEIGHTS names a Hugging Face folder of
bert-base-cased. On several accelerators the batch is split over all of them;
`--config.mesh.fsdp=8` shards parameters and optimizer too.

Recipe of the official Flax example: batch 32, AdamW 2e-5 with eps 1e-6, linear
decay without warm-up, 3 epochs (MRPC, WNLI 5), length 128, bfloat16 here.
Hardware: one accelerator or several.
Time:     not known.
Expected: development sets, mean and sd of 5 seeds: CoLA 59.04 (1.06), SST-2
          92.23 (.57), MRPC F1 88.97 (.72), STS-B 88.94 (.07), QQP accuracy
          90.76 (.05), MNLI-m 83.80 (.16), QNLI 90.82 (.17), RTE 64.76 (1.04),
          WNLI 37.01 (6.83); that script dropped the last partial batch of a
          development set, which is counted here.
Measured: not run.
"""

import ml_collections

from configs import glue


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/glue.py at BERT's setting, five seeds."""
  config = glue.get_config(task)
  config.data.train_limit = None
  config.model.dtype = 'bfloat16'
  config.optimizer.update(lr=2e-5, warmup=0.0, args=dict(eps=1e-6))
  config.train.epochs = 5 if task in ('mrpc', 'wnli') else 3
  config.seeds = (0, 1, 2, 3, 4)
  return config
