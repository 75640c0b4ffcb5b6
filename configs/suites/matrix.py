"""One cell of the matrix: a way of tuning, a backbone, an optimizer, a penalty.

Command:  python -m launch.train
            --config=configs/suites/matrix.py:lora,bert,adamw,none
            --workdir=runs/lora_bert
The argument names a part of each axis (TUNE, BACKBONE, OPTIMIZER, REGULARIZER
below, in this order); what is left out at its end is the axis' first part. Ways
of tuning and penalties are the methods whose records say so
(glue_jax/methods/<name>.py, FACTS).
`python -m launch.study matrix` runs all combinations and prints one table.

Backbones of width 64 learn mini-GLUE's sentiment from scratch; `minilm` is the
encoder of GLUE_JAX_WEIGHTS on 5,000 rows of SST-2 of GLUE_JAX_DATA. Settings
are one for each part, not tuned for each cell.

Hardware: 2 CPU cores.
Time:     half a minute a cell; minilm minutes.
Expected: nothing is published of such combinations.
Records:  matrix-covering, matrix-minilm, matrix-lamda-2e-3
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from configs import glue
from glue_jax.config import config as config_lib

_HOUSE = dict(preset='tiny', max_positions=64)


def _methods(axis: str) -> dict[str, dict[str, Any]]:
  """What each method of an axis changes in a config: its record says."""
  return {
    name: dict(facts.needs, methods=[[name, dict(facts.cell)]])
    for name, facts in config_lib.facts('methods').items()
    if facts.axis == axis
  }


# Part -> what it changes in a config; methods of all axes are put together.
TUNE: dict[str, dict[str, Any]] = {'full': {}} | _methods('tune')
_SMALL = (
  *('bert', 'roberta', 'electra', 'fnet', 'ponet', 'hydra', 'comet'),
  *('llama', 'bart'),  # a decoder, an encoder-decoder
)
BACKBONE: dict[str, dict[str, Any]] = {
  name: dict(model=dict(name=name, **_HOUSE)) for name in _SMALL
} | {'minilm': {}}
OPTIMIZER: dict[str, dict[str, Any]] = {
  'adamw': dict(optimizer=dict(name='adamw', lr=1e-3)),
  'galore': dict(optimizer=dict(name='galore', lr=1e-3, args=dict(rank=4))),
  'natural_galore': dict(
    optimizer=dict(name='natural_galore', lr=1e-3, args=dict(rank=4))
  ),
  'adafactor': dict(optimizer=dict(name='adafactor', lr=3e-3)),
  'lion': dict(optimizer=dict(name='lion', lr=2e-4)),
  'sgd': dict(optimizer=dict(name='sgd', lr=3e-2, args=dict(decay=0.9))),
}
REGULARIZER: dict[str, dict[str, Any]] = {'none': {}} | _methods('regularizer')
AXES: dict[str, dict[str, dict[str, Any]]] = dict(
  tune=TUNE, backbone=BACKBONE, optimizer=OPTIMIZER, regularizer=REGULARIZER
)


def get_config(cell: str = '') -> ml_collections.ConfigDict:
  """Returns the config of a cell 'tune,backbone,optimizer,regularizer'.

  Raises:
    ValueError: a part that its axis doesn't have, or too many parts.
  """
  given = [part for part in cell.split(',') if part]
  if len(given) > len(AXES):
    raise ValueError(f'{cell!r}: expected {",".join(AXES)}')
  names = [next(iter(parts)) for parts in AXES.values()]
  names[: len(given)] = given
  chosen = []
  for (axis, parts), name in zip(AXES.items(), names):
    if name not in parts:
      raise ValueError(f'{axis} {name!r}: expected one of {sorted(parts)}')
    chosen.append(parts[name])
  config = config_lib.plain(base(names[1]))
  # Last first: a penalty on what the backbone computes comes before adapters.
  methods = [m for part in chosen[::-1] for m in part.get('methods', ())]
  # SlimFit takes the place of calls that penalties only look at.
  methods.sort(key=lambda method: method[0] != 'slimfit')
  for part in chosen:
    config = config_lib.override(config, part)
  return ml_collections.ConfigDict(config | {'methods': methods})


def base(backbone: str) -> Mapping[str, Any]:
  """Returns what all cells of a backbone's size have in common."""
  if backbone == 'minilm':
    config = glue.get_config('sst2')
    config.data.train_limit = 5000
    del config.model.stack  # penalties read every position
    config.seeds = (0,)
    return config
  return dict(
    task=dict(name='mini_sentiment'),
    data=dict(
      tokenizer='train',
      max_length=32,
      # One length: Fourier mixing has no mask.
      buckets=(32,),
      batch_size=64,
      eval_batch_size=256,
    ),
    optimizer=dict(warmup=0.1, weight_decay=0.01),
    train=dict(epochs=3),
    seeds=(0,),
  )
