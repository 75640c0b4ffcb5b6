"""DEFT (arXiv 2402.01911) at MiniLM-L6's size, on a laptop.

Command:  python -m launch.train --config=configs/deft_minilm_glue.py:rte
            --workdir=runs/deft_minilm_rte
Argument and data as in configs/finetune/deft.py; weights as in configs/glue.py.
The backbone keeps its GELU, whose density hardly falls; a ReLU backbone and the
table over all forms of tuning: python -m launch.benchmark deft.

The official recipe with batch 32, learning rate 1e-3 (prefix and prompt 1e-2),
3 epochs, at most 5,000 rows, and batches as long as their texts; padding
doesn't count in the loss, as how much there is depends on the batch.
Measured in fewer steps: README. LoRA on a backbone that had only 115 steps to
get used to its ReLU (the benchmark with --backbone_task=mrpc --task=sst2
--train_limit=2000 --epochs=2) fell silent: 0.7 % of the activations were left
and SST-2 at chance.
"""

import ml_collections

from configs.finetune import deft

# Rates of the forms that learn vectors in place of weights.
RATES = {'prefix': 1e-2, 'prompt': 1e-2}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' or 'task_form'."""
  config = deft.get_config(arg)
  tuning, _ = config.methods
  config.methods = (tuning, ('deft', dict(weight=1.0, include_padding=False)))
  config.data.update(batch_size=32, buckets=(32, 64, 128), train_limit=5000)
  config.optimizer.lr = RATES.get(arg.partition('_')[2], 1e-3)
  config.train.epochs = 3
  config.seeds = (0, 1, 2)
  return config
