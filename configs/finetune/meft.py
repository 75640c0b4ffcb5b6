"""MEFT (Liao et al. 2023, arXiv 2306.00477) on a GLUE task, as published.

Command:  python -m launch.train --config=configs/finetune/meft.py:rte
            --workdir=runs/meft_rte
The argument is a task, or task_variant: rte_meft3. Data as in configs/glue.py;
GLUE_JAX_WEIGHTS names a Hugging Face folder of bert-base-uncased.

Setting of the official script: bottleneck 8, all 12 layers reversible, AdamW
(0.9, 0.98, 1e-6), weight decay 0.1, linear decay after 6 % warm-up, length 512,
the best epoch of the development set, seed 3407; of its grid (5e-4 to 8e-4,
batch 16 or 32, 20 or 40 epochs) the middle here: 6e-4, 16, 20. Unlike it, the
streams are stored every few layers (layers/reversible.py), without which
float32 gradients of the lowest layers are noise.

Expected (abstract): the GLUE score of full fine-tuning with up to 84 % less
activation memory; the table of scores is not confirmed. Measured: not run at
this scale.
"""

import ml_collections

from configs import glue


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/glue.py with a reversible stack, for 'task_variant'."""
  task, _, variant = arg.partition('_meft')
  config = glue.get_config(task)
  config.data.update(
    max_length=512, buckets=(32, 64, 128, 256, 512), batch_size=16,
    train_limit=None,
  )  # fmt: skip
  config.model.stack = 'reversible'
  config.model.options = {'reversible': {'variant': f'meft{variant or 1}'}}
  config.methods = (('meft', dict(size=8)),)
  config.optimizer.update(
    lr=6e-4,
    warmup=0.06,
    weight_decay=0.1,
    args=dict(b1=0.9, b2=0.98, eps=1e-6),
    groups=(('.*/adapter_.*_bias', dict(weight_decay=0.0)),),
  )
  config.train.update(epochs=20, select='best')
  config.seeds = (3407,)
  return config
