"""COMET with and without local search: the same settings, how many are needed?

Clusters in a binary tree of four levels, 16 of them in R^8: a cluster's centre
and its linear map to R^4 are sums over the nodes above it, a level weighing 0.6
of the one above, so that neighbours are alike. 16 linear experts, one tree
(k = 1, split biases), Adam, batches of 128. Each seed draws clusters, points
and initial weights; each of its settings (learning rate, entropy weight, gamma)
is trained without and with the search (+), with equal data, initial weights,
batches and steps.

A trial is sparse where at least 99 % of the validation points have one expert.
The best of m trials, drawn with replacement, is the sparse one of least
validation error; where none is sparse, the best single linear map. Printed is
its expected test error for each arm, the least m at which COMET+ is as good as
COMET is with 50, and 95 % intervals of a bootstrap that draws settings and
seeds anew, the same ones for both arms.

  python -m launch.benchmark comet_search --output=FOLDER

Cells (a seed, an arm) that cells.json has are not run again: the same command
goes on. It writes results.json when all are there.
"""

import json
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from glue_jax.reporting import files, tables
from launch.miniatures import comet
from launch.miniatures.parts import mixture

FLAGS = flags.FLAGS
LEVELS, WIDTH, OUTPUTS, BATCH = 4, 8, 4, 128
EXPERTS = 2**LEVELS
FALL, SPREAD, NOISE = 0.6, 0.15, 0.05
GAMMAS = 0.1, 0.3, 1.0, 3.0
ARMS = 'COMET', 'COMET+'
BUDGETS = 1, 5, 10, 20, 50, 100
BASE, MOST = 50, 1000
SPARSE = 0.99


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  flags.DEFINE_string('output', None, 'Folder of cells.json, results.json.')
  flags.DEFINE_integer('trials', 100, 'Settings, the same for both arms.')
  flags.DEFINE_integer('seeds', 5, 'Data and initial weights.')
  flags.DEFINE_integer('steps', 5000, 'Updates of each run.')
  flags.DEFINE_integer('search_steps', 1000, 'Of them with the search.')
  flags.DEFINE_integer('draws', 2000, 'Of the bootstrap.')


def main(argv: list[str]) -> None:
  """Runs the cells that are missing, then prints and writes the table."""
  del argv
  if not FLAGS.output:
    raise app.UsageError('--output is needed')
  if not 0 < FLAGS.search_steps < FLAGS.steps:
    raise app.UsageError('--search_steps must be between 0 and --steps')
  folder = pathlib.Path(FLAGS.output)
  cells = collect(folder / 'cells.json')
  results = summary(cells, FLAGS.draws)
  files.replace_text(
    folder / 'results.json', json.dumps(results, indent=1) + '\n'
  )
  print(tables.results_table(results['arms']))
  print(json.dumps({k: v for k, v in results.items() if k != 'arms'}))


