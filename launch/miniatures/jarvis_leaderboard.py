"""Every score on a site is recomputed: 3 methods x 4 tasks x 3 seeds.

Invents a leaderboard with known accuracies, builds its site, reads the HTML
and compares every shown score, spread, place and comparison with numbers
computed apart from it (numpy on the files alone). Then one row of one file of
predictions is changed: exactly the cells that depend on it may change.

  python -m launch.miniature jarvis-leaderboard

Required: 100 % of the cells are equal to the precision shown, before and after
the change, and no other cell of the site changes.
"""

import json
import pathlib
import tempfile

from absl import flags

from glue_jax.leaderboard import board
from glue_jax.leaderboard.site import site
from glue_jax.reporting.tables import results_table
from launch.miniatures.parts import invented_board, site_cells, verdict

TAMPERED = 'contributions/method-1/task-1/seeds/2/predictions.jsonl'


def define_flags() -> None:
  """The flags of this miniature."""
  flags.DEFINE_string('workdir', None, 'Keeps the leaderboard and its site.')
  flags.DEFINE_integer('rows', 60, 'Examples of each task.')


def build(folder: pathlib.Path) -> site_cells.Cells:
  """Builds `<folder>/site` from `<folder>/board` and reads its tables."""
  evaluated = board.evaluate(folder / 'board', folder / 'cache')
  if evaluated.refused:
    raise ValueError(f'refused: {evaluated.refused}')
  site.write(evaluated, folder / 'site')
  return site_cells.read(folder / 'site')


def tamper(path: pathlib.Path) -> None:
  """Changes the answer in the first row of a file of predictions."""
  first, *rest = path.read_text().splitlines()
  row = json.loads(first)
  row['prediction'] = 'no' if row['prediction'] == 'yes' else 'yes'
  path.write_text('\n'.join([json.dumps(row), *rest]) + '\n')


def known_accuracies(folder: pathlib.Path, cells: site_cells.Cells) -> bool:
  """Whether accuracies are those that the methods were invented with."""
  data = site_cells.load(folder / 'board')
  for task in data['tasks']:
    if 'accuracy' in task['metrics']:
      for (method, name), runs in data['runs'].items():
        if name == task['name']:
          n = len(data['gold'][name])
          number = int(method.rpartition('-')[2])
          methods = len({method for method, _ in data['runs']})
          wrong = [
            invented_board.wrong(n, number, methods, seed)
            for seed in range(len(runs))
          ]
          texts = [f'{k}: {100 * (n - w) / n:.2f}' for k, w in enumerate(wrong)]
          key = (f'methods/{method}.html', 'table-scores', f'{name} accuracy')
          if cells[*key, 'Seeds'] != ', '.join(texts):
            return False
  return True


def run(folder: pathlib.Path, rows: int) -> bool:
  """Runs both halves and prints the table; whether all figures are reached.

  Args:
    folder: new; gets the leaderboard and its site.
    rows: examples of each task.
  """
  invented_board.make(folder / 'board', rows=rows)
  before, wanted = build(folder), site_cells.expected(folder / 'board')
  known = known_accuracies(folder, before)
  tamper(folder / 'board' / TAMPERED)
  after, then = build(folder), site_cells.expected(folder / 'board')
  table = []
  for name, shown, right in (
    ('as invented', before, wanted),
    ('one row changed', after, then),
  ):
    equal = sum(shown.get(key) == text for key, text in right.items())
    table.append({'site': name, 'cells': len(right), 'equal': equal})
  changed = {key for key in before | after if before.get(key) != after.get(key)}
  should = {key for key in wanted if wanted[key] != then[key]}
  # Confusion matrices of what was changed are not computed apart.
  pages = ('methods/method-1.html', 'tasks/task-1.html')
  derived = {
    key for key in changed if key[0] in pages and key[1].startswith('confusion')
  }
  stray = changed - should - derived
  print(results_table(table))
  print(
    f'{len(changed)} of {len(after)} cells of the site changed, '
    f'{len(should)} had to, {len(derived)} are counts of its confusion matrix, '
    f'{len(stray)} others; accuracies as invented: {known}'
  )
  for key in sorted(stray):
    print(f'  {key}: {before.get(key)!r} -> {after.get(key)!r}')
  for row, (shown, right) in zip(table, ((before, wanted), (after, then))):
    for key, text in right.items():
      if shown.get(key) != text:
        print(f'  {row["site"]}: {key}: {shown.get(key)!r}, computed {text!r}')
  wrong = sum(row['cells'] - row['equal'] for row in table)
  return verdict.say(
    verdict.Bound('cells that differ', wrong, '<=', 0),
    verdict.Bound('accuracies as invented', known, '>=', 1),
    verdict.Bound('cells that had to change', len(should), '>=', 1),
    verdict.Bound('of them unchanged', len(should - changed), '<=', 0),
    verdict.Bound('other cells that changed', len(stray), '<=', 0),
  )


def main(argv: list[str]) -> bool:
  """Runs the miniature; returns whether every figure was reached."""
  del argv
  if flags.FLAGS.workdir:
    return run(pathlib.Path(flags.FLAGS.workdir), flags.FLAGS.rows)
  with tempfile.TemporaryDirectory() as folder:
    return run(pathlib.Path(folder), flags.FLAGS.rows)
