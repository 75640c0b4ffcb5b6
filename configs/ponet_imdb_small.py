"""PoNet on long texts at a size for two cores: IMDB reviews, from scratch.

Command:  python -m launch.train --config=configs/ponet_imdb_small.py:2048
            --config.data.data_dir=IMDB --workdir=runs/ponet_imdb_small
The argument is the longest sequence (256 to 2048); data as in
configs/ponet_imdb.py, 8,000 reviews to learn from. Two blocks of width 128, an
own vocabulary of 8,000, no pre-training.
Measured: test accuracy 0.862, with 256 tokens 0.836 (one seed).
"""

import ml_collections

from configs import ponet_imdb


def get_config(length: str = '2048') -> ml_collections.ConfigDict:
  """Returns the recipe for sequences of up to `length` tokens."""
  config = ponet_imdb.get_config(length)
  config.data.update(
    tokenizer='train', vocab_size=8000, train_limit=8000, batch_size=16
  )
  config.model = dict(
    name='ponet',
    preset='tiny',
    hidden_size=128,
    intermediate_size=512,
    num_heads=2,
    max_positions=int(length),
  )
  config.optimizer.lr = 3e-4
  config.train.epochs = 3
  return config
