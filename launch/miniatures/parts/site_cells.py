"""What a leaderboard's site shows, read from its HTML; and what it should.

The second half computes every shown number from the files of predictions and
gold with numpy alone: no code of glue_jax takes part.
"""

import html.parser
import itertools
import json
import math
import pathlib
from typing import Any

import numpy as np

Cells = dict[tuple[str, str, str, str], str]


class _Tables(html.parser.HTMLParser):
  """Collects the text of all cells of all tables: (table, [row of texts])."""

  def __init__(self):
    super().__init__()
    self.tables: list[tuple[str, list[list[str]]]] = []
    self._text: list[str] | None = None

  def handle_starttag(self, tag, attrs):
    if tag == 'table':
      named = dict(attrs).get('id', f'confusion-{len(self.tables)}')
      self.tables.append((named, []))
    elif tag == 'tr':
      self.tables[-1][1].append([])
    elif tag in ('td', 'th'):
      self._text = []

  def handle_endtag(self, tag):
    if tag in ('td', 'th') and self._text is not None:
      self.tables[-1][1][-1].append(' '.join(''.join(self._text).split()))
      self._text = None

  def handle_data(self, data):
    if self._text is not None:
      self._text.append(data)


def read(site: pathlib.Path) -> Cells:
  """Returns {(page, table, row, column): text} of every table of the site.

  A row is named by its first cell, or by its first two on a method's page
  (task and metric) and on a task's page (place and method).
  """
  cells: Cells = {}
  for path in sorted(site.rglob('*.html')):
    page = path.relative_to(site).as_posix()
    parser = _Tables()
    parser.feed(path.read_text())
    for name, (head, *rows) in parser.tables:
      for row in rows:
        key = row[1] if head[0] == 'Place' else row[0]
        if name == 'table-scores':
          key = f'{row[0]} {row[1]}'
        for column, text in zip(head, row):
          cells[page, name, key, column] = text
  return cells


def _ranks(x):
  return np.array([np.sum(x < v) + (np.sum(x == v) + 1) / 2 for v in x])


def _pearson(p, g):
  return float(np.corrcoef(p, g)[0, 1]) if np.ptp(p) * np.ptp(g) else 0.0


def _matthews(p, g):
  names = sorted({*p, *g})

  def one_hot(x):
    return np.array([[v == n for n in names] for v in x], float)

  x, y = one_hot(p), one_hot(g)

  def cov(a, b):
    return float(((a - a.mean(0)) * (b - b.mean(0))).sum())

  below = cov(x, x) * cov(y, y)
  return cov(x, y) / math.sqrt(below) if below > 1e-12 else 0.0


def _f1(p, g):
  both = np.sum((p == 'yes') & (g == 'yes'))
  return float(2 * both / max(1, np.sum(p == 'yes') + np.sum(g == 'yes')))


METRICS = {
  'accuracy': lambda p, g: float(np.mean(p == g)),
  'f1': _f1,
  'matthews': _matthews,
  'pearson': _pearson,
  'spearman': lambda p, g: _pearson(_ranks(p), _ranks(g)),
}


def _draws(metric, runs, gold):
  """The metric of each of 1000 drawn test sets, mean over seeds."""
  rng = np.random.default_rng(0)
  sets = [rng.integers(0, len(gold), len(gold)) for _ in range(1000)]
  each = [[METRICS[metric](p[s], gold[s]) for s in sets] for p in runs]
  return np.mean(each, axis=0)


def _mcnemar(first, second, gold):
  a = int(np.sum((first == gold) & (second != gold)))
  b = int(np.sum((first != gold) & (second == gold)))
  if not a + b:
    return 1.0
  tail = sum(math.comb(a + b, k) for k in range(min(a, b) + 1))
  return min(1.0, 2 * tail / 2 ** (a + b))


def load(board: pathlib.Path) -> dict[str, Any]:
  """Tasks, gold and predictions of a leaderboard, read as plain JSON."""

  def lines(path):
    return list(map(json.loads, path.read_text().splitlines()))

  tasks = json.loads((board / 'registry.json').read_text())['tasks']
  gold, runs = {}, {}
  for task in tasks:
    rows = lines(board / task['gold'])
    gold[task['name']] = np.array([row['label'] for row in rows])
    order = {row['idx']: i for i, row in enumerate(rows)}
    for path in sorted(board.glob(f'contributions/*/{task["name"]}/seeds/*/*')):
      method = path.relative_to(board).parts[1]
      answers: list[Any] = [None] * len(order)
      for row in lines(path):
        answers[order[row['idx']]] = row['prediction']
      runs.setdefault((method, task['name']), []).append(np.array(answers))
  return {'tasks': tasks, 'gold': gold, 'runs': runs}


