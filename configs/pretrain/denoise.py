"""Denoising text with an encoder-decoder, then fine-tuning: BART and T5.

BART fills in spans of words and puts sentences back in order (Lewis et al.
2020, arXiv 1910.13461); with t5, T5 1.1 writes the spans that were left out
(Raffel et al. 2020, arXiv 1910.10683). Both in miniature: two layers of width
64 in each stack.

Command:  python -m launch.train --config=configs/pretrain/denoise.py:rte
            --workdir=runs/bart
          python -m launch.train --config=configs/pretrain/denoise.py:rte,t5
            --workdir=runs/t5
GLUE_JAX_CORPUS names a folder with train/ and valid/, each of plain text files
(.txt or .txt.gz); the task's data as in configs/glue.py.

Hardware: 2 CPU cores.
Time:     four minutes for 600 steps of t5, beside other work.
Expected: depends on the corpus.
Measured: BART's form: not run. T5's, cut to 600 steps on eight English novels
          (2.2 MB packed): loss of a held-out one 6.28 after 200 steps, 5.55
          after 400, 5.45 after 600.
"""

import os

import ml_collections

from configs import argument, glue

FORMS = {'': None, 't5': None}
_VOCABULARY = 8000
# Rows of 128 tokens leave out 19 of them in 6 spans.
_SENTINELS = 8
_RECIPES = {
  '': dict(
    model=dict(name='bart', preset='tiny'),
    objective=dict(name='infill', permute=True),
  ),
  't5': dict(
    model=dict(
      name='t5', preset='tiny', vocab_size=_VOCABULARY + _SENTINELS
    ),
    objective=dict(name='span_corruption'),
  ),
}  # fmt: skip


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Two stages: a model is pre-trained on a corpus, then tuned on a task."""
  task, form = argument.parse(arg, FORMS)
  corpus = os.environ.get('GLUE_JAX_CORPUS', '')
  tuned = glue.get_config(task).to_dict()
  pretrain = dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(
      files=dict(train=f'{corpus}/train', validation=f'{corpus}/valid'),
      tokenizer='train',
      vocab_size=_VOCABULARY,
      max_length=128,
      buckets=(128,),
      batch_size=32,
      eval_batch_size=32,
    ),
    optimizer=dict(lr=2e-3, warmup=0.1, clip_norm=1.0),
    train=dict(steps=2000, eval_every=500),
    seeds=(0,),
    **_RECIPES[form],
  )
  tuned['model'] = dict(weights='stage:pretrain', stack='as_read')
  tuned['data']['tokenizer'] = 'stage:pretrain'
  tuned['seeds'] = (0,)
  return ml_collections.ConfigDict(
    dict(stages=(('pretrain', pretrain), ('finetune', tuned)))
  )
