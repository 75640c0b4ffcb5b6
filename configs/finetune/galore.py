"""GaLore (arXiv 2403.03507) and Natural GaLore (arXiv 2410.16029) on GLUE.

Command:  python -m launch.train --config=configs/finetune/galore.py:mrpc
            --workdir=runs/galore_mrpc
The argument is a task, or task_natural:
configs/finetune/galore.py:mrpc_natural. Data as in configs/glue.py;
GLUE_JAX_WEIGHTS names a Hugging Face folder of roberta-base. Meant for one
accelerator.

Setting of the MRPC command in both READMEs: all linear layers of the blocks at
rank 4, scale 4, refresh every 500 steps, lr 3e-5, batch 16, 30 epochs, length
512; no clipping, so that each gradient can be freed once it is projected. The
paper of Natural GaLore says batch 32, 3 epochs, lr 1e-5 .. 3e-5: task_natural
takes that, with both sides projected as in its code. Warm-up 0 and weight decay
0 are those of the script's defaults, not confirmed.

Expected (RoBERTa-base; CoLA, STS-B, MRPC, RTE, SST-2, MNLI, QNLI, QQP, mean):
  full         62.24 90.92 91.30 79.42 94.57 87.18 92.33 92.28  86.28
  natural r=4  61.50 90.80 92.10 79.50 94.20 87.05 92.30 91.15  86.05
  GaLore r=4   60.35 90.73 92.25 79.42 94.04 87.00 92.24 91.06  85.89
  LoRA r=4     61.38 90.57 91.07 78.70 92.89 86.82 92.18 91.29  85.61
  natural r=8  61.70 90.90 92.25 79.80 94.40 87.20 92.35 91.25  86.23
  GaLore r=8   60.06 90.82 92.01 79.78 94.38 87.17 92.20 91.11  85.94
  LoRA r=8     61.83 90.80 91.90 79.06 93.46 86.94 92.25 91.22  85.93
Measured: not run at this scale; configs/galore_minilm_glue.py runs here.
"""

import ml_collections

from configs import glue


def get_config(arg: str = 'mrpc') -> ml_collections.ConfigDict:
  """Returns the recipe for 'task' or 'task_natural'."""
  task, _, kind = arg.partition('_')
  config = glue.get_config(task)
  config.data.update(
    max_length=512,
    buckets=(32, 64, 96, 128, 192, 256, 384, 512),
    batch_size=32 if kind else 16,
    train_limit=None,
  )
  config.optimizer = optimizer(
    kind, lr=3e-5, rank=4, scale=4.0, update_proj_gap=500
  )
  config.train.epochs = 3 if kind else 30
  return config


def optimizer(kind: str, lr: float, **args: object) -> dict[str, object]:
  """Returns the config's section.

  Args:
    kind: '' or 'natural'.
    lr: peak, falls linearly to 0.
    **args: of `glue_jax.optim.galore.scale_by_galore`.

  Raises:
    ValueError: another kind.
  """
  names = {'': 'galore', 'natural': 'natural_galore'}
  if kind not in names:
    raise ValueError(f'kind {kind!r}: expected one of {sorted(names)}')
  return dict(
    name=names[kind], lr=lr, warmup=0.0, weight_decay=0.0, clip_norm=None,
    args=args,
  )  # fmt: skip
