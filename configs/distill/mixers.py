"""Other mixers in a pretrained encoder: hidden states distilled, then a task.

Command:  python -m launch.train --config=configs/distill/mixers.py:rte,ponet
            --workdir=runs/mixers_rte_ponet
The argument is a task of GLUE and a mixer (attention, ponet, fourier, hydra);
`corpus,ponet` is the first stage alone. GLUE_JAX_WEIGHTS and GLUE_JAX_DATA as
in configs/glue.py, GLUE_JAX_CORPUS a folder with train/ and valid/ of texts.

The encoder of the weights with fresh mixers, attention too, and all else as it
is there, is held to the hidden states of the unchanged encoder on blocks of
running text (glue_jax/objectives/hidden_states.py), then tuned on the task. All
mixers get the same rows (at most 64 tokens), steps, rates and seeds; the
Fourier transform, which has no mask, gets all padded to 64. Hydra's mixer
stands in the place of attention, with the FFN after it, not in a block of its
own as published.

Hardware: 2 CPU cores.
Time:     not known.
Expected: PoNet at 95.7 % of BERT's GLUE average (arXiv 2110.02442, abstract);
          both are pre-trained from scratch there, on far more text.
Measured: not run; `python -m launch.benchmark mixer_ratio` runs all mixers and
          tasks.
"""

import os
from typing import Any

import ml_collections

from configs import argument, glue

TASKS = ('sst2', 'mrpc', 'rte', 'cola')
FORMS = dict.fromkeys(
  ('attention', 'ponet', 'fourier', 'hydra'), (*TASKS, 'corpus')
)
LENGTH = 64


def get_config(arg: str = 'rte,ponet') -> ml_collections.ConfigDict:
  """Two stages, or the first alone."""
  task, mixer = argument.parse(arg, FORMS)
  first = distilled(mixer)
  if task == 'corpus':
    return ml_collections.ConfigDict(first)
  stages = ('distil', first), ('finetune', tuned(task, mixer, 'stage:distil'))
  return ml_collections.ConfigDict(dict(stages=stages))


def distilled(mixer: str) -> dict[str, Any]:
  """The first stage: the weights' encoder with fresh mixers."""
  corpus = os.environ.get('GLUE_JAX_CORPUS', '')
  weights = os.environ.get('GLUE_JAX_WEIGHTS', '')
  return dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(
      files=dict(train=f'{corpus}/train', validation=f'{corpus}/valid'),
      tokenizer=weights,
      max_length=LENGTH,
      buckets=(LENGTH,),
      batch_size=8,
      eval_batch_size=64,
      eval_limit=512,
      cache_dir='~/.cache/glue_jax/examples',
    ),
    model=dict(
      weights=weights,
      mixer=mixer,
      head='encoder',
      fresh=('encoder/.*/mixer/.*',),
    ),
    objective=dict(name='hidden_states', teacher=weights),
    optimizer=dict(lr=5e-4, warmup=0.1, weight_decay=0.01, clip_norm=1.0),
    train=dict(steps=5000, eval_every=1000, save_every=500, log_every=100),
    seeds=(0,),
  )


def tuned(task: str, mixer: str, weights: str) -> dict[str, Any]:
  """The second stage: a task, as configs/glue.py with less of everything.

  Args:
    task: of TASKS.
    mixer: that the weights have.
    weights: the folder of the first stage, or its name.
  """
  config = glue.get_config(task).to_dict()
  config['data'] |= dict(
    tokenizer=weights,
    max_length=LENGTH,
    # The Fourier transform needs one length; the others save work.
    buckets=(LENGTH,) if mixer == 'fourier' else (16, 32, 48, LENGTH),
    train_limit=1500,
  )
  config['model'] = dict(weights=weights)
  config['optimizer'] |= dict(lr=1e-4)
  config['train'] = dict(epochs=2)
  config['seeds'] = (0,)
  return config
