"""LaMDA++ (Azizi et al. 2024, arXiv 2406.12832) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/lamda_plus.py:rte
            --workdir=runs/lamda_plus_rte
As configs/finetune/lamda.py, with a rank for each matrix: GLUE_JAX_WEIGHTS is
read here for the spectra, and the ranks become part of the config, so that a
run says what it had. How the published method scores a matrix is not confirmed,
see glue_jax/peft/rank_allocation.py. Mean rank 32 of 16, 32 and 64.
Expected and measured: see configs/finetune/lamda.py.
"""

import os

import ml_collections

from configs.finetune import lamda
from glue_jax.peft import lora, rank_allocation
from glue_jax.probes import singular_values


def get_config(task: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/finetune/lamda.py with allocated ranks."""
  config = lamda.get_config(task)
  ((name, arguments),) = config.methods
  weights = os.environ.get('GLUE_JAX_WEIGHTS', '')
  # Without weights there are none, and the method says so.
  arguments['ranks'] = ranks(weights, 32) if weights else {}
  config.methods = ((name, arguments),)
  return config


def ranks(weights: str, mean: int) -> dict[str, int]:
  """Returns {path of a layer: rank} with mean / 2, mean and 2 mean."""
  found = singular_values.of_weights(weights, lora.sites(lamda.TARGETS))
  return rank_allocation.allocate(found, mean)
