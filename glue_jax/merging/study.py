"""The study of DARE on real tasks: drop-rate curves, and all pairs merged.

Every number is a line of `rows.jsonl`, so a stopped study goes on where it was,
and one with other rates or grids takes what it shares with the last one.
Hyper-parameters are selected on rows held out from the training splits, every
figure in the table and the pictures is of the development splits.
"""

import dataclasses
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glue_jax.merging import search
from glue_jax.merging.dare import Drop
from glue_jax.merging.search import Bench
from glue_jax.merging.settings import METHODS, Settings
from glue_jax.reporting import files, plots, tables

ROWS, HEADER = 'rows.jsonl', 'study.json'
_CURVES = {
  'DARE': ('dare', 'delta'),
  'drop only': ('drop_only', 'delta'),
  'magnitude': ('magnitude', 'delta'),
  'DARE on weights': ('dare', 'finetuned'),
}


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is measured.

  Attributes:
    rates: drop rates of the curves.
    control_rates: those of the negative control, which drops weights.
    dare_rates: drop rates tried before merging.
    grids: {method: {field: values}}.
    examples: N of Fisher and RegMean.
    seed: of the masks.
  """

  rates: tuple[float, ...]
  control_rates: tuple[float, ...]
  dare_rates: tuple[float, ...]
  grids: Mapping[str, Mapping[str, Sequence]]
  examples: int
  seed: int


class Study:
  """A study in a folder."""

  def __init__(self, bench: Bench, plan: Plan, out: str | os.PathLike):
    """Opens the folder.

    Args:
      bench: models and tasks.
      plan: what is measured.
      out: folder; one with a study of the same models, rows and seed goes
        on, and measures only what is new in the plan.

    Raises:
      ValueError: the folder has another study.
    """
    self.bench, self.plan = bench, plan
    self.out = pathlib.Path(out)
    self.out.mkdir(parents=True, exist_ok=True)
    header = {
      'models': {n: str(t.source.folder) for n, t in bench.tasks.items()},
      'rows': {
        n: {key: len(table) for key, table in t.tables.items()}
        for n, t in bench.tasks.items()
      },
      'seed': plan.seed,
    }
    text = json.dumps(header, indent=2) + '\n'
    path = self.out / HEADER
    if path.is_file() and path.read_text() != text:
      raise ValueError(
        f'{path} is of another study (models, rows or seed differ); give '
        'another --out'
      )
    files.replace_text(path, text)
    self._file = self.out / ROWS
    rows = files.read_lines(self._file) if self._file.is_file() else []
    self.rows = {_key(row): row for row in rows}

  def measure(self, identity: Mapping[str, Any], fn: Callable) -> dict:
    """Returns the scores {model: value} of an identity, measured once."""
    key = json.dumps(identity, sort_keys=True)
    if key not in self.rows:
      row = {'identity': dict(identity), 'scores': fn()}
      files.append_line(self._file, row)
      self.rows[key] = row
      scores = ' '.join(f'{n}={v:.4f}' for n, v in row['scores'].items())
      print(_line(identity), scores, flush=True)
    return self.rows[key]['scores']

  def curves(self) -> dict[str, dict[str, dict[float, float]]]:
    """Measures {model: {curve: {rate: score}}}, each model on its own task."""
    scores: dict = {
      name: {curve: {} for curve in _CURVES} for name in self.names
    }
    for curve, (kind, target) in _CURVES.items():
      plan = self.plan
      rates = plan.rates if target == 'delta' else plan.control_rates
      for rate, name in itertools.product(rates, self.names):
        drop = Drop(rate, kind, target, plan.seed)
        what = {'what': 'curve', 'curve': curve, 'rate': rate}
        scores[name][curve][rate] = self._single(what, name, drop)
        self.bench.forget(drop)
    return scores

  @property
  def names(self) -> list[str]:
    """The models."""
    return list(self.bench.tasks)

  def levels(self) -> dict[str, dict[str, float]]:
    """Measures each fine-tuned model, and the pre-trained body in its place."""
    everything = Drop(1.0, seed=self.plan.seed)
    scores = {}
    for name in self.names:
      scores[name] = {
        what: self._single({'what': what}, name, drop)
        for what, drop in (
          ('fine-tuned', None),
          ('pre-trained body', everything),
        )
      }
      self.bench.forget(everything)
    return scores

  def _single(self, what, name, drop) -> float:
    """Measures one model after dropping, on its own task."""

    def score():
      return self.bench.score([name], self.bench.body(name, drop), 'report')

    return self.measure({**what, 'model': name}, score)[name]

  def pairs(self) -> list[dict]:
    """Measures all pairs by all methods; returns the rows of the table."""
    table = []
    levels = self.levels()
    for pair in itertools.combinations(self.names, 2):
      own = {name: levels[name]['fine-tuned'] for name in pair}
      table.append(_row(pair, {'method': 'fine-tuned each'}, own))
      for method in METHODS:
        for settings in self._selected(pair, method):
          columns = search.describe(settings)
          scores = self._scored(pair, settings, 'report')
          table.append(_row(pair, columns, scores))
    return table

  def _selected(self, pair, method) -> list[Settings]:
    plan = self.plan
    start = Settings(method, examples=plan.examples)
    trials = search.grid(start, len(pair), plan.grids[method])
    drop = Drop(0.0, seed=plan.seed)
    if len(trials) == len(plan.dare_rates) == 1:  # nothing to select
      drop = dataclasses.replace(drop, rate=plan.dare_rates[0])
      return [trials[0], dataclasses.replace(trials[0], drop=drop)]
    _, best, with_drop = search.search(
      self.bench,
      pair,
      trials,
      plan.dare_rates,
      drop,
      lambda settings: self._scored(pair, settings, 'select'),
    )
    return [best, with_drop]

  def _scored(self, pair, settings, rows) -> dict[str, float]:
    identity = {
      'what': 'merge',
      'rows': rows,
      'models': list(pair),
      'examples': settings.examples,
      **search.describe(settings),
    }

    def score():
      merged = self.bench.merged(pair, settings)
      return self.bench.score(pair, merged, rows)

    return self.measure(identity, score)

  def run(self) -> str:
    """Measures what is open; writes table and pictures; returns the table."""
    levels = self.levels()
    plots.plot_lines(
      self.curves(),
      self.out / 'drop_rate.png',
      'Share of the deltas dropped and score on the development rows',
      ('drop rate p', 'primary metric'),
      levels,
    )
    rows = self.pairs()
    self._draw_pairs(rows)
    tables.write_csv(rows, self.out / 'pairs.csv')
    text = tables.table(rows)
    files.replace_text(self.out / 'pairs.txt', text + '\n')
    return text

  def _draw_pairs(self, rows: list[dict]) -> None:
    panels: dict = {}
    for row in rows:
      kind = 'with DARE' if row['drop'] else 'without'
      if row['method'] != 'fine-tuned each':
        lines = panels.setdefault(
          row['models'], {'without': {}, 'with DARE': {}}
        )
        lines[kind][row['method']] = row['mean']
    tops = {
      row['models']: {'fine-tuned each': row['mean']}
      for row in rows
      if row['method'] == 'fine-tuned each'
    }
    plots.plot_lines(
      panels,
      self.out / 'pairs.png',
      'Two models merged, each with its own head: mean score of both tasks',
      ('', 'mean of the primary metrics'),
      tops,
      joined=False,
    )


def _row(pair, columns, scores) -> dict:
  return {
    'models': ' + '.join(pair),
    'method': columns['method'],
    'settings': columns.get('settings', ''),
    'drop': columns.get('drop'),
    'first': scores[pair[0]],
    'second': scores[pair[1]],
    'mean': search.mean(scores),
  }


def _key(row: Mapping) -> str:
  return json.dumps(row['identity'], sort_keys=True)


def _line(identity: Mapping) -> str:
  return ' '.join(
    '+'.join(v) if isinstance(v, list) else str(v)
    for v in identity.values()
    if v not in ('', None)
  )
