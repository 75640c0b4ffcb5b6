"""BERT with a decoder of pre-training, then fine-tuning (Liang, Liang 2024).

Command:  python -m launch.train --config=configs/pretrain/drbert.py:rte
            --workdir=runs/drbert
rte,gua is the decoder with gradual unmasking, rte,plain one without it; neither
mixes outputs. rte,bert has no decoder. Corpus, tokenizer and data as in
configs/pretrain/bert.py.

Published setting (arXiv 2401.15861): BERT base with several blocks more while
it is pre-trained, gradual unmasking and random outputs. Their numbers, and the
paper's steps, batch and rate, are not confirmed: two blocks, half of the chosen
tokens seen by the first, half of the outputs the encoder's; the rest is BERT's
with 256 rows of length 512 and without sentence pairs.
Hardware: not stated.
Time:     not stated.
Expected: above BERT on GLUE and SQuAD, as the abstract has it, at the same cost
          of tuning; no figure is confirmed.
Measured: not run.
"""

import ml_collections

from configs import argument
from configs.pretrain import bert

# Form -> the objective beside BERT's masks.
OBJECTIVES = {
  '': dict(name='mlm_decoder', layers=2, first_visible=0.5, mix=0.5),
  'gua': dict(name='mlm_decoder', layers=2, first_visible=0.5, mix=0.0),
  'plain': dict(name='mlm_decoder', layers=2, first_visible=1.0, mix=0.0),
  'bert': dict(name='mlm'),
}
FORMS = dict.fromkeys(OBJECTIVES)


def get_config(arg: str = 'rte') -> ml_collections.ConfigDict:
  """Two stages: masked words, tuned on a task without the decoder."""
  task, form = argument.parse(arg, FORMS)
  pretrain = dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=bert.texts(batch_size=256, max_length=512),
    model=dict(name='bert', preset='base', dtype='bfloat16'),
    objective=dict(OBJECTIVES[form], rate=0.15, whole_word=False),
    optimizer=dict(
      name='adamw',
      lr=bert.RATE,
      warmup=bert.WARMUP,
      weight_decay=0.01,
      clip_norm=1.0,
    ),
    train=dict(steps=bert.STEPS, eval_every=10_000),
    seeds=(0,),
  )
  return bert.then_tuned(task, pretrain=pretrain)
