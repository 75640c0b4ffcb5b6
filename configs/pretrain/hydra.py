"""Hydra (Hwang et al. 2024, arXiv 2407.09941): masked language modelling.

Command:  python -m launch.train --config=configs/pretrain/hydra.py:base
            --workdir=runs/hydra_mlm
The argument is a size, base or mini. GLUE_JAX_CORPUS names a folder with train/
and valid/, each of plain text files (.txt or .txt.gz); for `base` C4 in that
form. GLUE_JAX_TOKENIZER names a folder with the uncased BERT vocabulary;
without it one is trained on the corpus.

base: the published setting: 23 layers of width 768 (112 M parameters), length
128, 30 % of the tokens masked in training (15 % in evaluation there; here the
same share in both), AdamW 0.9/0.98 with eps 1e-6, weight decay 1e-5 of a step
at the peak rate, clipping at 1, warm-up over 6 %, linear decay to 0.02 of the
peak, seed 17, bfloat16, 286,720,048 samples. The released rate and batch are
leftovers of a check; 8e-4 and 4096 (70,000 steps) are our assumption, not
confirmed.
mini (without an argument): the same recipe for one small machine: 8 layers of
width 256, batch 32, 2,000 steps. Smaller still: --config.model.preset=tiny
--config.train.steps=200, or configs/pretrain/mixers_small.py:hydra.
Hardware: base: a pod; mini: 2 CPU cores.
Time:     not known.
Expected: base: GLUE 84.3 on average after fine-tuning (configs/finetune/
          hydra.py; a third party's summary), 0.8 above BERT trained alike (the
          abstract); the pre-training loss isn't published.
Measured: base, mini: not run.
Records:  hydra-mlm-tiny
"""

import os

import ml_collections

from configs import argument

FORMS = {'': ('mini', 'base')}


def get_config(size: str = 'mini') -> ml_collections.ConfigDict:
  """Returns the published setting ('base') or a small one ('mini')."""
  corpus = os.environ.get('GLUE_JAX_CORPUS', '')
  size, _ = argument.parse(size, FORMS, 'size')
  base = size == 'base'
  lr = 8e-4 if base else 1e-3
  batch = 4096 if base else 32
  # 30522 rows are filled up to 30528, a multiple of 64.
  published = dict(dtype='bfloat16', vocab_size=30528, remat=True)
  return ml_collections.ConfigDict(
    dict(
      task=dict(name='corpus', kind='language_modeling'),
      data=dict(
        files=dict(train=f'{corpus}/train', validation=f'{corpus}/valid'),
        tokenizer=os.environ.get('GLUE_JAX_TOKENIZER') or 'train',
        vocab_size=30522 if base else 8000,
        max_length=128,
        buckets=(128,),
        batch_size=batch,
        eval_batch_size=batch,
      ),
      model=dict(name='hydra', preset=size, **(published if base else {})),
      objective=dict(name='mlm', rate=0.3, whole_word=False),
      optimizer=dict(
        lr=lr,
        warmup=0.06,
        final=0.02,
        # The release multiplies by the share of the peak rate, we by the rate.
        weight_decay=1e-5 / lr,
        clip_norm=1.0,
        args=dict(b1=0.9, b2=0.98, eps=1e-6),
      ),
      train=dict(
        steps=70_000 if base else 2000, eval_every=2000 if base else 500
      ),
      seeds=(17,),
    )
  )
