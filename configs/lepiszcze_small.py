"""LEPISZCZE's protocol with a small encoder, on Polish data that is free.

Command:  python -m launch.train --config=configs/lepiszcze_small.py:cdsc_e
            --config.data.data_dir=DIR --config.model.weights=WEIGHTS
            --workdir=runs/cdsc_e
Search:   python -m launch.sweep --config=configs/lepiszcze_small.py:cdsc_e
            --sampler=tpe --trials=6 --pruner_warmup=1 --retrain=3
            --workdir=runs/cdsc_e_search
DIR (or GLUE_JAX_DATA) holds the folders CDS, WCCRS_HOTELS, 8TAGS, nkjp_ner and
punctuation_poleval2021; WEIGHTS (or GLUE_JAX_WEIGHTS) is the model folder of
configs/pretrain/polish.py.

Where no official test part is free, the development part is the test split
here and a tenth of train (seed 441) the validation split; of the larger sets
TRAIN_LIMIT rows of train are used.

Measured with 200 steps of configs/pretrain/polish.py (perplexity 1242: barely
more than a vocabulary) as WEIGHTS, '--config.seeds=(0,)' and, for time,
--config.train.eval_every=10000, for punctuation --config.train.epochs=3. Test
split, one seed; macro-F1, for tags micro-F1 / macro-F1. The baselines (python
-m launch.data baseline) learn from the whole of train, the encoder from
TRAIN_LIMIT rows:
                           encoder        majority  bag of words, own tag
  cdsc_e                   0.615          0.284     0.585
  wccrs_hotels             0.340          0.149     0.620
  8tags                    0.227          0.031     0.696
  nkjp_ner                 0.252 / 0.105  0 / 0     0.424 / 0.307
  punctuation_restoration  0.048 / 0.016  0 / 0     0.143 / 0.078
So an encoder this small and this little trained is above the baseline on
sentence pairs only. The search was not run to its end here.
"""

import os

import ml_collections

SPACE = (
  'optimizer.lr=choice:2e-4,5e-4,1e-3,2e-3',
  'train.epochs=choice:2,3,5',
  'model.head_dropout=choice:0.0,0.1,0.3',
  "methods=choice:(),(('last_layers',{'count':2}),)",
)

# Test split by task, training rows used, length, epochs.
TEST_FILES = {'cdsc_e': 'CDS_trial.txt', 'nkjp_ner': 'dev.iob.gz'}
TRAIN_LIMIT = 4_000
LENGTHS = {'punctuation_restoration': 512}
EPOCHS = {'punctuation_restoration': 5}


def get_config(task: str = 'cdsc_e') -> ml_collections.ConfigDict:
  """The recipe for a task.

  Args:
    task: cdsc_e, wccrs_hotels, wccrs_medicine, 8tags, nkjp_ner or
      punctuation_restoration.
  """
  weights = os.environ.get('GLUE_JAX_WEIGHTS', '')
  record: dict = dict(name=task)
  files = {}
  if task in TEST_FILES:
    files = dict(test=TEST_FILES[task])
    cut = {'from': 'train', 'fraction': 0.1, 'seed': 441}
    record |= dict(cuts=dict(validation=cut), test_splits=('test',))
  return ml_collections.ConfigDict(
    dict(
      task=record,
      data=dict(
        data_dir=os.environ.get('GLUE_JAX_DATA', ''),
        files=files,
        tokenizer=weights,
        max_length=LENGTHS.get(task, 96),
        batch_size=32 if task != 'punctuation_restoration' else 8,
        eval_batch_size=64,
        buckets=(16, 32, 48, 64, 96, 256, 384, 512),
        train_limit=TRAIN_LIMIT,
        eval_splits=('validation', 'test'),
        cache_dir='~/.cache/glue_jax/examples',
      ),
      model=dict(weights=weights, head_dropout=0.1),
      optimizer=dict(lr=1e-3, warmup=0.1, weight_decay=0.01),
      train=dict(epochs=EPOCHS.get(task, 3), patience=3),
      seeds=(0, 1, 2),
    )
  )
