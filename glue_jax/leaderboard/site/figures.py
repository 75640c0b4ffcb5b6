"""The plots on the pages of the site, as coordinates for the templates."""

from typing import Any

from glue_jax.leaderboard.board import Board, Method
from glue_jax.leaderboard.registry import Entry
from glue_jax.leaderboard.scoring import Score
from glue_jax.leaderboard.site import pages, svg

MOST_BARS = 30


def task_bars(board: Board, task: str) -> dict[str, Any] | None:
  """The best methods of a task as bars; None without methods."""
  ranked = board.ranked(task)[:MOST_BARS]
  metric = board.registry.tasks[task].primary
  if not ranked:
    return None
  rows = []
  for method in ranked:
    score = method.cells[task]
    _, low, high = score.spread
    rows.append(
      svg.Bar(
        method.name,
        *(pages.scaled(metric, v) for v in (score.score, low, high)),
      )
    )
  return svg.bars(rows)


def scatters(board: Board) -> list[dict[str, Any]]:
  """Mean score over each cost, for methods that have a mean."""
  methods = [m for m in board.methods.values() if m.score is not None]
  if not methods:
    return []
  plots = []
  for key, title, unit in (
    ('params_trainable', 'Score and trained parameters', 'trained parameters'),
    (
      'train_seconds',
      'Score and training time',
      'training time of one seed, seconds',
    ),
  ):
    points = [
      svg.Point(m.name, float(pages.costs(m, board.tasks)[key]), 100 * m.score)
      for m in methods
    ]
    plot = svg.scatter(points)
    front = [points[i].label for i in svg.pareto(points)]
    plots.append(
      plot | {'name': key, 'title': title, 'unit': unit, 'on_front': front}
    )
  return plots


def method_plots(board: Board, method: Method) -> list[dict[str, Any]]:
  """For each task of a method its seeds' points and its confusion matrix."""
  plots = []
  for task in [t for t in board.tasks if t in method.cells]:
    score = method.cells[task]
    entry = board.registry.tasks[task]
    low, high = board.extent(task)
    plot = svg.strip(score.values[entry.primary], low, high)
    plot |= {
      'task': task,
      'metric': entry.primary,
      'low': pages.shown(entry.primary, low),
      'high': pages.shown(entry.primary, high),
      'texts': [
        pages.shown(entry.primary, v) for v in score.values[entry.primary]
      ],
      'confusion': confusion(entry, score),
    }
    plots.append(plot)
  return plots


def confusion(entry: Entry, score: Score) -> dict[str, Any] | None:
  """A confusion matrix with shades 0 to 9 by the share of its row."""
  if score.confusion is None:
    return None
  rows = []
  for label, counts in zip(entry.labels, score.confusion):
    total = max(1, sum(counts))
    cells = [{'count': n, 'shade': min(9, 10 * n // total)} for n in counts]
    rows.append({'label': label, 'cells': cells})
  return {'labels': entry.labels, 'rows': rows, 'seeds': len(score.seeds)}
