"""DEFT over a backbone pruned by WANDA (arXiv 2306.11695) on a GLUE task.

Command:  python -m launch.calibrate --config=configs/deft_minilm_glue.py:rte
            --output=wanda_rte.npz
          python -m launch.train --config=configs/finetune/deft_wanda.py:rte
            --workdir=runs/deft_wanda_rte
The argument is a task, or task_form as in configs/finetune/deft.py; the norms
are those of the task, wanda_TASK.npz in the folder where the command is given.

Half of each output's weights go, then configs/deft_minilm_glue.py: the paper's
combination (arXiv 2402.01911), its order and share quoted from memory, not
confirmed. With rte_qlora what is left is packed in 4 bits. Measured, SST-2,
seed 0: 0.800.
"""

import ml_collections

from configs import deft_minilm_glue


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' or 'task_form'."""
  config = deft_minilm_glue.get_config(arg)
  norms = f'wanda_{arg.partition("_")[0]}.npz'
  prune = ('wanda', dict(norms=norms, sparsity=0.5))
  config.methods = (prune, *config.methods)
  return config
