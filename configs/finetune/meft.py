"""MEFT (Liao et al. 2023, arXiv 2306.00477) on a GLUE task.

Command:  python -m launch.train --config=configs/finetune/meft.py:rte
            --workdir=runs/meft_rte
The argument is a task, and a variant other than MEFT1 after a comma: rte,meft3;
at a laptop's size rte,small or rte,small,meft3. Data as in configs/glue.py.

rte: bert-base-uncased (GLUE_JAX_WEIGHTS) by the official script: bottleneck 8,
all 12 layers reversible, AdamW (0.9, 0.98, 1e-6), weight decay 0.1, linear
decay after 6 % warm-up, length 512, the best epoch of the development set, seed
3407; of its grid (5e-4 to 8e-4, batch 16 or 32, 20 or 40 epochs) the middle
here: 6e-4, 16, 20. Unlike it, the streams are stored every few layers
(glue_jax/layers/stacks/reversible.py), without which float32 gradients of the
lowest layers are noise.
rte,small: MiniLM-L6 with the length, batch and seeds of configs/glue.py and
twice its epochs; rate and decay as above. rte,small,plain: as many ordinary
adapters of the same size in a plain stack, to be compared with.
Hardware: one accelerator; small: 2 CPU cores.
Time:     small: minutes a seed.
Expected: abstract: the GLUE score of full fine-tuning with up to 84 % less
          activation memory; the table of scores is not confirmed.
Measured: bert-base-uncased: not run.
Records:  meft-sst2-small, meft-sst2-small-plain, meft-rte-small,
          meft-rte-small-plain, meft-memory, meft-time
"""

import ml_collections

from configs import argument, glue

VARIANTS = ('meft1', 'meft2', 'meft3')
FORMS = dict.fromkeys(
  ('', *VARIANTS, 'small', *(f'small,{v}' for v in (*VARIANTS, 'plain')))
)


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Returns configs/glue.py with a reversible stack, in a form of `FORMS`."""
  task, form = argument.parse(arg, FORMS)
  size, _, variant = form.partition(',')
  if size == 'small':
    return small(task, variant or 'meft1')
  return published(task, form or 'meft1')


def published(task: str, variant: str) -> ml_collections.ConfigDict:
  """Returns the setting of the official script."""
  config = glue.get_config(task)
  config.data.update(
    max_length=512, buckets=(32, 64, 128, 256, 512), batch_size=16,
    train_limit=None,
  )  # fmt: skip
  config.model.stack = 'reversible'
  config.model.options = {'reversible': {'variant': variant}}
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


def small(task: str, variant: str) -> ml_collections.ConfigDict:
  """Returns MiniLM-L6's recipe: configs/glue.py's data, twice its epochs.

  Args:
    task: of GLUE.
    variant: of `VARIANTS`, or 'plain': as many ordinary adapters of the same
      size (Houlsby's) in a plain stack.
  """
  plain = variant == 'plain'
  config = published(task, 'meft1' if plain else variant)
  glue_config = glue.get_config(task)
  config.data = glue_config.data
  config.train = glue_config.train
  config.train.epochs *= 2
  config.seeds = glue_config.seeds
  if plain:
    config.model.stack = 'plain'
    config.model.options = {}
    adapters = dict(size=8, activation='gelu', init_range=0.02)
    config.methods = (('houlsby', adapters),)
  return config
