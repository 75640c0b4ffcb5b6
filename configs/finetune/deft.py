"""DEFT (Runwal et al. 2024, arXiv 2402.01911) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/deft.py:rte
            --workdir=runs/deft_rte
          python -m launch.probe density --workdir=runs/deft_rte --seed=0
The argument is a task, and a way of `TUNING` other than LoRA after a comma:
rte,adapter; at a laptop's size rte,small or rte,small,adapter. Data as in
configs/glue.py.

rte: roberta-large (GLUE_JAX_WEIGHTS) by the official scripts: AdamW 3e-4,
weight decay 0.01, linear decay after 6 % warm-up, batch 64, 10 epochs, all rows
padded to 128, eps 1e-7, weight 1. Their prompt tuning has eps 20 as a default,
whether the published run used it is not confirmed.
rte,small: MiniLM-L6 with batch 32, learning rate 1e-3 (prefix and prompt 1e-2),
3 epochs, at most 5,000 rows. The backbone keeps its GELU, whose density hardly
falls; `launch.benchmark deft` tunes a ReLU backbone in all these ways.
Hardware: one accelerator; small: 2 CPU cores.
Time:     small: minutes a seed.
Expected: density up to 44.94 % lower (abstract, version 2) than without the
          loss (weight=0) at comparable scores; tables not confirmed.
Measured: roberta-large: not run.
Records:  deft-sst2-small
"""

import ml_collections

from configs import argument, glue

# A way of tuning: its method. The first is that of a task alone.
TUNING = {
  'lora': ('lora', dict(rank=8, alpha=16.0, dropout=0.1)),
  'qlora': ('qlora', dict(rank=8, alpha=16.0, dropout=0.1)),
  'adapter': ('pfeiffer', dict(reduction=16)),
  'houlsby': ('houlsby', dict(size=64)),
  'prefix': ('prefix', dict(length=60)),
  'prompt': ('prompt', dict(length=60)),
}
FORMS = dict.fromkeys(
  ('', *TUNING, 'small', *(f'small,{tuning}' for tuning in TUNING))
)
# Rates of the small form for what learns vectors in place of weights.
RATES = {'prefix': 1e-2, 'prompt': 1e-2}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' with any of `FORMS`."""
  task, form = argument.parse(arg, FORMS)
  size, _, tuning = form.partition(',')
  if size == 'small':
    return small(task, tuning or 'lora')
  return published(task, form or 'lora')


def published(task: str, tuning: str) -> ml_collections.ConfigDict:
  """Returns the recipe of the official scripts; `tuning` of `TUNING`."""
  config = glue.get_config(task)
  config.methods = (TUNING[tuning], ('deft', dict(weight=1.0)))
  config.data.update(batch_size=64, buckets=(128,), train_limit=None)
  # Every position of every layer counts, so all are computed.
  config.model.stack = 'plain'
  config.optimizer.update(lr=3e-4, warmup=0.06, weight_decay=0.01)
  config.train.epochs = 10
  config.seeds = (42,)
  return config


def small(task: str, tuning: str) -> ml_collections.ConfigDict:
  """Returns MiniLM-L6's recipe: a higher rate, batches as long as their texts.

  Padding doesn't count in the loss, as how much there is depends on the batch.
  """
  config = published(task, tuning)
  deft = ('deft', dict(weight=1.0, include_padding=False))
  config.methods = (TUNING[tuning], deft)
  config.data.update(batch_size=32, buckets=(32, 64, 128), train_limit=5000)
  config.optimizer.lr = RATES.get(tuning, 1e-3)
  config.train.epochs = 3
  config.seeds = (0, 1, 2)
  return config
