"""SlimFit (arXiv 2305.18513) at MiniLM-L6's size, on a laptop.

Command:  python -m launch.train --config=configs/slimfit_minilm_glue.py:rte
            --workdir=runs/slimfit_rte
The argument is a task, or task_full for full fine-tuning with the same data and
steps, to be compared with. Data and weights as in configs/glue.py. The freezing
rate is 0.8: as many of the 54 layers learn at a time, 11, as of BERT-base's 102
at the published 0.9. Each learns about a fifth of the steps, so learning rates
are a multiple of the usual, as published: here 6 times. No warm-up, as there:
layers that learn in it hardly move, and would wait while the others learn.
Measured on RTE, MRPC and SST-2: README.
"""

import ml_collections

from configs import glue


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' or 'task_full'."""
  task, _, arm = arg.partition('_')
  config = glue.get_config(task)
  # Two lengths, as each choice of layers is a program for each.
  config.data.buckets = (16, 64) if task == 'sst2' else (64, 128)
  config.data.max_length = config.data.buckets[-1]
  config.train.epochs = 1 if task == 'sst2' else 4
  if arm == 'full':
    return config
  if arm:
    raise ValueError(f'{arg!r}: expected a task, or task_full')
  masks = 8
  config.methods = (
    ('slimfit', dict(freezing_rate=0.8, refresh=10, masks=masks)),
  )
  config.optimizer.update(lr=6 * config.optimizer.lr, warmup=0.0)
  config.train.max_programs = masks * len(config.data.buckets)
  return config