def collect(path: pathlib.Path) -> dict[str, Any]:
  """Runs what the file doesn't have yet, writing after each cell.

  Args:
    path: of the cells, created with its folder.

  Returns:
    {'<seed> <arm>': {'single', 'seconds', 'rows': [a setting's figures]}}.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  budget = {
    name: getattr(FLAGS, name)
    for name in ('trials', 'seeds', 'steps', 'search_steps')
  }
  cells = {}
  if path.is_file():
    record = json.loads(path.read_text())
    # Seeds are what may grow: the others make other cells.
    differ = {k for k in budget if record['budget'][k] != budget[k]}
    if differ - {'seeds'}:
      raise app.UsageError(
        f'{path} was begun with {record["budget"]}, this run has {budget}; '
        'give another --output or the same flags'
      )
    cells = record['cells']
  for seed in range(FLAGS.seeds):
    for arm in ARMS:
      name = f'{seed} {arm}'
      if name in cells:
        continue
      cells[name] = cell(seed, arm)
      print(f'{name}: {cells[name]["seconds"]:.0f} s', flush=True)
      text = json.dumps({'budget': budget, 'cells': cells}, indent=1)
      files.replace_text(path, text + '\n')
  return {
    f'{seed} {arm}': cells[f'{seed} {arm}']
    for seed in range(FLAGS.seeds)
    for arm in ARMS
  }


def settings(count: int) -> list[dict[str, float]]:
  """Draws the settings: of no seed and no arm, so the same for all."""
  rng = np.random.default_rng(0)
  return [
    {
      'lr': 10 ** rng.uniform(-3, -1.5),
      'entropy': 10 ** rng.uniform(-2.5, 0),
      'gamma': GAMMAS[i % len(GAMMAS)],
    }
    for i in range(count)
  ]


def clusters(seed: int) -> tuple[dict[str, jax.Array], ...]:
  """Training, validation and test points of one tree of clusters.

  Returns:
    Three batches: x (rows, 8), ids (rows,), y (rows, 1, 4).
  """
  rng = np.random.default_rng(seed)
  centres = np.zeros((1, WIDTH))
  maps = np.zeros((1, WIDTH, OUTPUTS))
  for level in range(LEVELS):
    nodes, scale = 2 ** (level + 1), FALL**level
    centres = np.repeat(centres, 2, axis=0)
    maps = np.repeat(maps, 2, axis=0)
    centres += scale * rng.normal(size=(nodes, WIDTH))
    maps += scale * rng.normal(size=(nodes, WIDTH, OUTPUTS)) / 2

  def points(rows):
    which = rng.integers(len(centres), size=rows)
    x = centres[which] + SPREAD * rng.normal(size=(rows, WIDTH))
    y = np.einsum('bd,bdf->bf', x, maps[which])
    y += NOISE * rng.normal(size=y.shape)
    return {
      'x': jnp.asarray(x, jnp.float32),
      'ids': jnp.zeros(rows, jnp.int32),
      'y': jnp.asarray(y, jnp.float32)[:, None],
    }

  return points(20_000), points(2000), points(2000)


def cell(seed: int, arm: str) -> dict[str, Any]:
  """Trains every setting once; settings of one gamma in one program."""
  started = time.process_time()
  train, validation, test = clusters(seed)
  rows = settings(FLAGS.trials)
  for gamma in GAMMAS:
    group = [row for row in rows if row['gamma'] == gamma]
    if not group:
      continue
    options = (('k', 1), ('gamma', gamma), ('split_bias', True))
    design = mixture.Design(
      EXPERTS, 'comet', options, features=OUTPUTS,
      search_steps=FLAGS.search_steps if arm == 'COMET+' else 0,
    )  # fmt: skip
    drawn = {n: jnp.array([row[n] for row in group]) for n in ('lr', 'entropy')}
    drawn['seed'] = jnp.full(len(group), seed)
    evaluate = mixture.train(
      design, train, comet.error, drawn, steps=FLAGS.steps, batch_size=BATCH
    )
    for split, part in (('validation', validation), ('test', test)):
      out, losses = evaluate(part)
      one = (out['used'] <= 1).mean((1, 2))
      for row, loss, share in zip(group, losses.mean(-1), one):
        # A run that diverged is no trial to choose, and JSON has no nan.
        row[f'{split}_loss'] = float(np.nan_to_num(loss, nan=1e9, posinf=1e9))
        row[f'{split}_sparse'] = float(share)
  return {
    'single': comet.single_expert(train, test),
    'seconds': time.process_time() - started,
    'rows': rows,
  }


def expected(
  validation: np.ndarray, test: np.ndarray, sparse: np.ndarray, single: float
) -> np.ndarray:
  """Expected test error of the best of m = 1, 2, ... `MOST` drawn trials.

  Exact, for draws with replacement: of n trials in the order of their
  validation error, the i-th (from 0) is the best of m with probability
  ((n - i)^m - (n - i - 1)^m) / n^m.

  Args:
    validation, test: errors of a seed's trials (n,).
    sparse: which of them may be chosen (n,).
    single: test error where none may.

  Returns:
    (MOST,).
  """
  n, count = len(test), int(sparse.sum())
  order = np.argsort(np.where(sparse, validation, np.inf), kind='stable')
  errors = np.append(test[order[:count]], single)
  left = np.append((n - np.arange(count + 1)) / n, 0.0)
  powers = left ** np.arange(1, MOST + 1)[:, None]
  # The last one: no trial of the draw is sparse.
  chances = np.append(
    powers[:, :count] - powers[:, 1 : count + 1], powers[:, count : count + 1],
    axis=1,
  )  # fmt: skip
  return chances @ errors


def summary(cells: dict[str, Any], draws: int) -> dict[str, Any]:
  """The table of both arms and the budget, with intervals.

  Args:
    cells: of `collect`.
    draws: of the bootstrap.

  Returns:
    {'arms': [a row each], 'budget', 'times_fewer', 'gain': figure, low and
    high of each, 'reached': share of the draws in which COMET+ gets there
    within `MOST` trials, 'single': error of one linear map}.
  """
  names = 'validation_loss', 'test_loss', 'validation_sparse'
  seeds = len(cells) // len(ARMS)
  table = {
    (arm, name): np.array([
      [row[name] for row in cells[f'{seed} {arm}']['rows']]
      for seed in range(seeds)
    ])
    for arm in ARMS
    for name in names
  }  # fmt: skip
  single = [cells[f'{seed} {ARMS[0]}']['single'] for seed in range(seeds)]

  def curve(arm, picked, trials):
    parts = [
      expected(
        table[arm, names[0]][seed, trials], table[arm, names[1]][seed, trials],
        table[arm, names[2]][seed, trials] >= SPARSE, single[seed],
      )
      for seed in picked
    ]  # fmt: skip
    return np.mean(parts, axis=0)

  def compared(picked, trials):
    plain, searched = (curve(arm, picked, trials) for arm in ARMS)
    good = np.flatnonzero(searched <= plain[BASE - 1])
    budget = float(good[0] + 1) if len(good) else np.inf
    gain = 1 - searched[BASE - 1] / plain[BASE - 1]
    return (budget, BASE / budget, gain), plain, searched

  count = table[ARMS[0], names[0]].shape[1]
  figures, *curves = compared(range(seeds), np.arange(count))
  rng = np.random.default_rng(0)
  drawn = np.array([
    compared(
      rng.integers(seeds, size=seeds), rng.integers(count, size=count)
    )[0]
    for _ in range(draws)
  ])  # fmt: skip
  low, high = np.quantile(drawn, [0.025, 0.975], axis=0, method='nearest')
  results: dict[str, Any] = {
    name: [_number(v) for v in values]
    for name, *values in zip(
      ('budget', 'times_fewer', 'gain'), figures, low, high
    )
  }
  results['reached'] = float(np.isfinite(drawn[:, 0]).mean())
  results['single'] = float(np.mean(single))
  results['arms'] = []
  for arm, values in zip(ARMS, curves):
    row = {'arm': arm}
    row['sparse'] = round(float((table[arm, names[2]] >= SPARSE).mean()), 3)
    row |= {f'best of {m}': round(float(values[m - 1]), 5) for m in BUDGETS}
    spent = [cells[f'{seed} {arm}']['seconds'] for seed in range(seeds)]
    row['seconds'] = round(sum(spent))
    results['arms'].append(row)
  return results


def _number(value: float) -> float | None:
  """A number for JSON; None where the budget is never reached."""
  return round(float(value), 4) if np.isfinite(value) else None
