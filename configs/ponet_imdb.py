"""PoNet on long texts: IMDB reviews (Tan et al. 2022, arXiv 2110.02442).

Command:  python -m launch.train --config=configs/ponet_imdb.py:2048
            --config.data.data_dir=IMDB --workdir=runs/ponet_imdb
The argument is the longest sequence. GLUE_JAX_WEIGHTS is a folder of a PoNet
whose position table is that long, with its tokenizer; IMDB has train.jsonl.gz
and test_10k.jsonl.gz with the columns text and label (1 = positive).

Published setting: length 4096, sentences as segments, batch 32, learning rate
{3e-5, 5e-5}, 10 epochs. Expected: per-task figures not confirmed. Measured: not
run at this scale; configs/ponet_imdb_small.py is the form that was.
"""

import os

import ml_collections


def get_config(length: str = '4096') -> ml_collections.ConfigDict:
  """Returns the recipe for sequences of up to `length` tokens."""
  longest = int(length)
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
        tokenizer=weights,
        segments='sentence',
        max_length=longest,
        buckets=tuple(n for n in (256, 512, 1024, 2048) if n < longest),
        batch_size=32,
        eval_batch_size=32,
      ),
      model=dict(weights=weights),
      optimizer=dict(lr=5e-5, warmup=0.1, weight_decay=0.01, clip_norm=1.0),
      train=dict(epochs=10),
      seeds=(0,),
    )
  )
