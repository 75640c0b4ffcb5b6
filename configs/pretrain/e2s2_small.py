"""Summarise and understand: a small BART, with E2S2 and without.

BART of two and two layers of width 128, from scratch on novels, by E2S2 (arXiv
2205.14912) or, without it, by the same spans alone; then it writes (E2E NLG,
beams of 4, BLEU) and understands (SST-2, MRPC, RTE, CoLA). Both arms see the
same rows in the same order for the same number of steps; E2S2's cost twice as
much.

Command:  python -m launch.train --config=configs/pretrain/e2s2_small.py:with
            --workdir=runs/with
          python -m launch.train --config=configs/pretrain/e2s2_small.py:without
            --workdir=runs/without
GLUE_JAX_CORPUS names a folder with train/ and valid/ of text files;
GLUE_JAX_DATA one that holds e2e_nlg/ and the tasks' folders, as in
configs/glue.py. Started again, a command goes on where it was.

Hardware: 2 CPU cores.
Time:     see Measured.
Expected: the paper's gains are those of BART-large (configs/pretrain/e2s2.py);
          none is known at this size.
Measured: not run.
"""

import os

import ml_collections

from configs import argument, glue

FORMS = {'': ('with', 'without')}
_STEPS, _LENGTH = 1500, 64
_OBJECTIVES = {
  'with': dict(name='e2s2', rate=0.15),
  'without': dict(name='infill', rate=0.15),
}
# Epochs by task.
_TASKS = {'sst2': 1, 'mrpc': 4, 'rte': 4, 'cola': 3}


def get_config(arg: str = 'with') -> ml_collections.ConfigDict:
  """Six stages: pre-training, a task that is written, four that are read."""
  arm, _ = argument.parse(arg, FORMS, 'arm')
  corpus = os.environ.get('GLUE_JAX_CORPUS', '')
  pretrain = dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(
      files=dict(train=f'{corpus}/train', validation=f'{corpus}/valid'),
      tokenizer='train',
      vocab_size=4000,
      max_length=_LENGTH,
      buckets=(_LENGTH,),
      batch_size=32,
      eval_batch_size=64,
      eval_limit=2048,
    ),
    model=dict(
      name='bart',
      preset='tiny',
      hidden_size=128,
      intermediate_size=512,
      num_heads=4,
    ),
    objective=_OBJECTIVES[arm],
    optimizer=dict(lr=1e-3, warmup=0.1, clip_norm=1.0),
    train=dict(steps=_STEPS, eval_every=_STEPS // 3),
  )
  stages = {'pretrain': pretrain, 'write': _writing()}
  stages |= {task: _reading(task, epochs) for task, epochs in _TASKS.items()}
  for stage in stages.values():
    stage['seeds'] = (0, 1, 2)
  return ml_collections.ConfigDict(dict(stages=tuple(stages.items())))


def _writing():
  """A restaurant's data put into words."""
  return dict(
    task=dict(name='e2e_nlg'),
    data=dict(
      data_dir=os.environ.get('GLUE_JAX_DATA', ''),
      tokenizer='stage:pretrain',
      max_length=160,
      buckets=(96, 128, 160),
      batch_size=32,
      eval_batch_size=32,
    ),
    model=dict(weights='stage:pretrain'),
    objective=dict(name='generation', beams=4, max_new_tokens=64),
    optimizer=dict(lr=1e-3, warmup=0.1, clip_norm=1.0),
    train=dict(epochs=1),
  )


def _reading(task, epochs):
  """A class, read off the decoder's last state."""
  tuned = glue.get_config(task).to_dict()
  tuned['model'] = dict(weights='stage:pretrain', stack='as_read')
  tuned['data'] |= dict(tokenizer='stage:pretrain', cache_dir='')
  tuned['optimizer']['lr'] = 5e-4
  tuned['train'] = dict(epochs=epochs)
  return tuned
