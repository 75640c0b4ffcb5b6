"""QLoRA (Dettmers et al. 2023, arXiv 2305.14314) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/qlora.py:rte
            --workdir=runs/qlora_rte
The argument as in configs/finetune/lora.py, whose recipe this is over a packed
backbone. Data and weights as in configs/glue.py. All linear layers of the
blocks in NF4 with double quantisation (4.127 bits a weight), unpacked to
bfloat16 layer by layer; LoRA of rank 64, alpha 16, dropout 0.1 beside each: the
paper's setting for language models of 7B and 13B (quoted from memory, not
confirmed).

Hardware: small: 2 CPU cores; base, large, dagger: one accelerator.
Time:     small: minutes a seed.
Expected: not confirmed.
Measured: not run.
"""

import ml_collections

from configs.finetune import lora

FORMS = {form: lora.FORMS[form] for form in lora.FORMS if form != 'decoder'}


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/finetune/lora.py over a packed backbone."""
  config = lora.get_config(arg)
  config.methods = (('qlora', dict(rank=64, alpha=16.0, dropout=0.1)),)
  config.model.dtype = 'bfloat16'
  return config
