"""Coordinates of the site's plots; the templates turn them into SVG."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# Left of it stand labels of bars; 7 units a character of 12-pixel text.
_LABEL, _WIDTH, _ROW = 170, 600, 24
_LONGEST = 24


@dataclasses.dataclass(frozen=True)
class Bar:
  """A value with what is drawn around it, in the plot's unit."""

  label: str
  value: float
  low: float
  high: float


@dataclasses.dataclass(frozen=True)
class Point:
  """A method by cost and score."""

  label: str
  cost: float
  score: float


def ticks(low: float, high: float, most: int = 6) -> list[float]:
  """Round numbers from low to high, at most `most` of them."""
  span = high - low or 1.0
  step = 10.0 ** math.floor(math.log10(span / most))
  for factor in (1, 2, 5, 10, 20):
    if span / (step * factor) <= most - 1:
      step *= factor
      break
  first = math.ceil(low / step - 1e-9)
  last = math.floor(high / step + 1e-9)
  return [round(i * step, 10) for i in range(first, last + 1)]


def bars(rows: Sequence[Bar]) -> dict[str, Any]:
  """Horizontal bars from 0 with whiskers.

  Returns:
    width, height, ticks [{x, text}], bars [{y, x, width, low, high, ...}].
  """
  low = min(0.0, *(row.low for row in rows))
  high = max(1e-9, *(row.high for row in rows))
  scale = (_WIDTH - _LABEL - 70) / (high - low)

  def at(value):
    return round(_LABEL + (value - low) * scale, 2)

  drawn = []
  for i, row in enumerate(rows):
    drawn.append(
      {
        'y': i * _ROW + 4,
        'middle': i * _ROW + _ROW / 2,
        'x': min(at(0), at(row.value)),
        'width': round(abs(at(row.value) - at(0)), 2),
        'low': at(row.low),
        'high': at(row.high),
        'label': shorten(row.label),
        'full': row.label,
        'value': row.value,
        'text_at': max(at(row.high), at(row.value)) + 8,
      }
    )
  return {
    'width': _WIDTH,
    'height': len(rows) * _ROW + 24,
    'bottom': len(rows) * _ROW,
    'label_at': _LABEL - 8,
    'ticks': [{'x': at(t), 'text': f'{t:g}'} for t in ticks(low, high)],
    'bars': drawn,
  }


def pareto(points: Sequence[Point]) -> list[int]:
  """Indices of points that no other beats, by rising cost.

  A point is beaten by one that costs no more and scores no less, and is
  better in one of the two.
  """
  order = sorted(
    range(len(points)), key=lambda i: (points[i].cost, -points[i].score)
  )
  front: list[int] = []
  for i in order:
    last = points[front[-1]] if front else None
    same = last and (last.cost, last.score) == (points[i].cost, points[i].score)
    if last is None or points[i].score > last.score or same:
      front.append(i)
  return front


def scatter(points: Sequence[Point]) -> dict[str, Any]:
  """Scores over costs (logarithmic, at least 1) with the Pareto front.

  Returns:
    width, height, box, x_ticks, y_ticks, points [{x, y, front, ...}] and the
    front as a step line (`front`, an SVG path).
  """
  left, right, top, bottom = 56, _WIDTH - 20, 24, 300
  costs = np.log10([max(p.cost, 1.0) for p in points])
  scores = np.array([p.score for p in points])
  x_low, x_high = math.floor(costs.min()), math.ceil(costs.max())
  x_high = max(x_high, x_low + 1)
  pad = max(0.08 * float(np.ptp(scores)), 0.5)
  y_low, y_high = float(scores.min()) - pad, float(scores.max()) + pad

  def x_at(value):
    share = (value - x_low) / (x_high - x_low)
    return round(left + share * (right - left), 2)

  def y_at(value):
    share = (value - y_low) / (y_high - y_low)
    return round(bottom - share * (bottom - top), 2)

  front = pareto(points)
  places = [(x_at(costs[i]), y_at(scores[i])) for i in range(len(points))]
  line = ''
  for step, i in enumerate(front):
    x, y = places[i]
    line += f'M{x},{y}' if not step else f'H{x}V{y}'
  # Right of the middle a label ends at its point, so that it fits.
  ends = [x > (left + right) / 2 for x, _ in places]
  boxes = [
    _label_box(point.label, *place, end)
    for point, place, end in zip(points, places, ends)
  ]
  labels = _labelled(front, boxes, places)
  return {
    'width': _WIDTH,
    'height': bottom + 44,
    'box': {'left': left, 'right': right, 'top': top, 'bottom': bottom},
    'x_ticks': [
      {'x': x_at(t), 'text': _power(t)} for t in range(x_low, x_high + 1)
    ],
    'y_ticks': [{'y': y_at(t), 'text': f'{t:g}'} for t in ticks(y_low, y_high)],
    'front': line + (f'H{right}' if line else ''),
    'points': [
      {
        'x': places[i][0],
        'y': places[i][1],
        'front': i in set(front),
        'label': shorten(point.label) if i in labels else '',
        'ends': ends[i],
        'full': point.label,
        'cost': point.cost,
        'score': point.score,
      }
      for i, point in enumerate(points)
    ],
  }


def strip(values: Sequence[float], low: float, high: float) -> dict[str, Any]:
  """Points of the seeds on a short axis from low to high."""
  span = (high - low) or 1.0

  def at(value):
    return round(8 + 144 * (value - low) / span, 2)

  return {
    'width': 160,
    'height': 20,
    'points': [at(value) for value in values],
    'mean': at(float(np.mean(values))),
  }


def shorten(label: str) -> str:
  """A label that fits beside a bar."""
  return label if len(label) <= _LONGEST else label[: _LONGEST - 1] + '…'


def _labelled(front, boxes, places) -> set[int]:
  """Points whose labels cover no other label and no point, the front's first.

  Args:
    front: indices.
    boxes: (left, right, top, bottom) of every label.
    places: (x, y) of every point.
  """
  chosen: list[int] = []
  rest = [i for i in range(len(places)) if i not in set(front)]
  for i in [*reversed(front), *rest]:
    left, right, top, bottom = boxes[i]
    clear = all(
      right < boxes[j][0]
      or boxes[j][1] < left
      or bottom < boxes[j][2]
      or boxes[j][3] < top
      for j in chosen
    ) and not any(
      left - 5 < x < right + 5 and top - 5 < y < bottom + 5
      for j, (x, y) in enumerate(places)
      if j != i
    )
    if clear and len(chosen) < 20:
      chosen.append(i)
  return set(chosen)


def _label_box(label: str, x: float, y: float, ends: bool) -> tuple:
  """What a label above its point covers: left, right, top, bottom."""
  width = 7 * len(shorten(label))
  left = x + 6 - width if ends else x - 6
  return left, left + width, y - 19, y - 6


def _power(exponent: int) -> str:
  units = {0: '1', 3: '1k', 6: '1M', 9: '1G', 12: '1T'}
  base = exponent - exponent % 3
  if base not in units:
    return f'1e{exponent}'
  return '1' + '0' * (exponent % 3) + units[base][1:]