def _places(scores):
  """Borda and Kemeny places of (methods, tasks) scores; trying every order."""
  counts = np.sum([_ranks(column) for column in scores.T], axis=0)
  borda = [1 + int(np.sum(counts > c)) for c in counts]

  def cost(order):
    return sum(
      int(np.sum(scores[b] > scores[a]))
      for i, a in enumerate(order)
      for b in order[i + 1 :]
    )

  orders = sorted(itertools.permutations(range(len(scores))), key=cost)
  kemeny = [orders[0].index(i) + 1 for i in range(len(scores))]
  ties = sum(cost(order) == cost(orders[0]) for order in orders)
  return borda, kemeny if ties == 1 else None


def _shown(value):
  return f'{100 * value:.2f}'


def expected(board: pathlib.Path) -> Cells:
  """Returns the cells with scores that the site should have, as `read`."""
  data = load(board)
  cells: Cells = {}
  methods = sorted({method for method, _ in data['runs']})
  means = {}
  for task in data['tasks']:
    name, primary = task['name'], task['primary']
    gold = data['gold'][name]
    values = {
      (m, metric): [METRICS[metric](p, gold) for p in data['runs'][m, name]]
      for m in methods
      for metric in task['metrics']
    }
    means[name] = {m: float(np.mean(values[m, primary])) for m in methods}
    draws = {m: _draws(primary, data['runs'][m, name], gold) for m in methods}
    order = sorted(methods, key=lambda m: (-means[name][m], m))
    best, page = order[0], f'tasks/{name}.html'
    for m in methods:
      place = 1 + sum(means[name][o] > means[name][m] for o in methods)
      with_sd = {
        metric: f'{_shown(np.mean(values[m, metric]))} '
        f'± {_shown(np.std(values[m, metric], ddof=1))}'
        for metric in task['metrics']
      }
      cells['index.html', 'table-methods', m, name] = with_sd[primary]
      row = {'Place': str(place), **with_sd}
      row |= _compared(data, task, m, best, means[name], draws)
      for column, text in row.items():
        cells[page, 'table-methods', m, column] = text
      low, high = np.percentile(draws[m], [2.5, 97.5])
      interval = f'{_shown(low)} – {_shown(high)}'
      for metric in task['metrics']:
        first = metric == primary
        one = values[m, metric]
        row = {
          'Score': _shown(np.mean(one)),
          'Sample sd': _shown(np.std(one, ddof=1)),
          'Seeds': ', '.join(f'{i}: {_shown(v)}' for i, v in enumerate(one)),
          '95% interval': interval if first else '',
          'Place': str(place) if first else '',
        }
        for column, text in row.items():
          page_of_method = f'methods/{m}.html'
          cells[page_of_method, 'table-scores', f'{name} {metric}', column] = (
            text
          )
    cells['index.html', 'table-tasks', name, 'Best method'] = best
    shown = cells['index.html', 'table-methods', best, name]
    cells['index.html', 'table-tasks', name, 'Best score'] = shown
  scores = np.array([[means[t][m] for t in means] for m in methods])
  borda, kemeny = _places(scores)
  for i, m in enumerate(methods):
    cells['index.html', 'table-methods', m, 'Borda'] = str(borda[i])
    cells['index.html', 'table-methods', m, 'Mean'] = _shown(scores[i].mean())
    if kemeny:
      cells['index.html', 'table-methods', m, 'Kemeny'] = str(kemeny[i])
  return cells


def _compared(data, task, method, best, means, draws) -> dict[str, str]:
  """Cells of the comparison with the best method of a task."""
  name, classes = task['name'], task['kind'] != 'regression'
  if method == best:
    return {'To the best': 'best'} | ({'McNemar p': '–'} if classes else {})
  low, high = np.percentile(draws[method] - draws[best], [2.5, 97.5])
  difference = _shown(means[method] - means[best])
  row = {'To the best': f'{difference} [{_shown(low)}, {_shown(high)}]'}
  if classes:
    first, second = (data['runs'][m, name][0] for m in (method, best))
    row['McNemar p'] = f'{_mcnemar(first, second, data["gold"][name]):.2g}'
  return row
