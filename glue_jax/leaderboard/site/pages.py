"""The tables on the pages of the site.

Scores are shown times 100 with 2 decimals, mean squared errors as they are
with 4. Nothing of a score comes from a contributor's metadata.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from glue_jax.leaderboard import scoring
from glue_jax.leaderboard.board import Board, Method
from glue_jax.leaderboard.registry import LOWER_IS_BETTER
from glue_jax.leaderboard.scoring import Score
from glue_jax.leaderboard.site.tables import (
  Cell,
  Column,
  Table,
  number,
  seconds,
  size,
)

BOARDS = {'glue': 'GLUE', 'superglue': 'SuperGLUE'}


def shown(metric: str, value: float | None) -> str:
  """A score as the site shows it."""
  if value is None:
    return '–'
  return f'{value:.4f}' if metric in LOWER_IS_BETTER else f'{100 * value:.2f}'


def scaled(metric: str, value: float) -> float:
  """A score in the unit that the site shows."""
  return value if metric in LOWER_IS_BETTER else 100 * value


def costs(method: Method, tasks: Sequence[str]) -> dict[str, Any]:
  """What a method costs over some tasks, from its metadata.

  Args:
    method: the method.
    tasks: tasks that count; those it lacks are left out.

  Returns:
    params_total, params_trainable, params_stored (largest over tasks),
    train_seconds (of one seed, summed over tasks), peak_memory (bytes, largest
    over tasks; None if not told), hardware (names).
  """
  runs = method.metadata['runs']
  runs = [runs[task] for task in tasks if task in runs]
  memory = [
    part['peak_memory_bytes']
    for run in runs
    for part in (run['train'], run.get('inference', {}))
    if 'peak_memory_bytes' in part
  ]
  return {
    'params_total': max(run['params_total'] for run in runs),
    'params_trainable': max(run['params_trainable'] for run in runs),
    'params_stored': max(run['params_stored_per_task'] for run in runs),
    'train_seconds': sum(run['train']['seconds'] for run in runs),
    'peak_memory': max(memory, default=None),
    'hardware': ', '.join(
      sorted(
        {
          f'{r["train"]["device_count"]} × {r["train"]["hardware"]}'
          for r in runs
        }
      )
    ),
  }


COST_COLUMNS = (
  Column('params_total', 'Parameters', 'of the whole model', True),
  Column('params_trainable', 'Trained', 'parameters that learn', True),
  Column('params_stored', 'Stored', 'parameters kept for each task', True),
  Column('train_seconds', 'Training', 'time of one seed, all tasks', True),
  Column('peak_memory', 'Memory', 'largest peak, host or device', True),
)


def cost_cells(measured: Mapping[str, Any]) -> list[Cell]:
  """Cells of COST_COLUMNS."""
  style = {'train_seconds': seconds, 'peak_memory': size}
  return [
    Cell(style.get(c.key, number)(measured[c.key]), measured[c.key])
    for c in COST_COLUMNS
  ]


def score_cell(score: Score | None, best: bool = False, href: str = '') -> Cell:
  """The primary metric of one method on one task, with its spread."""
  if score is None:
    return Cell('–')
  kind, low, high = score.spread
  metric = score.primary
  sd = score.sd(metric)
  note = (
    f'± {shown(metric, sd)}'
    if kind == 'sd'
    else (f'[{shown(metric, low)}, {shown(metric, high)}]')
  )
  extra = {
    'spread': kind,
    'low': scaled(metric, low),
    'high': scaled(metric, high),
    'seeds': len(score.seeds),
  }
  value = scaled(metric, score.score)
  return Cell(shown(metric, score.score), value, note, href, extra, best)


SPREAD = ('spread', 'low', 'high', 'seeds')


def index_table(board: Board, complete: bool) -> Table:
  """Methods by score; those that lack tasks stand in a table of their own.

  Args:
    board: the leaderboard.
    complete: which of both tables.
  """
  methods = [m for m in board.methods.values() if m.complete == complete]

  def key(m):
    return (m.borda or 0, -(m.score or 0), m.name)

  methods.sort(key=key)
  averages = [b for b in BOARDS if any(b in m.averages for m in methods)]
  columns = [Column('method', 'Method')]
  if complete:
    exact = '' if board.kemeny_exact else ' (approximate)'
    columns += [
      Column('borda', 'Borda', 'place by Borda count over tasks', True),
      Column('kemeny', 'Kemeny', f'place in the consensus order{exact}', True),
      Column('mean', 'Mean', _mean_title(board), True, True),
    ]
  for name in averages:
    convention = next(
      m.averages[name].convention for m in methods if name in m.averages
    )
    columns.append(Column(name, BOARDS[name], convention, True, True))
  for task in board.tasks:
    entry = board.registry.tasks[task]
    columns.append(
      Column(
        task,
        task,
        f'{entry.primary} on {entry.split}',
        True,
        entry.higher_is_better,
        SPREAD,
      )
    )
  columns += [*COST_COLUMNS, Column('date', 'Date')]
  best = {t: r[0].name for t in board.tasks if (r := board.ranked(t))}
  rows = [_index_row(board, m, complete, averages, best) for m in methods]
  filters = [
    {
      'Checkpoint': m.metadata['base_checkpoint'] or 'none',
      'Extra data': ', '.join(m.metadata['extra_data']),
    }
    for m in methods
  ]
  caption = (
    'Methods with every task, by Borda place'
    if complete
    else 'Methods that lack tasks, by name; they have no place'
  )
  return Table(
    'methods' if complete else 'incomplete',
    caption,
    columns,
    rows,
    filters,
    'borda' if complete else 'method',
  )


def _percent(value: float) -> Cell:
  return Cell(f'{100 * value:.2f}', 100 * value)


def _mean_title(board: Board) -> str:
  entries = [board.registry.tasks[task] for task in board.tasks]
  errors = [e.name for e in entries if not e.higher_is_better]
  if errors:
    return f'no mean: lower is better on {", ".join(errors)}'
  return 'mean of the tasks’ scores'


def _index_row(board, method, complete, averages, best) -> list[Cell]:
  name, mark = method.name, method.mark(board.tasks)
  row = [Cell(name, name, mark, href=f'methods/{name}.html')]
  if complete:
    row += [Cell(str(n), n) for n in (method.borda, method.kemeny)]
    mean = method.score
    row.append(Cell('–') if mean is None else _percent(mean))
  for name in averages:
    average = method.averages.get(name)
    row.append(_percent(average.value) if average else Cell('–'))
  for task in board.tasks:
    row.append(
      score_cell(method.cells.get(task), best.get(task) == method.name)
    )
  row += cost_cells(costs(method, board.tasks))
  date = method.metadata['date']
  return [*row, Cell(date, date)]


def tasks_table(board: Board) -> Table:
  """The tasks with their best methods."""
  columns = (
    Column('task', 'Task'),
    Column('version', 'Data set'),
    Column('split', 'Split'),
    Column('rows', 'Examples', '', True),
    Column('metric', 'Metric'),
    Column('methods', 'Methods', '', True),
    Column('best', 'Best method'),
    Column('score', 'Best score', '', True, True, SPREAD),
  )
  rows = []
  for task, entry in board.registry.tasks.items():
    ranked = board.ranked(task) if task in board.tasks else []
    top = ranked[0] if ranked else None
    hidden = task not in board.tasks
    rows.append(
      [
        Cell(task, task, href='' if hidden else f'tasks/{task}.html'),
        Cell(entry.version, entry.version),
        Cell(entry.split, entry.split, note='hidden gold' if hidden else ''),
        Cell(str(entry.rows), entry.rows),
        Cell(entry.primary, entry.primary),
        Cell(str(len(ranked)), len(ranked)),
        Cell(top.name, top.name, href=f'methods/{top.name}.html')
        if top
        else Cell('–'),
        score_cell(top.cells[task]) if top else Cell('–'),
      ]
    )
  return Table('tasks', 'Tasks of this leaderboard', columns, rows)


def task_table(board: Board, task: str) -> Table:
  """Methods on one task, best first, each compared with the best."""
  entry = board.registry.tasks[task]
  ranked = board.ranked(task)
  places = board.places(task)
  columns = [
    Column('place', 'Place', '', True),
    Column('method', 'Method'),
    Column(
      'score', entry.primary, 'ranks', True, entry.higher_is_better, SPREAD
    ),
  ]
  others = [m for m in entry.metrics if m != entry.primary]
  columns += [
    Column(m, m, '', True, m not in LOWER_IS_BETTER, ('sd',)) for m in others
  ]
  columns += [
    Column(
      'difference',
      'To the best',
      'difference and 95% interval of the paired bootstrap',
      True,
      True,
      ('low', 'high', 'p'),
    ),
  ]
  if entry.kind != 'regression':
    columns.append(
      Column(
        'mcnemar',
        'McNemar p',
        'exact test of the first seeds',
        True,
        False,
        ('only_best', 'only_this'),
      )
    )
  columns += [*COST_COLUMNS, Column('date', 'Date')]
  rows = []
  for method in ranked:
    name, score = method.name, method.cells[task]
    row = [
      Cell(str(places[name]), places[name]),
      Cell(name, name, method.mark([task]), href=f'../methods/{name}.html'),
      score_cell(score, method is ranked[0]),
    ]
    row += [_other_cell(score, metric) for metric in others]
    row += _against_best(
      entry, ranked[0].cells[task], score, method is ranked[0]
    )
    row += cost_cells(costs(method, [task]))
    row.append(Cell(method.metadata['date'], method.metadata['date']))
    rows.append(row)
  return Table(
    'methods',
    f'Methods on {task}, best first',
    columns,
    rows,
    [{'Checkpoint': m.metadata['base_checkpoint'] or 'none'} for m in ranked],
    'place',
  )


def _other_cell(score: Score, metric: str) -> Cell:
  sd = score.sd(metric)
  return Cell(
    shown(metric, score.mean(metric)),
    scaled(metric, score.mean(metric)),
    f'± {shown(metric, sd)}' if sd is not None else '',
    extra={'sd': sd if sd is None else scaled(metric, sd)},
  )


def _against_best(entry, best: Score, score: Score, is_best: bool) -> list:
  count = 1 if entry.kind == 'regression' else 2
  if is_best:
    return [Cell('best')] + [Cell('–')] * (count - 1)
  comparison = scoring.compare(score, best)
  metric = entry.primary
  cells = [
    Cell(
      shown(metric, comparison.difference),
      scaled(metric, comparison.difference),
      f'[{shown(metric, comparison.low)}, {shown(metric, comparison.high)}]',
      extra={
        'low': scaled(metric, comparison.low),
        'high': scaled(metric, comparison.high),
        'p': comparison.p,
      },
    )
  ]
  if count == 2:
    cells.append(
      Cell(
        f'{comparison.mcnemar:.2g}',
        comparison.mcnemar,
        extra={
          'only_best': comparison.only_second,
          'only_this': comparison.only_first,
        },
      )
    )
  return cells


def method_table(board: Board, method: Method) -> Table:
  """All metrics of a method on all its tasks."""
  columns = (
    Column('task', 'Task'),
    Column('metric', 'Metric'),
    Column('score', 'Score', '', True, True, ('low', 'high')),
    Column('sd', 'Sample sd', 'over seeds', True),
    Column(
      'interval', '95% interval', 'bootstrap over examples, mean of seeds'
    ),
    Column('seeds', 'Seeds'),
    Column('place', 'Place', 'on this task', True),
  )
  rows = []
  for task in [t for t in board.tasks if t in method.cells]:
    score = method.cells[task]
    low, high = score.interval
    for metric, values in score.values.items():
      first = metric == score.primary
      sd = score.sd(metric)
      seeds = ', '.join(
        f'{seed}: {shown(metric, v)}' for seed, v in zip(score.seeds, values)
      )
      place = board.places(task)[method.name]
      rows.append(
        [
          Cell(task, task, href=f'../tasks/{task}.html'),
          Cell(metric, metric),
          Cell(
            shown(metric, score.mean(metric)),
            scaled(metric, score.mean(metric)),
            extra={'low': scaled(metric, low), 'high': scaled(metric, high)}
            if first
            else {},
          ),
          Cell(shown(metric, sd), None if sd is None else scaled(metric, sd)),
          Cell(
            f'{shown(metric, low)} – {shown(metric, high)}' if first else ''
          ),
          Cell(seeds),
          Cell(str(place), place) if first else Cell(''),
        ]
      )
  return Table('scores', f'Scores of {method.name}', columns, rows)
