"""GaLore (arXiv 2403.03507) and Natural GaLore (arXiv 2410.16029) on GLUE.

Command:  python -m launch.train --config=configs/finetune/galore.py:mrpc
            --workdir=runs/galore_mrpc
The argument is a task, and a form after a comma: mrpc,natural, mrpc,small or
mrpc,small,natural. Data as in configs/glue.py.

mrpc: roberta-base (GLUE_JAX_WEIGHTS) by the MRPC command in both READMEs: all
linear layers of the blocks at rank 4, scale 4, refresh every 500 steps, lr
3e-5, batch 16, 30 epochs, length 512; no clipping, so that each gradient can be
freed once it is projected. The paper of Natural GaLore says batch 32, 3 epochs,
lr 1e-5 .. 3e-5: mrpc,natural takes that, with both sides projected as in its
code. Warm-up 0 and weight decay 0 are those of the script's defaults, not
confirmed.
mrpc,small: MiniLM-L6 with the epochs and batches of configs/glue.py, rank 8 of
384; a refresh every 50 steps, as a run has a few hundred. The rate is twice
that of configs/glue.py's AdamW, not tuned.
Hardware: one accelerator; small: 2 CPU cores.
Time:     small: minutes a seed.
Expected: RoBERTa-base, CoLA, STS-B, MRPC, RTE, SST-2, MNLI, QNLI, QQP, mean:
  full         62.24 90.92 91.30 79.42 94.57 87.18 92.33 92.28  86.28
  natural r=4  61.50 90.80 92.10 79.50 94.20 87.05 92.30 91.15  86.05
  GaLore r=4   60.35 90.73 92.25 79.42 94.04 87.00 92.24 91.06  85.89
  LoRA r=4     61.38 90.57 91.07 78.70 92.89 86.82 92.18 91.29  85.61
  natural r=8  61.70 90.90 92.25 79.80 94.40 87.20 92.35 91.25  86.23
  GaLore r=8   60.06 90.82 92.01 79.78 94.38 87.17 92.20 91.11  85.94
  LoRA r=8     61.83 90.80 91.90 79.06 93.46 86.94 92.25 91.22  85.93
Measured: roberta-base: not run.
Records:  galore-sst2-small, galore-sst2-small-natural, galore-memory,
          galore-time
"""

import ml_collections

from configs import argument, glue

FORMS = dict.fromkeys(('', 'natural', 'small', 'small,natural'))


def get_config(arg: str = 'mrpc') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' with any of `FORMS`."""
  task, form = argument.parse(arg, FORMS)
  natural = 'natural' in form
  config = glue.get_config(task)
  if 'small' in form:
    config.optimizer = optimizer(
      natural, lr=1e-4, rank=8, scale=1.0, update_proj_gap=50
    )
    return config
  config.data.update(
    max_length=512,
    buckets=(32, 64, 96, 128, 192, 256, 384, 512),
    batch_size=32 if natural else 16,
    train_limit=None,
  )
  config.optimizer = optimizer(
    natural, lr=3e-5, rank=4, scale=4.0, update_proj_gap=500
  )
  config.train.epochs = 3 if natural else 30
  return config


def optimizer(natural: bool, lr: float, **args: object) -> dict[str, object]:
  """Returns the config's section.

  Args:
    natural: Natural GaLore.
    lr: peak, falls linearly to 0.
    **args: of `glue_jax.optim.galore.scale_by_galore`.
  """
  return dict(
    name='natural_galore' if natural else 'galore',
    lr=lr,
    warmup=0.0,
    weight_decay=0.0,
    clip_norm=None,
    args=args,
  )
