"""Splits that are drawn from another one (`Task.cuts`)."""

from collections.abc import Mapping

import numpy as np

from glue_jax.data.table import Table
from glue_jax.data.task import Cut


def part(table: Table, split: str, cuts: Mapping[str, Cut]) -> Table:
  """The rows of one split, out of those of the whole source.

  Cuts of one source are drawn one after another in the order of their names,
  so no row is in two of them. The draw is plain, not stratified.

  Args:
    table: all rows of the source split.
    split: the source, or a split that is drawn from it.
    cuts: by the split they make.

  Raises:
    ValueError: a split would be empty.
  """
  source = table.split
  chosen = _chosen(
    len(table), {k: c for k, c in cuts.items() if c.source == source}
  )
  if split in chosen:
    rows = chosen[split]
  else:
    kept = set(chosen) - set(table.task.given_back)
    drawn = {row for name in kept for row in chosen[name].tolist()}
    rows = [row for row in range(len(table)) if row not in drawn]
  if not len(rows):
    raise ValueError(
      f'{table.path}: {len(table)} rows in split {source!r} of '
      f'{table.task.name} leave none for split {split!r}; cuts: {dict(cuts)}'
    )
  found = table.take(rows)
  found.split = split
  # A count that differs from the official one is what a cut is for.
  found.notes = tuple(n for n in table.notes if 'the official split' not in n)
  return found


def _chosen(count: int, cuts: Mapping[str, Cut]) -> dict[str, np.ndarray]:
  """{split: sorted row numbers}."""
  left, chosen = np.arange(count), {}
  for name, cut in sorted(cuts.items()):
    rng = np.random.Generator(np.random.Philox(key=[cut.seed, count]))
    size = min(round(cut.fraction * count), len(left))
    chosen[name] = np.sort(rng.choice(left, size, replace=False))
    left = np.setdiff1d(left, chosen[name])
  return chosen
