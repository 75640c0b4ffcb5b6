"""DyLoRA (Valipour et al. 2022, arXiv 2210.07558) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/dylora.py:sst2
            --config.model.weights=WEIGHTS --workdir=runs/dylora_sst2
          python -m launch.evaluate --workdir=runs/dylora_sst2 --ranks=1..8
Data as in configs/glue.py; WEIGHTS: RoBERTa-base.

Setting of the official scripts: RoBERTa-base, query and value, r = 8, alpha
16, no LoRA dropout, frozen mode, b uniform in 1..8, length 512, warm-up 0.06,
weight decay 0.1, linear decay, seed 0; batch a device, learning rate and epochs
by task (8 GPUs for MNLI). MRPC, RTE and STS-B start from the MNLI run
(`--config.model.weights=runs/dylora_mnli/model`, with
`--config.model.fresh="('head/.*',)"`).
Expected: abstract only: 4 to 7 times faster than a search over ranks without a
significant loss; the tables are not confirmed. Measured: not run at this scale;
configs/dylora_minilm_glue.py runs here.
"""

import ml_collections

from configs import glue

# Task -> (batch, learning rate, epochs).
SETTINGS = {
  'mnli': (16, 5e-4, 30),
  'sst2': (16, 5e-4, 60),
  'mrpc': (16, 4e-4, 30),
  'cola': (32, 4e-4, 80),
  'qnli': (32, 4e-4, 25),
  'qqp': (16, 5e-4, 25),
  'rte': (16, 5e-4, 80),
  'stsb': (16, 4e-4, 40),
}


def get_config(task: str = 'sst2') -> ml_collections.ConfigDict:
  """Returns the recipe for one of the eight tasks."""
  batch, lr, epochs = SETTINGS[task]
  config = glue.get_config(task)
  config.data.update(
    max_length=512,
    buckets=(32, 64, 128, 256, 512),
    batch_size=batch,
    train_limit=None,
  )
  config.optimizer.update(lr=lr, warmup=0.06, weight_decay=0.1)
  config.train.epochs = epochs
  config.seeds = (0,)
  config.methods = (('dylora', dict(rank=8, alpha=16.0, mode='frozen')),)
  return config
