"""LEPISZCZE: 13 Polish tasks, a search for each, then five retrainings.

Augustyniak et al. 2022, arXiv 2211.13112 (NeurIPS Datasets and Benchmarks).

Command:  python -m launch.sweep --config=configs/suites/lepiszcze.py:polemo2
            --config.data.data_dir=DIR --config.model.weights=WEIGHTS
            --sampler=tpe --trials=100 --retrain=5 --workdir=runs/polemo2
One run:  python -m launch.train --config=configs/suites/lepiszcze.py:polemo2
            --workdir=runs/one
The argument is a task, and `small` after a comma.

polemo2: DIR holds a folder for each task (polemo2/train.tsv ...), by the names
of glue_jax/data/tasks/lepiszcze.py, which also gives the hub names; WEIGHTS is
a Hugging Face folder of one of MODELS with its tokenizer. Both may come from
GLUE_JAX_DATA and GLUE_JAX_WEIGHTS. Where SPACE and the official one differ: the
warm-up is also applied with the constant schedule; Adam's decay is part of the
gradient, as in PyTorch. A trial reports after each epoch, of which there are 20
at most, so a pruner with 25 warm-up steps never prunes; the official code
declares it so too. Give --pruner_warmup=1 to prune.
cdsc_e,small: the protocol with a small encoder, on Polish data that is free
(`--trials=6 --pruner_warmup=1 --retrain=3`). DIR holds CDS, WCCRS_HOTELS,
8TAGS, nkjp_ner and punctuation_poleval2021; WEIGHTS is the model folder of
configs/pretrain/polish.py. Where no official test part is free, the development
part is the test split here and a tenth of train (seed 441) the validation
split; of the larger sets TRAIN_LIMIT rows of train are used, where the
baselines (python -m launch.data baseline) learn from the whole.
Hardware: one accelerator; small: 2 CPU cores.
Time:     not known.
Expected: PUBLISHED.
Measured: not run: neither these encoders nor most of the data were at hand;
          small: its search was not run to its end.
Records:  lepiszcze-small-cdsc-e, lepiszcze-small-wccrs-hotels,
          lepiszcze-small-8tags, lepiszcze-small-nkjp-ner,
          lepiszcze-small-punctuation-restoration
"""

import os

import ml_collections

from configs import argument

MODELS = (
  'allegro/herbert-base-cased',
  'allegro/herbert-large-cased',
  'dkleczek/bert-base-polish-cased-v1',
  'dkleczek/bert-base-polish-uncased-v1',
  'sentence-transformers/paraphrase-xlm-r-multilingual-v1',
)

LAST_LAYERS = ','.join(
  f"(('last_layers',{{'count':{count}}}),)" for count in range(5)
)

# The published space, in the form of --random.
SPACE = (
  'optimizer.args.eps=choice:1e-8,1e-7,1e-6,1e-5,1e-4',
  'model.head_dropout=choice:0.0,0.1,0.2,0.3,0.4,0.5',
  f'methods=choice:{LAST_LAYERS}',
  'optimizer.lr=choice:1e-6,5e-6,1e-5,5e-5,1e-4,5e-4,1e-3,5e-3',
  'train.epochs=choice:2,3,5,10,15,20',
  'data.batch_size=choice:16,32,64',
  'optimizer.name=choice:adam,adamw',
  'optimizer.schedule=choice:linear,constant',
  'optimizer.warmup=choice:0,25,50,100,200',
  'optimizer.weight_decay=choice:0.0,0.1,0.01,0.001,0.0001',
)

