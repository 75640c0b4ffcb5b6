"""PoNet on long texts: IMDB reviews (Tan et al. 2022, arXiv 2110.02442).

Command:  python -m launch.train --config=configs/finetune/ponet.py:imdb,small
            --config.data.data_dir=IMDB --workdir=runs/ponet_imdb
The argument is imdb, and the longest sequence after a comma: imdb,4096 is what
imdb is, imdb,small,2048 what imdb,small is. IMDB has train.jsonl.gz and
test_10k.jsonl.gz with the columns text and label (1 = positive).

imdb: a PoNet (GLUE_JAX_WEIGHTS, with its tokenizer) that was pre-trained at
length 512; its position table is repeated up to the longest sequence. As
published: sentences as segments, batch 32, learning rate {3e-5, 5e-5}, 10
epochs. configs/pretrain/ponet.py:imdb is both stages.
imdb,small: from scratch; two blocks of width 128, an own vocabulary of 8,000,
8,000 reviews to learn from, no pre-training.
Hardware: one accelerator; small: 2 CPU cores.
Time:     not known.
Expected: not confirmed.
Measured: pretrained: not run.
Records:  ponet-imdb-small-256, ponet-imdb-small-2048
"""

import os

import ml_collections

from configs import argument

LENGTHS = (256, 512, 1024, 2048, 4096)
PRETRAINED = 512
FORMS = dict.fromkeys(
  ('', *map(str, LENGTHS), 'small', *(f'small,{n}' for n in LENGTHS)),
  ('imdb',),
)


def get_config(arg: str = 'imdb') -> ml_collections.ConfigDict:
  """Returns the recipe for 'imdb', or 'imdb,length', 'imdb,small,length'."""
  _, form = argument.parse(arg, FORMS)
  size, _, length = form.partition(',')
  if size == 'small':
    return small(int(length or 2048))
  return published(int(form or 4096))


def published(longest: int) -> ml_collections.ConfigDict:
  """Returns the published setting, for sequences of up to `longest` tokens."""
  weights = os.environ.get('GLUE_JAX_WEIGHTS', '')
  return ml_collections.ConfigDict(
    dict(
      task=dict(
        name='imdb',
        kind='classification',
        columns=('text',),
        labels=('0', '1'),
        eval_splits=('test',),
        test_splits=(),
      ),
      data=dict(
        files=dict(train='train.jsonl.gz', test='test_10k.jsonl.gz'),
        tokenizer='',  # that of the weights
        segments='sentence',
        max_length=longest,
        buckets=tuple(n for n in (256, 512, 1024, 2048) if n < longest),
        batch_size=32,
        eval_batch_size=32,
      ),
      model=dict(
        weights=weights,
        grow_positions=longest if longest > PRETRAINED else None,
      ),
      optimizer=dict(lr=5e-5, warmup=0.1, weight_decay=0.01, clip_norm=1.0),
      train=dict(epochs=10),
      seeds=(0,),
    )
  )


def small(longest: int) -> ml_collections.ConfigDict:
  """Returns a size for two cores: from scratch, with an own vocabulary."""
  config = published(longest)
  config.data.update(
    tokenizer='train', vocab_size=8000, train_limit=8000, batch_size=16
  )
  config.model = dict(
    name='ponet',
    preset='tiny',
    hidden_size=128,
    intermediate_size=512,
    num_heads=2,
    max_positions=longest,
  )
  config.optimizer.lr = 3e-4
  config.train.epochs = 3
  return config
