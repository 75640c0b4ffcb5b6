"""A user's own task: one YAML file and a data file, no Python.

Command:  python -m launch.data check --task=TASK.yaml
          python -m launch.train --config=configs/own_task.py:TASK.yaml
            --workdir=runs/own
The keys of TASK.yaml: glue_jax/data/tasks/own_file.py. A model is a folder of
the Hugging Face kind, or one that a run left: GLUE_JAX_WEIGHTS, or
--config.model.weights=DIR --config.data.tokenizer=DIR. Without one a small
encoder and a vocabulary are trained from scratch.

Hardware: 2 CPU cores.
Time:     depends on the rows; 200 of them 18 s of CPU time a seed.
Expected: depends on the task.
Records:  miniature-lepiszcze
"""

import os

import ml_collections


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """The recipe for any task.

  Args:
    task: a YAML file, or the name of a known task.
  """
  weights = os.environ.get('GLUE_JAX_WEIGHTS', '')
  model: dict = dict(weights=weights)
  if not weights:
    model = dict(name='bert', preset='tiny')
  return ml_collections.ConfigDict(
    dict(
      task=dict(name=task),
      data=dict(
        data_dir=os.environ.get('GLUE_JAX_DATA', ''),
        tokenizer=weights or 'train',
        batch_size=16,
        eval_batch_size=64,
        buckets=(16, 32, 64, 128),
      ),
      model=model,
      optimizer=dict(
        name='adamw',
        lr=3e-5 if weights else 1e-3,
        warmup=0.1,
        weight_decay=0.01,
      ),
      train=dict(epochs=3 if weights else 30),
      seeds=(0,),
    )
  )
