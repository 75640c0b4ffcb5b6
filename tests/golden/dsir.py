"""Golden vectors of data selection from the authors' package.

Beside a file lie its texts: raw.txt, target.txt, and target2.txt, ... where it
has several targets; beside hash buckets lies hash_keys.txt. Settings come from
the arrays.
"""

from pathlib import Path
from typing import Any

import numpy as np

from glue_jax.data.selection import dsir

EXACT = (0.0, 0.0)
VALUE = (0.0, 1e-10)
INPUTS = {'ngrams', 'num_buckets', 'min_example_length', 'laplace'}
INPUTS |= {'num_to_sample'}

Rows = list[tuple[str, Any, Any, float, float]]


def compare(arrays: dict[str, np.ndarray], folder: Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  if 'log_importance' in arrays:
    found = _selection(arrays, folder)
  elif any(name[0] == 'b' and name[1:].isdigit() for name in arrays):
    keys = _lines(folder / 'hash_keys.txt')
    found = {
      name: ([dsir.bucket(key, int(name[1:])) for key in keys], EXACT)
      for name in arrays
    }
  else:
    raise ValueError(f'neither selection nor buckets: {sorted(arrays)}')
  rest = {n for n in arrays if n not in INPUTS and not n.startswith('gumbel_')}
  if rest != set(found):
    raise ValueError(
      f'nothing compares {sorted(rest - set(found))}; '
      f'missing {sorted(set(found) - rest)}'
    )
  return [
    (name, ours, _theirs(name, arrays), *tolerance)
    for name, (ours, tolerance) in found.items()
  ]


def _theirs(name: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
  # Sets; their order is not part of the result.
  return np.sort(arrays[name]) if name.endswith('_indices') else arrays[name]


def _selection(a: dict[str, np.ndarray], folder: Path) -> dict[str, tuple]:
  n, buckets = int(a['ngrams']), int(a['num_buckets'])
  separate = a['log_importance'].ndim == 2
  names = ['target.txt']
  if separate:
    count = a['log_importance'].shape[1]
    names += [f'target{i}.txt' for i in range(2, count + 1)]
  hasher = dsir.Hasher(n, buckets)
  ids, sizes = hasher(_lines(folder / 'raw.txt'))
  targets = np.stack(
    [
      dsir.bucket_counts(hasher(_lines(folder / name))[0], buckets)
      for name in names
    ]
  )
  q = dsir.probabilities(dsir.bucket_counts(ids, buckets))
  p = dsir.probabilities(targets, float(a['laplace']))
  log_diff = dsir.log_ratio(p, q)
  weights = dsir.log_weights(ids, sizes, log_diff)
  lengths = dsir.token_counts(sizes, n)
  shares = targets.sum(1) / targets.sum()
  counts = dsir.split_k(int(a['num_to_sample']), shares)
  valid = lengths >= int(a['min_example_length'])
  drawn = dsir.select(weights, valid, counts, _noise(a))
  top = dsir.select(weights, valid, counts, None)
  bare = (lambda x: x) if separate else (lambda x: x[..., 0])
  row = np.repeat(np.arange(len(sizes)), sizes)
  cells, count = np.unique(row * buckets + ids, return_counts=True)
  found = {
    'feature_row': (cells // buckets, EXACT),
    'feature_bucket': (cells % buckets, EXACT),
    'feature_count': (count, EXACT),
    'log_importance': (bare(weights), VALUE),
    'length': (lengths, EXACT),
    'raw_probs': (q, VALUE),
    'target_probs': (bare(p.T).T, VALUE),
    'log_diff': (bare(log_diff.T).T, VALUE),
    'sampled_indices': (np.flatnonzero(drawn), EXACT),
    'topk_indices': (np.flatnonzero(top), EXACT),
  }
  if 'target_proportions' in a:
    found['target_proportions'] = (shares, VALUE)
  return found


def _noise(a: dict[str, np.ndarray]) -> dsir.Noise:
  """The file's own noise, in the order in which it was drawn."""
  used: dict[int, int] = {}

  def noise(target: int, ids: np.ndarray) -> np.ndarray:
    start = used.get(target, 0)
    used[target] = start + len(ids)
    values = a[f'gumbel_{target}']
    if used[target] > len(values):
      raise ValueError(f'gumbel_{target} holds {len(values)} values only')
    return values[start : used[target]]

  return noise


def _lines(path: Path) -> list[str]:
  """Lines without line feeds; nothing else is stripped."""
  return path.read_bytes().decode().removesuffix('\n').split('\n')
