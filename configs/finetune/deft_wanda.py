"""DEFT over a backbone pruned by WANDA (arXiv 2306.11695) on a GLUE task.

Command:  python -m launch.probe input-norms
            --config=configs/finetune/deft.py:rte,small --output=wanda_rte.npz
          python -m launch.train --config=configs/finetune/deft_wanda.py:rte
            --workdir=runs/deft_wanda_rte
The argument is a task, and a way of tuning after a comma, as in
configs/finetune/deft.py; the norms are those of the task, wanda_TASK.npz in the
folder where the command is given.

Half of each output's weights go, then configs/finetune/deft.py:rte,small: the
paper's combination (arXiv 2402.01911), its order and share quoted from memory,
not confirmed. With rte,qlora what is left is packed in 4 bits.
Hardware: 2 CPU cores.
Time:     minutes a seed.
Expected: not confirmed.
Records:  deft_wanda-sst2
"""

import ml_collections

from configs import argument
from configs.finetune import deft

FORMS = dict.fromkeys(('', *deft.TUNING))


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/finetune/deft.py:task,small over a pruned backbone."""
  task, tuning = argument.parse(arg, FORMS)
  config = deft.small(task, tuning or 'lora')
  prune = ('wanda', dict(norms=f'wanda_{task}.npz', sparsity=0.5))
  config.methods = (prune, *config.methods)
  return config
