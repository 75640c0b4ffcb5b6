"""DyLoRA (Valipour et al. 2022, arXiv 2210.07558) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/dylora.py:sst2
            --config.model.weights=WEIGHTS --workdir=runs/dylora_sst2
          python -m launch.evaluate --workdir=runs/dylora_sst2 --ranks=1..8
The argument is a task, and `small` after a comma. Data as in configs/glue.py.

sst2: RoBERTa-base (WEIGHTS) by the official scripts: query and value, r = 8,
alpha 16, no LoRA dropout, frozen mode, b uniform in 1..8, length 512, warm-up
0.06, weight decay 0.1, linear decay, seed 0; batch a device, learning rate and
epochs by task (8 GPUs for MNLI). MRPC, RTE and STS-B start from the factors of
the MNLI run, with a fresh head:
  python -m launch.bundle write --workdir=runs/dylora_mnli --out=BUNDLE
  python -m launch.train --config=configs/finetune/dylora.py:rte
    --config.model.adapter=BUNDLE --workdir=runs/dylora_rte
sst2,small: MiniLM-L6 in nested mode, the better one in few steps;
`launch.benchmark dylora` sets it beside LoRA.
Hardware: one accelerator or several; small: 2 CPU cores.
Time:     small: minutes a seed, SST-2 three.
Expected: abstract only: 4 to 7 times faster than a search over ranks without a
          significant loss; the tables are not confirmed.
Measured: RoBERTa-base: not run.
Records:  dylora-sst2-small, dylora-rte-small
"""

import ml_collections

from configs import argument, glue

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
FORMS = {'': SETTINGS, 'small': None}


def get_config(arg: str = 'sst2') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' or 'task,small'."""
  task, form = argument.parse(arg, FORMS)
  config = glue.get_config(task)
  config.model.adapter = ''
  if form == 'small':
    config.methods = (('dylora', dict(rank=8, alpha=16.0, mode='nested')),)
    # At 5e-4 157 steps of SST-2 learnt nothing.
    config.optimizer.lr = 2e-3
    return config
  batch, lr, epochs = SETTINGS[task]
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
