"""Small corpora for the tests of data selection."""

import gzip
import random

from glue_jax.data.selection import corpus_files, pieces
from glue_jax.data.selection import run as runs


def sentences(words, count, seed):
  """Lines of 0 to 14 words."""
  rng = random.Random(seed)
  return [
    ' '.join(rng.choices(words, k=rng.randrange(15))) for _ in range(count)
  ]


def write_corpora(folder):
  """Three raw files of 60 lines, one of them packed, and two targets."""
  shared = ['the', ',', 'a', 'and', '.', 'over', 'at']
  sea = [*shared, 'sea', 'ship', 'wind', 'waves', 'sails', 'night']
  law = [*shared, 'court', 'judge', 'law', 'terms', 'deeds', 'noon']
  for i in range(3):
    lines = sentences(sea, 30, i) + sentences(law, 30, 10 + i)
    data = ''.join(line + '\n' for line in lines).encode()
    if i == 1:
      (folder / 'raw1.txt.gz').write_bytes(gzip.compress(data))
    else:
      (folder / f'raw{i}.txt').write_bytes(data)
  for i, words in enumerate((sea, law)):
    lines = sentences(words[4:], 12, 20 + i)
    (folder / f'target{i}.txt').write_text('\n'.join(lines) + '\n')
  return folder


def make_run(folder, **changes):
  """Thirty documents for two targets."""
  raw = [folder / name for name in ('raw0.txt', 'raw1.txt.gz', 'raw2.txt')]
  settings = dict(
    k=30,
    settings=pieces.Settings(buckets=499, min_length=4),
    laplace=0.1,
    seed=3,
  )
  return runs.Run(
    tuple(corpus_files.find(raw)),
    tuple(
      tuple(corpus_files.find([folder / f'target{i}.txt'])) for i in range(2)
    ),
    **(settings | changes),
  )
