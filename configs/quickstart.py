"""Quick start: a small encoder, from scratch, on the three tasks of mini-GLUE.

Command:  python -m launch.train --config=configs/quickstart.py
            --workdir=runs/quickstart
Needs nothing but this repository: the tasks are generated (glue_jax/data/tasks/
synthetic.py), the vocabulary is trained on them.

Hardware: 2 CPU cores.
Time:     under 3 minutes.
Expected: above a bag of words; nothing is published of these tasks.
Records:  quickstart
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
      # No dropout and a wide start: a model of this size does not overfit here,
      # and at the usual 0.1 and 0.02 it begins to learn who did what to whom
      # only in the last epochs.
      model=dict(
        name='bert',
        preset='tiny',
        max_positions=32,
        init_range=0.05,
        dropout=0.0,
        attention_dropout=0.0,
      ),
      optimizer=dict(lr=2e-3, warmup=0.1, weight_decay=0.01),
      train=dict(epochs=6, log_every=25),
      stages=tuple(
        (name, dict(task=dict(name=f'mini_{name}'))) for name in TASKS
      ),
    )
  )