# Macro-F1 x 100 on the test split, (mean, sample sd of five runs), for MODELS
# in their order; read from the published result files.
PUBLISHED = {
  'abusive_clauses': (
    (85.66, 0.58),
    (86.57, 0.91),
    (85.93, 0.66),
    (85.74, 0.86),
    (84.32, 0.71),
  ),
  'aspectemo': (
    (37.28, 0.71),
    (39.44, 1.74),
    (30.01, 0.58),
    (31.48, 1.06),
    (18.42, 0.98),
  ),
  'cdsc_e': (
    (90.96, 0.73),
    (90.48, 0.20),
    (88.95, 0.31),
    (90.62, 0.27),
    (82.62, 0.88),
  ),
  'dialogue_acts': (
    (49.54, 0.74),
    (51.11, 0.85),
    (50.20, 1.32),
    (48.87, 0.90),
    (49.05, 0.39),
  ),
  'dyk': (
    (82.39, 1.43),
    (79.58, 0.59),
    (75.87, 0.98),
    (74.41, 1.15),
    (58.93, 7.98),
  ),
  'kpwr_ner': (
    (54.22, 0.76),
    (52.68, 1.39),
    (48.01, 0.76),
    (40.21, 0.50),
    (36.13, 0.44),
  ),
  'nkjp_pos': (
    (94.59, 0.56),
    (96.14, 0.38),
    (94.34, 0.61),
    (94.54, 0.19),
    (90.29, 0.51),
  ),
  'polemo2': (
    (86.78, 0.79),
    (89.33, 0.49),
    (85.89, 1.25),
    (85.83, 0.47),
    (84.12, 0.47),
  ),
  'polemo2_in': (
    (88.10, 0.36),
    (88.34, 0.63),
    (85.32, 0.45),
    (85.71, 0.40),
    (83.75, 0.45),
  ),
  'polemo2_out': (
    (57.31, 2.93),
    (57.08, 2.03),
    (54.10, 3.82),
    (54.29, 1.83),
    (45.12, 3.40),
  ),
  'political_advertising': (
    (61.42, 1.38),
    (62.16, 0.14),
    (58.94, 1.92),
    (62.52, 1.23),
    (56.68, 0.94),
  ),
  'psc': (
    (97.90, 0.24),
    (98.33, 0.69),
    (98.95, 0.13),
    (98.87, 0.10),
    (58.85, 1.49),
  ),
  'punctuation_restoration': (
    (45.59, 0.38),
    (46.68, 0.61),
    (38.89, 0.91),
    (41.31, 0.59),
    (14.33, 1.94),
  ),
}


# The small form: its space, rows of train, and what differs by task.
SMALL_SPACE = (
  'optimizer.lr=choice:2e-4,5e-4,1e-3,2e-3',
  'train.epochs=choice:2,3,5',
  'model.head_dropout=choice:0.0,0.1,0.3',
  "methods=choice:(),(('last_layers',{'count':2}),)",
)
SMALL_TASKS = (
  'cdsc_e', 'wccrs_hotels', 'wccrs_medicine', '8tags', 'nkjp_ner',
  'punctuation_restoration',
)  # fmt: skip
TRAIN_LIMIT = 4_000
TEST_FILES = {'cdsc_e': 'CDS_trial.txt', 'nkjp_ner': 'dev.iob.gz'}
LENGTHS = {'punctuation_restoration': 512}
EPOCHS = {'punctuation_restoration': 5}

FORMS = {'': tuple(PUBLISHED), 'small': SMALL_TASKS}


def space(arg: str = 'polemo2') -> tuple[str, ...]:
  """Returns what `launch.sweep --sampler=tpe` searches for an argument."""
  _, form = argument.parse(arg, FORMS)
  return SMALL_SPACE if form else SPACE


def get_config(arg: str = 'polemo2') -> ml_collections.ConfigDict:
  """Returns the point from which the search of 'task' or 'task,small' starts.

  Args:
    arg: a key of `PUBLISHED`, or one of `SMALL_TASKS` and 'small'.
  """
  task, form = argument.parse(arg, FORMS)
  return small(task) if form else published(task)


def published(task: str) -> ml_collections.ConfigDict:
  """Returns the setting of the paper; `task` is a key of `PUBLISHED`."""
  weights = os.environ.get('GLUE_JAX_WEIGHTS', '')
  return ml_collections.ConfigDict(
    dict(
      task=dict(name=task),
      data=dict(
        data_dir=os.environ.get('GLUE_JAX_DATA', ''),
        tokenizer='',  # that of the weights
        max_length=512,
        batch_size=32,
        eval_batch_size=64,
        buckets=(32, 64, 128, 256, 512),
        cache_dir='~/.cache/glue_jax/examples',
      ),
      model=dict(weights=weights, head_dropout=0.1),
      # What HerBERT-large won with most often: 4 layers, 5e-5.
      methods=(('last_layers', dict(count=4)),),
      optimizer=dict(
        name='adamw',
        lr=5e-5,
        schedule='linear',
        warmup=25.0,
        weight_decay=0.01,
        args=dict(eps=1e-8),
      ),
      train=dict(epochs=10, patience=3, select='last'),
      seeds=(0,),
    )
  )


def small(task: str) -> ml_collections.ConfigDict:
  """Returns the same protocol for a small encoder; `task` of `SMALL_TASKS`."""
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
        tokenizer='',  # that of the weights
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
