"""Golden vectors of jarvis-leaderboard: scores of its official scorer.

Each file is taken through this leaderboard's whole path: gold and predictions
are written as files, read, checked and scored. A score equals the official one
after rounding to 4 decimals, exactly.
"""

import dataclasses
import pathlib

from glue_jax.leaderboard import registry, safety, scoring
from glue_jax.leaderboard.contribution import predictions
from glue_jax.leaderboard.registry import Entry

METRICS = {'acc': 'accuracy'}
KNOWN = {
  'gold',
  'prediction',
  'label_names',
  'score_official',
  'metric',
  'n_rows_submitted',
  'n_rows_joined',
  'random_guessing',
}
EXACT = (0.0, 0.0)


def compare(arrays: dict, folder: pathlib.Path) -> list[tuple]:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  unknown = sorted(set(arrays) - KNOWN)
  if unknown or str(arrays['metric']) not in METRICS:
    raise ValueError(f'unknown arrays {unknown} or metric {arrays["metric"]}')
  names = tuple(map(str, arrays['label_names']))
  metric = METRICS[str(arrays['metric'])]
  rows = [
    {'idx': i, 'label': names[code]} for i, code in enumerate(arrays['gold'])
  ]
  entry = Entry(
    'golden', '1', 'test', 'classification', (metric,), metric, names,
    rows=len(rows),
  )  # fmt: skip
  data = registry.gold_bytes(rows)
  gold = registry.parse_gold(entry, data, 'gold.jsonl')
  text = predictions.text(
    (i, names[code]) for i, code in enumerate(arrays['prediction'])
  )
  found, problems = predictions.parse(
    entry, gold, text.encode(), 'predictions.jsonl', safety.DEFAULT
  )
  if problems:
    raise ValueError('; '.join(problems))
  cell = scoring.score(entry, gold, {0: found})
  low, high = cell.interval
  if not low <= cell.score <= high:
    raise ValueError(f'score {cell.score} outside its interval {low}, {high}')
  # A label that only predictions have is no class to guess from.
  seen = tuple(names[code] for code in sorted(set(arrays['gold'].tolist())))
  guessing = dataclasses.replace(entry, labels=seen).random_guessing
  ours = {
    'score_official': round(cell.score, 4),
    'random_guessing': guessing,
    'n_rows_joined': len(found),
    'n_rows_submitted': text.count('\n'),
  }
  return [(name, value, arrays[name], *EXACT) for name, value in ours.items()]
