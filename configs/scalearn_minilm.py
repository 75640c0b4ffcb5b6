"""ScaLearn (arXiv 2310.01217) at MiniLM-L6's size, on a laptop.

Command:  python -m launch.transfer --recipe=configs/scalearn_minilm.py
            --workdir=runs/scalearn
or, without the table of forms,
          python -m launch.train --config=configs/scalearn_minilm.py
            --workdir=runs/scalearn
DIR with glue/ and superglue/ comes from GLUE_JAX_DATA, the weights (a folder of
all-MiniLM-L6-v2) from GLUE_JAX_WEIGHTS.

Eight sources with up to 8,000 rows, three targets with 500 (CB: its 250), few
epochs, the last checkpoint, scored on the validation split. Where the official
training split is not in DIR (QNLI, BoolQ), 7 of 10 validation rows are trained
on instead and the others scored; MNLI and QQP name their files. ScaLearn's rate
is the paper's; those of adapters and of AdapterFusion (5e-5 there) are higher,
as there are few steps, and not tuned; warming up is ours.
Measured, three seeds: README.
"""

import os

import ml_collections

from glue_jax.studies import transfer

SOURCES = ('mnli', 'qqp', 'qnli', 'sst2', 'boolq', 'mrpc', 'rte', 'cb')
TARGETS = ('rte', 'mrpc', 'cb')
SEEDS = (0, 1, 2)
RATES = {'adapter': 3e-3, 'fusion': 5e-4}
EPOCHS = {'mnli': 1, 'qqp': 1, 'sst2': 1, 'qnli': 2, 'boolq': 2, 'cb': 6}
_DRAWN = {'train': {'from': 'validation', 'fraction': 0.7, 'seed': 0}}
TASKS = {
  'mnli': dict(eval_splits=('validation_matched',)),
  'qnli': dict(cuts=_DRAWN),
  'boolq': dict(cuts=_DRAWN),
}
FILES = {
  'mnli': dict(train='train_10k_noperiods.jsonl.gz'),
  'qqp': dict(train='train_18k.tsv.gz', validation='dev_5k.tsv'),
}


def recipe(task: str, form: str) -> dict:
  """Returns the config of one run of `transfer.plan`."""
  weights = os.environ.get('GLUE_JAX_WEIGHTS', '')
  return dict(
    task=dict(name=task, **TASKS.get(task, {})),
    data=dict(
      data_dir=os.environ.get('GLUE_JAX_DATA', ''),
      files=FILES.get(task),
      tokenizer=weights,
      max_length=128,
      batch_size=16,
      eval_batch_size=64,
      buckets=(64, 128),
      train_limit=500 if task in TARGETS else 8000,
      eval_limit=None if task in TARGETS else 200,
      cache_dir='~/.cache/glue_jax/examples',
    ),
    # A sentence's class is read off the first token.
    model=dict(weights=weights, stack='first_token'),
    optimizer=dict(
      lr=RATES.get(form, 6e-3), warmup=0.1, weight_decay=0.0, clip_norm=1.0
    ),
    train=dict(epochs=EPOCHS.get(task, 3)),
  )


def get_config() -> ml_collections.ConfigDict:
  """Returns all runs."""
  return transfer.plan(recipe, SOURCES, TARGETS, seeds=SEEDS)
