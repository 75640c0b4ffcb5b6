"""SlimFit (Ardakani et al. 2023, arXiv 2305.18513) on a GLUE task, BERT-base.

Command:  python -m launch.train --config=configs/finetune/slimfit.py:sst2
            --workdir=runs/slimfit_sst2
Data as in configs/glue.py; GLUE_JAX_WEIGHTS names a Hugging Face folder of
bert-base-cased. Meant for one accelerator.

Recipe of the official code: AdamW with eps 1e-6 and weight decay 0.01, linear
decay to 0 without warm-up or clipping, 3 epochs, batch 32 (RTE 16), rows padded
to 128, attention's dropout on the values, seed 43 (RTE 47); freezing rates and
learning rates below. It chooses the layers that learn in every step; here every
50 steps, of at most 32 choices, as each choice is a program of its own.
Expected: accuracy 0.2 below full fine-tuning on average and 0.4 at most, with
2.2 times less memory on average and 3.1 at best (abstract); figures by task are
not confirmed. Measured: not run at this scale; configs/slimfit_minilm_glue.py
runs here. Memory: README, 'Results'.
"""

import ml_collections

from configs import glue

# {task: (freezing rate, learning rate)}.
RATES = {
  'sst2': (0.95, 8e-5),
  'cola': (0.90, 8e-5),
  'mrpc': (0.90, 1.25e-4),
  'rte': (0.90, 1.2e-4),
  'qqp': (0.80, 5e-5),
  'mnli': (0.80, 4e-5),
  'stsb': (0.85, 8e-5),
  'qnli': (0.95, 5e-5),
}


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for a task of `RATES`."""
  if task not in RATES:
    raise ValueError(f'SlimFit has no recipe for {task!r}: {sorted(RATES)}')
  rate, lr = RATES[task]
  config = glue.get_config(task)
  config.data.update(train_limit=None, buckets=(128,))
  config.data.batch_size = 16 if task == 'rte' else 32
  config.model.stack = 'plain'
  config.methods = (
    (
      'slimfit',
      dict(freezing_rate=rate, refresh=50, masks=32, value_dropout=True),
    ),
  )
  config.optimizer.update(
    lr=lr, warmup=0.0, clip_norm=None, args=dict(eps=1e-6)
  )
  config.train = dict(epochs=3, max_programs=32)
  config.seeds = (47,) if task == 'rte' else (43,)
  return config
