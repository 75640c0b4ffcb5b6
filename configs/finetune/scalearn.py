"""ScaLearn (Frohmann et al. 2023, arXiv 2310.01217) on GLUE or SuperGLUE.

Command:  python -m launch.train --config=configs/finetune/scalearn.py:superglue
            --workdir=runs/scalearn
or, for some of it and with one table at the end,
          python -m launch.study transfer
            --recipe=configs/finetune/scalearn.py:superglue
            --workdir=runs/scalearn
The argument is glue, superglue or small. DIR with glue/ and superglue/ comes
from GLUE_JAX_DATA, the weights, a folder with roberta-base and its tokenizer,
from GLUE_JAX_WEIGHTS.

The published setting, as the official scripts have it: RoBERTa-base, an adapter
a task (reduction 16), then each form on every task with all n = 8 adapters;
AdamW without decay, linear decay without warm-up, batch 32, 30 epochs, the best
by a tenth of the training rows, which is the score shown; the published one is
of the validation split, as `launch.evaluate --split=validation` gives it for
each run. Seeds 0 to 9; 0 to 2 for the large tasks, which is what stands here.
Not as there: the tenth is drawn without strata, patience goes by the loss.

small: all-MiniLM-L6-v2 on a laptop. Eight sources with up to 8,000 rows, three
targets with 500 (CB: its 250), few epochs, the last checkpoint, scored on the
validation split. Where the official training split is not in DIR (QNLI, BoolQ),
7 of 10 validation rows are trained on instead and the others scored; MNLI and
QQP name their files. ScaLearn's rate is the paper's; those of adapters and of
AdapterFusion (5e-5 there) are higher, as there are few steps, and not tuned;
warming up is ours.

Hardware: one accelerator; small: one CPU core.
Time:     small: 90 minutes.
Expected: averages (validation; GLUE, SuperGLUE): adapter 83.83, 73.19;
          AdapterFusion 85.01, 73.60; ScaLearn 85.36, 75.55; Uniform 85.02,
          74.20; ++ 85.35, 75.74; Uniform++ 85.14, 74.93.
Measured: not run at this scale.
Records:  scalearn-small
"""

import os

import ml_collections

from configs import argument
from glue_jax.studies import transfer

GLUE = ('mnli', 'qqp', 'qnli', 'sst2', 'stsb', 'mrpc', 'rte', 'cola')
SUPERGLUE = (
  'record', 'multirc', 'boolq', 'wic', 'wsc', 'copa', 'cb', 'superglue_rte',
)  # fmt: skip
SEEDS = (0, 1, 2)
# Learning rate and patience by form; all others are ScaLearn's.
RATES = {'adapter': (3e-4, 5), 'fusion': (5e-5, 5)}

SMALL_SOURCES = ('mnli', 'qqp', 'qnli', 'sst2', 'boolq', 'mrpc', 'rte', 'cb')
SMALL_TARGETS = ('rte', 'mrpc', 'cb')
SMALL_RATES = {'adapter': 3e-3, 'fusion': 5e-4}
SMALL_EPOCHS = {'mnli': 1, 'qqp': 1, 'sst2': 1, 'qnli': 2, 'boolq': 2, 'cb': 6}
_DRAWN = {'train': {'from': 'validation', 'fraction': 0.7, 'seed': 0}}
SMALL_TASKS = {
  'mnli': dict(eval_splits=('validation_matched',)),
  'qnli': dict(cuts=_DRAWN),
  'boolq': dict(cuts=_DRAWN),
}
SMALL_FILES = {
  'mnli': dict(train='train_10k_noperiods.jsonl.gz'),
  'qqp': dict(train='train_18k.tsv.gz', validation='dev_5k.tsv'),
}

FORMS = {'': ('glue', 'superglue', 'small')}


def get_config(arg: str = 'glue') -> ml_collections.ConfigDict:
  """Returns all runs on 'glue' or 'superglue', or the 'small' ones."""
  return study(arg).plan()


def study(arg: str = 'glue') -> transfer.Study:
  """What `launch.study transfer` runs for an argument of `get_config`."""
  name, _ = argument.parse(arg, FORMS, 'benchmark')
  if name == 'small':
    return transfer.Study(small, SMALL_SOURCES, SMALL_TARGETS, SEEDS)
  tasks = GLUE if name == 'glue' else SUPERGLUE
  return transfer.Study(published, tasks, tasks, SEEDS)


def published(task: str, form: str) -> dict:
  """Returns the published config of one run of `transfer.plan`."""
  weights = os.environ.get('GLUE_JAX_WEIGHTS', '')
  rate, patience = RATES.get(form, (6e-3, 30))
  short = task == 'record' and form != 'adapter'
  return dict(
    task=dict(
      name=task,
      cuts={'dev': {'from': 'train', 'fraction': 0.1, 'seed': 42}},
      eval_splits=('dev',),
    ),
    data=dict(
      data_dir=os.environ.get('GLUE_JAX_DATA', ''),
      tokenizer='',  # that of the weights
      max_length=324 if task == 'multirc' else 128,
      batch_size=32,
      eval_batch_size=64,
      buckets=(32, 64, 96, 128, 192, 256),
    ),
    model=dict(weights=weights),
    optimizer=dict(lr=rate, warmup=0.0, weight_decay=0.0),
    train=dict(epochs=3 if short else 30, patience=patience, select='best'),
  )


def small(task: str, form: str) -> dict:
  """Returns MiniLM-L6's config of one run of `transfer.plan`."""
  weights = os.environ.get('GLUE_JAX_WEIGHTS', '')
  return dict(
    task=dict(name=task, **SMALL_TASKS.get(task, {})),
    data=dict(
      data_dir=os.environ.get('GLUE_JAX_DATA', ''),
      files=SMALL_FILES.get(task),
      tokenizer='',  # that of the weights
      max_length=128,
      batch_size=16,
      eval_batch_size=64,
      buckets=(64, 128),
      train_limit=500 if task in SMALL_TARGETS else 8000,
      eval_limit=None if task in SMALL_TARGETS else 200,
      cache_dir='~/.cache/glue_jax/examples',
    ),
    # A sentence's class is read off the first token.
    model=dict(weights=weights, stack='first_token'),
    optimizer=dict(
      lr=SMALL_RATES.get(form, 6e-3),
      warmup=0.1,
      weight_decay=0.0,
      clip_norm=1.0,
    ),
    train=dict(epochs=SMALL_EPOCHS.get(task, 3)),
  )
