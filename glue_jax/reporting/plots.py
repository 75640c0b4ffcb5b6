"""Figures of a run: learning curves, confusion, regression, scores.

Drawn on matplotlib's Agg canvas, which needs no display; matplotlib is imported
when a figure is drawn, because the import takes longer than many runs' set-up.
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax.reporting import files

_MAX_PANELS = 9
_COLORS = ('#1f6fb4', '#d9662c', '#2f9e63', '#8e5bb5', '#b8443f', '#6b6b6b')
_INK = '#333333'


def plot_curves(
  metrics: str | os.PathLike | Mapping[str, str | os.PathLike],
  png: str | os.PathLike,
  title: str = '',
) -> list[str]:
  """Draws a run's curves, one panel a quantity, one colour a split.

  Keys `<split>/<name>` (or `<name>`, taken as training) share a panel by
  `<name>`: loss first, learning rate next, evaluation metrics, then the rest.

  Args:
    metrics: a metrics.jsonl, or {name of the run, e.g. 'seed 0': file}. With
      several runs each is a thin line and their mean a thick one.
    png: file to write.
    title: of the figure.

  Returns:
    Names of the panels drawn.

  Raises:
    ValueError: nothing to draw.
  """
  runs = metrics if isinstance(metrics, Mapping) else {'run': metrics}
  series = {name: _series(files.read_lines(f)) for name, f in runs.items()}
  panels = _panels(series)
  if not panels:
    raise ValueError(f'no metrics to draw in {[str(f) for f in runs.values()]}')
  names = sorted(panels, key=lambda name: _rank(name, panels[name]))
  left_out = names[_MAX_PANELS:]
  names = names[:_MAX_PANELS]
  columns = {1: 1, 2: 2, 4: 2}.get(len(names), 3)
  # A split has one colour in all panels.
  splits = dict.fromkeys(_split(key) for name in names for key in panels[name])
  colors = dict(zip(splits, _COLORS * (1 + len(splits) // len(_COLORS))))
  figure, axes = new_figure(columns, math.ceil(len(names) / columns))
  for axis, name in zip(axes, names):
    for key in panels[name]:
      color = colors[_split(key)]
      _draw_runs(
        axis, [s[key] for s in series.values() if key in s], key, color
      )
    axis.set_xlabel('step')
    is_rate = name in ('lr', 'learning_rate')
    axis.set_ylabel('learning rate' if is_rate else name.replace('_', ' '))
    if is_rate:
      axis.ticklabel_format(axis='y', style='sci', scilimits=(0, 0))
    if len(panels[name]) > 1 or '/' in panels[name][0]:
      axis.legend(frameon=False, fontsize=8)
  for axis in axes[len(names) :]:
    axis.set_visible(False)
  notes = (
    [f'{len(runs)} runs: thin, their mean: thick'] if len(runs) > 1 else []
  )
  if left_out:
    notes.append(f'not drawn: {", ".join(left_out)}')
  save_figure(figure, png, title, '; '.join(notes))
  return names


def plot_confusion(
  labels: Sequence[int],
  predictions: Sequence[int],
  names: Sequence[str],
  png: str | os.PathLike,
  title: str = '',
) -> np.ndarray:
  """Draws counts of gold against predicted classes.

  Args:
    labels: (n,) class ids.
    predictions: (n,) class ids.
    names: names in id order.
    png: file to write.
    title: of the figure.

  Returns:
    (C, C) counts, gold in rows.
  """
  counts = np.zeros((len(names), len(names)), int)
  np.add.at(counts, (np.asarray(labels), np.asarray(predictions)), 1)
  share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
  side = max(3.4, 1.1 * len(names) + 1.8)
  figure, (axis,) = new_figure(1, 1, (side + 0.6, side))
  axis.grid(False)
  image = axis.imshow(share, cmap='Blues', vmin=0, vmax=1)
  for (row, column), count in np.ndenumerate(counts):
    axis.text(
      column,
      row,
      f'{count}\n{100 * share[row, column]:.0f}%',
      ha='center',
      va='center',
      fontsize=9,
      color='white' if share[row, column] > 0.6 else _INK,
    )
  ticks = range(len(names))
  axis.set_xticks(ticks, names, rotation=30, ha='right')
  axis.set_yticks(ticks, names)
  axis.set_xlabel('predicted')
  axis.set_ylabel('gold')
  figure.colorbar(image, ax=axis, label='share of the gold class', shrink=0.8)
  save_figure(figure, png, title)
  return counts


def plot_regression(
  labels: Sequence[float],
  predictions: Sequence[float],
  png: str | os.PathLike,
  title: str = '',
) -> None:
  """Draws predicted against gold numbers with the line of equality."""
  figure, (axis,) = new_figure(1, 1, (4.6, 4.4))
  low = float(min(np.min(labels), np.min(predictions)))
  high = float(max(np.max(labels), np.max(predictions)))
  axis.plot([low, high], [low, high], color='#999999', linewidth=1, zorder=1)
  axis.scatter(
    labels, predictions, s=12, alpha=0.4, color=_COLORS[0], linewidths=0
  )
  axis.set_xlabel('gold')
  axis.set_ylabel('predicted')
  axis.set_aspect('equal', adjustable='datalim')
  save_figure(figure, png, title)


def plot_scores(
  scores: Mapping[str, Sequence[float]],
  png: str | os.PathLike,
  title: str = '',
  metric: str = 'score',
) -> None:
  """Draws the scores of tasks or runs: every seed a point, the mean a bar.

  Args:
    scores: {name: values of the seeds}.
    png: file to write.
    title: of the figure.
    metric: label of the axis.
  """
  if not scores:
    raise ValueError('no scores to draw')
  figure, (axis,) = new_figure(1, 1, (6.4, 0.45 * len(scores) + 1.5))
  for row, values in enumerate(scores.values()):
    mean = float(np.mean(values))
    axis.plot(values, [row] * len(values), 'o', color=_COLORS[0], alpha=0.6)
    axis.plot([mean, mean], [row - 0.3, row + 0.3], color=_COLORS[1], lw=2.5)
    axis.annotate(
      f'{mean:.3f}',
      (1.02, row),
      xycoords=('axes fraction', 'data'),
      va='center',
      fontsize=9,
    )
  axis.set_yticks(range(len(scores)), list(scores))
  axis.set_ylim(len(scores) - 0.5, -0.5)
  axis.set_xlabel(f'{metric} (points: seeds, bar and number: mean)')
  save_figure(figure, png, title)


def plot_selection(
  report: Mapping[str, Any], png: str | os.PathLike, title: str = ''
) -> None:
  """Draws a data selection: distance to the targets, lengths of documents.

  Args:
    report: see `glue_jax.data.selection.run.report`.
    png: file to write.
    title: of the figure.
  """
  figure, (left, right) = new_figure(2, 1)
  distances = {'all raw': report['kl_raw']}
  distances |= {name: facts['kl'] for name, facts in report['sets'].items()}
  targets = range(len(report['kl_raw']))
  width = 0.8 / len(distances)
  for i, (name, values) in enumerate(distances.items()):
    places = [
      target + (i - (len(distances) - 1) / 2) * width for target in targets
    ]
    bars = left.bar(places, values, 0.9 * width, color=_COLORS[i], label=name)
    left.bar_label(bars, fmt='%.2f', fontsize=7)
  left.set_xticks(targets, [f'target {t + 1}' for t in targets])
  left.set_ylabel('KL(target || set), nats')
  left.legend(frameon=False, fontsize=8)
  longest = 0
  for i, facts in enumerate(report['sets'].values(), 1):
    share = np.array(facts['lengths']) / facts['documents']
    longest = max(longest, int(np.flatnonzero(share)[-1]))
    # Bin j holds lengths up to 2^(j / 2). Sets may lie on one another.
    right.plot(
      2 ** (np.arange(len(share)) / 2), share, color=_COLORS[i], lw=5 - i
    )
  right.set_xlim(1, 2 ** (longest / 2 + 1))
  right.set_xscale('log', base=2)
  right.set_xlabel('tokens of a document')
  right.set_ylabel('share of documents')
  save_figure(figure, png, title)


def plot_lines(
  panels: Mapping[str, Mapping[str, Mapping[Any, float]]],
  png: str | os.PathLike,
  title: str = '',
  axes: tuple[str, str] = ('', ''),
  levels: Mapping[str, Mapping[str, float]] | None = None,
  joined: bool = True,
) -> None:
  """Draws one panel for each group of lines; a line has one colour in all.

  Args:
    panels: {panel: {line: {x: y}}}; x may be numbers or names.
    png: file to write.
    title: of the figure.
    axes: labels of x and y.
    levels: {panel: {name: y}}, dashed horizontal lines.
    joined: False draws points only, for x without an order.

  Raises:
    ValueError: there are no panels.
  """
  if not panels:
    raise ValueError('no lines to draw')
  columns = {1: 1, 2: 2, 4: 2}.get(len(panels), 3)
  figure, places = new_figure(columns, math.ceil(len(panels) / columns))
  names = dict.fromkeys(name for lines in panels.values() for name in lines)
  colors = dict(zip(names, _COLORS * (1 + len(names) // len(_COLORS))))
  for axis, (panel, lines) in zip(places, panels.items()):
    for name, points in lines.items():
      style = '-o' if joined else 'o'
      axis.plot(
        list(points),
        list(points.values()),
        style,
        color=colors[name],
        markersize=4,
        linewidth=1.5,
        alpha=0.85,
        label=name,
      )
    for i, (name, y) in enumerate((levels or {}).get(panel, {}).items()):
      axis.axhline(y, color=_INK, lw=1, ls=('--', ':', '-.')[i % 3], label=name)
    axis.set_title(panel, fontsize=10)
    axis.set_xlabel(axes[0])
    axis.set_ylabel(axes[1])
    if any(isinstance(x, str) for points in lines.values() for x in points):
      axis.tick_params(axis='x', rotation=25)
  places[0].legend(frameon=False, fontsize=8)
  for axis in places[len(panels) :]:
    axis.set_visible(False)
  save_figure(figure, png, title)


def plot_predictions(predictions: Any, png: str | os.PathLike) -> bool:
  """Draws a labelled split's predictions by the kind of task.

  Args:
    predictions: `glue_jax.evaluation.predictions.Predictions`.
    png: file to write.

  Returns:
    Whether there is a figure for it: classes and numbers with labels.
  """
  if predictions is None or predictions.labels is None:
    return False
  task = predictions.task
  title = f'{task.name}, {predictions.split} ({len(predictions)} examples)'
  if task.kind == 'regression':
    plot_regression(predictions.labels, predictions.values, png, title)
    return True
  if task.kind in ('classification', 'multiple_choice'):
    names = task.labels or task.choices
    plot_confusion(predictions.labels, predictions.values, names, png, title)
    return True
  return False


def _series(records: list[dict]) -> dict[str, dict[int, float]]:
  """{key: {step: value}}; values that were not finite are gaps."""
  series: dict[str, dict[int, float]] = {}
  for record in records:
    for key, value in record.items():
      if key != 'step' and isinstance(value, (int, float, type(None))):
        number = np.nan if value is None else float(value)
        series.setdefault(key, {})[record['step']] = number
  return series


def _panels(series) -> dict[str, list[str]]:
  """{panel: keys}, keys in the order in which they were first written."""
  panels: dict[str, list[str]] = {}
  for key in dict.fromkeys(key for run in series.values() for key in run):
    panels.setdefault(key.split('/')[-1], []).append(key)
  return panels


def _rank(name: str, keys: list[str]) -> tuple:
  """Loss, learning rate, what evaluation measured, the rest."""
  first = ('loss', 'lr', 'learning_rate')
  if name in first:
    return (first.index(name), '')
  evaluated = any('/' in key and not key.startswith('train/') for key in keys)
  return (2 if evaluated else 3, name)


def _split(key: str) -> str:
  return key.rsplit('/', 1)[0] if '/' in key else 'train'


def _draw_runs(axis, runs: list[dict], key: str, color: str) -> None:
  label = _split(key)
  thin = len(runs) > 1
  for run in runs:
    axis.plot(
      list(run),
      list(run.values()),
      color=color,
      linewidth=0.7 if thin else 1.5,
      alpha=0.45 if thin else 1.0,
      # A curve of few points would hardly be seen as a line.
      marker='o' if len(run) < 15 else None,
      markersize=2 if thin else 3.5,
      label=None if thin else label,
    )
  if thin:
    steps = sorted(set.intersection(*(set(run) for run in runs)))
    mean = [np.mean([run[step] for run in runs]) for step in steps]
    axis.plot(steps, mean, color=color, linewidth=2, label=label)


def new_figure(
  columns: int, rows: int, size: tuple[float, float] | None = None
) -> tuple[Any, list[Any]]:
  """Returns a styled matplotlib figure and its axes as a flat list.

  Args:
    columns: of panels.
    rows: of panels.
    size: width and height in inches.
  """
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  figure = Figure(
    figsize=size or (4.2 * columns, 3.1 * rows), layout='constrained'
  )
  FigureCanvasAgg(figure)
  axes = list(figure.subplots(rows, columns, squeeze=False).flat)
  for axis in axes:
    axis.grid(True, color='#e3e3e3', linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[['top', 'right']].set_visible(False)
    axis.tick_params(labelsize=9)
  return figure, axes


def save_figure(
  figure: Any, png: str | os.PathLike, title: str, note: str = ''
) -> None:
  """Writes a figure of `new_figure` as PNG: whole or not at all.

  Args:
    figure: what to write.
    png: file to write; its folder is made.
    title: above the panels, or ''.
    note: small print below them.
  """
  if title:
    figure.suptitle(title, fontsize=11)
  if note:
    figure.supxlabel(note, fontsize=8, color='#777777')
  with files.whole(png) as part:
    # No software stamp: the same numbers give the same bytes.
    figure.savefig(part, dpi=130, format='png', metadata={'Software': None})
