"""Self-evolution: a masked LM goes on with what it is unsure of.

Command:  python -m launch.train
            --config=configs/pretrain/self_evolution.py:corpus
            --config.data.hard_tokens=hard.npz --workdir=runs/evolved
after, once, with the same config,
          python -m launch.probe score-tokens
            --config=configs/pretrain/self_evolution.py:corpus
            --output=hard.npz
GLUE_JAX_CORPUS names a folder with train/ and valid/ of text files,
GLUE_JAX_WEIGHTS a Hugging Face folder of a masked LM, or a name of the hub.
The finished model is tuned as any other: --config.model.weights=runs/evolved.

Published setting (Zhong et al. 2023, arXiv 2305.15275, the released code, on
RoBERTa-base): tokens of a loss above 0.1, lambda 0.1, Adam 1e-5, epsilon 1e-6,
decay 0.01, no clipping, warm-up over 6,000 of 60,000 steps (2 epochs at most),
linear decay, length 512, 8 rows a device; how many devices isn't known, here
the batch is 64. The share of a row that is masked at most, 0.2, is ours.
corpus,vega: the same of an encoder of 6B parameters over 16 devices, as Vega v2
(arXiv 2212.01853): its layers, width, data and batch aren't known, see
configs/finetune/large.py. What the tasks are then tuned by:
configs/finetune/prompt_transfer.py.
corpus,small: one core, width 64, after a small masked LM of
configs/pretrain/mlm.py; what launch/miniatures/vega_v2.py runs.
Hardware: 8 accelerators; vega: 16 and more.
Time:     not known.
Expected: 1.43 to 2.12 points on average over ten tasks above a masked LM that
          is trained on as long; Vega v2: SuperGLUE test 91.3.
Measured: not run at this scale.
"""

import os

import ml_collections

from configs import argument
from configs.finetune import large
from configs.pretrain import bert

FORMS = dict.fromkeys(('', 'vega', 'small'), ('corpus',))


def get_config(arg: str = 'corpus') -> ml_collections.ConfigDict:
  """One stage: a masked LM trained on with its hard tokens."""
  name, form = argument.parse(arg, FORMS, 'name')
  weights = os.environ.get('GLUE_JAX_WEIGHTS', '')
  config = dict(
    task=dict(name=name, kind='language_modeling'),
    data=bert.texts(batch_size=64, max_length=512, tokenizer='')
    | dict(hard_tokens=''),
    model=dict(weights=weights, dtype='bfloat16'),
    objective=dict(name='self_evolution', smoothing=0.1, most=0.2),
    optimizer=dict(
      lr=1e-5,
      warmup=6000,
      weight_decay=0.01,
      clip_norm=None,
      args=dict(eps=1e-6),
    ),
    train=dict(steps=60_000, eval_every=5000),
    seeds=(0,),
  )
  if form == 'vega':
    config['mesh'] = dict(fsdp=16)
    config['model'] |= dict(remat=True)
    if not weights:
      config['model'] |= dict(large.SIZES['vega_6b'], weights=None)
      config['data']['tokenizer'] = 'train'
  if form == 'small':
    config['data'] |= dict(max_length=128, buckets=(128,), batch_size=32)
    config['model'] = dict(weights=weights, dtype='float32')
    config['optimizer'] |= dict(lr=5e-4, warmup=0)
    config['train'] = dict(steps=200, eval_every=100)
  return ml_collections.ConfigDict(config)
