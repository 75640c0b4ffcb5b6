"""LaMDA++ (Azizi et al. 2024, arXiv 2406.12832) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/lamda_plus.py:rte
            --workdir=runs/lamda_plus_rte
As configs/finetune/lamda.py, also in its small form (`rte,small`), with a rank
for each matrix: GLUE_JAX_WEIGHTS is read here for the spectra, and the ranks
become part of the config, so that a run says what it had. How the published
method scores a matrix is not confirmed, see glue_jax/peft/rank_allocation.py.
Mean rank 32 of 16, 32 and 64; small: 8 of 4, 8 and 16.

Hardware: 2 CPU cores.
Time:     minutes a seed.
Expected: not confirmed; see configs/finetune/lamda.py.
Measured: mean rank 32: not run.
Records:  lamda-sst2-small, lamda-sst2-small-156,
          lamda-sst2-small-156-4e-3, lamda-rte-small
"""

import os

import ml_collections

from configs import argument
from configs.finetune import lamda
from glue_jax.peft import lora, rank_allocation
from glue_jax.probes import singular_values

FORMS = lamda.FORMS
# Form: the mean rank.
MEANS = {'': 32, 'small': 8}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/finetune/lamda.py with allocated ranks."""
  _, form = argument.parse(arg, FORMS)
  config = lamda.get_config(arg)
  ((name, arguments),) = config.methods
  weights = os.environ.get('GLUE_JAX_WEIGHTS', '')
  # Without weights there are no ranks, and the method says so.
  arguments['ranks'] = ranks(weights, MEANS[form]) if weights else {}
  config.methods = ((name, arguments),)
  return config


def ranks(weights: str, mean: int) -> dict[str, int]:
  """Returns {path of a layer: rank} with mean / 2, mean and 2 mean."""
  spectra = singular_values.of_weights(weights, lora.sites(lamda.TARGETS))
  return rank_allocation.allocate(spectra, mean)
