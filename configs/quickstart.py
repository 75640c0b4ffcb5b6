"""Quick start: a small encoder, from scratch, on the three tasks of mini-GLUE.

Command:  python -m launch.train --config=configs/quickstart.py
            --workdir=runs/quickstart
Needs nothing but this repository: the tasks are generated (glue_jax/data/
synthetic.py), the vocabulary is trained on them.
"""

import ml_collections

TASKS = ('acceptability', 'sentiment', 'entailment')


def get_config() -> ml_collections.ConfigDict:
  """Three stages, one for each task, that share everything else."""
  return ml_collections.ConfigDict(
    dict(
      data=dict(
        tokenizer='train',
        max_length=32,
        batch_size=64,
        eval_batch_size=256,
        buckets=(16, 24, 32),
      ),
      # A wide start: at 0.02 role swaps are learnt some epochs later.
      model=dict(name='bert', preset='tiny', max_positions=32, init_range=0.1),
      optimizer=dict(lr=2e-3, warmup=0.1, weight_decay=0.01),
      train=dict(epochs=6, log_every=25),
      stages=tuple(
        (name, dict(task=dict(name=f'mini_{name}'))) for name in TASKS
      ),
    )
  )
