"""SimCSE's sentence vectors as published (Gao et al. 2021).

Command:  python -m launch.train --config=configs/pretrain/simcse.py:texts
            --workdir=runs/simcse
texts,supervised is the supervised form. GLUE_JAX_CORPUS names a folder with
train/ and valid/ of text files, a row a line: one sentence (published: a
million of Wikipedia), or, supervised, premise, entailed and contradicting
hypothesis between tabs (published: 276,000 of SNLI and MNLI). GLUE_JAX_WEIGHTS
is a Hugging Face folder of BERT, or a name of the hub.

Published setting (arXiv 2104.08821, appendix A, BERT-base): temperature 0.05,
length 32, linear decay without warm-up. One sentence: batch 64, 3e-5, one
epoch. Supervised: batch 512, 5e-5, 3 epochs. The authors choose the checkpoint
by STS-B, here the last one is kept.
Hardware: one 24 GB GPU.
Time:     not known.
Expected: mean of seven STS tasks 76.25, supervised 81.57.
Measured: not run.
"""

import os

import ml_collections

from configs import argument
from configs.pretrain import bert

FORMS = {'': ('texts',), 'supervised': ('texts',)}
# Form -> batch, rate, epochs.
PUBLISHED = {'': (64, 3e-5, 1), 'supervised': (512, 5e-5, 3)}


def get_config(arg: str = 'texts') -> ml_collections.ConfigDict:
  """One stage: an encoder whose vectors are comparable."""
  name, form = argument.parse(arg, FORMS, 'name')
  batch, lr, epochs = PUBLISHED[form]
  return ml_collections.ConfigDict(
    dict(
      task=dict(name=name, kind='sentences'),
      data=bert.texts(batch_size=batch, max_length=32, tokenizer=''),
      model=dict(weights=os.environ.get('GLUE_JAX_WEIGHTS', '')),
      objective=dict(name='simcse', temperature=0.05),
      optimizer=dict(lr=lr, warmup=0, weight_decay=0.0, clip_norm=1.0),
      train=dict(epochs=epochs, eval_every=250),
      seeds=(0,),
    )
  )
