"""A user's own task: one YAML file and a data file, no Python.

Command:  python -m launch.data check --task=TASK.yaml
          python -m launch.train --config=configs/own_task.py:TASK.yaml
            --workdir=runs/own
The keys of TASK.yaml: glue_jax/data/tasks/own_file.py. --config.model.weights,
or GLUE_JAX_WEIGHTS, is a folder of the Hugging Face kind, one that a run left,
or a name of the hub, which is fetched (google-bert/bert-base-uncased); the
tokenizer is its own then, the rate 3e-5, and there are 3 epochs. Without it a
small encoder and a vocabulary are trained from scratch, at 1e-3 for 30.

Hardware: 2 CPU cores.
Time:     depends on the rows; 200 of them 18 s of CPU time a seed.
Expected: depends on the task.
Records:  miniature-lepiszcze
"""

import os

import ml_collections

from glue_jax.config import dependent


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """The recipe for any task.

  Args:
    task: a YAML file, or the name of a known task.
  """
  weights = ml_collections.FieldReference(
    os.environ.get('GLUE_JAX_WEIGHTS', '')
  )

  def either(with_weights, without):
    return dependent.field(
      weights, lambda given: with_weights if given else without, type(without)
    )

  return ml_collections.ConfigDict(
    dict(
      task=dict(name=task),
      data=dict(
        data_dir=os.environ.get('GLUE_JAX_DATA', ''),
        tokenizer='',  # that of the weights, or one trained on the texts
        batch_size=16,
        eval_batch_size=64,
        buckets=(16, 32, 64, 128),
      ),
      model=dict(
        weights=weights,
        name=either(None, 'bert'),
        preset=either(None, 'tiny'),
      ),
      optimizer=dict(
        name='adamw', lr=either(3e-5, 1e-3), warmup=0.1, weight_decay=0.01
      ),
      train=dict(epochs=either(3, 30)),
      seeds=(0,),
    )
  )
