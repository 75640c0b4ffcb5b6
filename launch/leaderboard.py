"""The leaderboard: contributions in, checked scores and a static site out.

  python -m launch.leaderboard gold --board=BOARD --tasks=rte,mrpc
  python -m launch.leaderboard contribute --board=BOARD --method=NAME \\
    --runs=runs/rte,runs/mrpc --authors='A. Name' --contact=a@example.org
  python -m launch.leaderboard check --board=BOARD DIR_OR_ZIP ...
  python -m launch.leaderboard score --board=BOARD [--method=NAME] \\
    [--compare=FIRST,SECOND]
  python -m launch.leaderboard build --board=BOARD --out=SITE
  python -m launch.leaderboard reproduce --board=BOARD --method=NAME \\
    --image=IMAGE --out=FOLDER --allow

BOARD holds registry.json, gold/ and contributions/<method>/. `gold` makes the
first two from the evaluation splits of known tasks; `contribute` takes
finished runs of launch.train with the predictions they left (launch.predict
--contribution writes one from a model). `check` prints one line a problem and
exits 1; `build` lists refused contributions, builds the others, and exits 1 if
there was one. `reproduce` runs a stranger's code in a container.
"""

import os
import pathlib

from absl import app, flags

from launch.cli import author_flags, command

# Command -> the flags that it needs.
COMMANDS = {
  'gold': ('board', 'tasks'),
  'contribute': ('board', 'method', 'runs'),
  'check': ('board',),
  'score': ('board',),
  'build': ('board', 'out'),
  'reproduce': ('board', 'method', 'image', 'out'),
}
FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of all commands."""
  text, names = flags.DEFINE_string, flags.DEFINE_list
  integer = flags.DEFINE_integer
  text('board', None, 'folder of the leaderboard')
  text('method', None, 'name of a contribution')
  text('out', None, 'build: folder of the site; reproduce: of its results')
  text('title', 'Leaderboard', 'build: heading of the site')
  text('cache', None, 'build, score: scores kept; default <board>/.cache')
  integer('jobs', os.cpu_count() or 1, 'build, score: processes', 1)
  names('tasks', [], 'gold: tasks of glue_jax.data.tasks.by_name')
  text('data_dir', None, 'gold: data folder; default $GLUE_JAX_DATA')
  names('compare', [], 'score: two methods')
  names('runs', [], 'contribute: folders of finished runs')
  text('stage', None, 'contribute: which stage; default every one')
  text('split', None, 'contribute: the split, where a run predicted several')
  author_flags.define()
  text('image', None, 'reproduce: a local container image')
  names('mounts', [], 'reproduce: INSIDE=HERE,... read-only, for data')
  integer('seconds', 3600, 'reproduce: limit of wall time', 1)
  integer('memory_mb', 8192, 'reproduce: limit of memory', 64)
  flags.DEFINE_bool('allow', False, "reproduce: run the stranger's code")


def gold(paths: list[str]) -> int:
  """Makes registry.json and the gold files."""
  from glue_jax.leaderboard import gold as gold_lib

  _none(paths)
  made = gold_lib.make(FLAGS.board, FLAGS.tasks, FLAGS.data_dir)
  for entry in made.tasks.values():
    print(f'{entry.name}: {entry.rows} rows, {", ".join(entry.metrics)}')
  return 0


def contribute(paths: list[str]) -> int:
  """Writes a contribution from finished runs and checks it."""
  from glue_jax.leaderboard.contribution import write

  _none(paths)
  folders = write.find_runs(FLAGS.runs, stage=FLAGS.stage)
  runs = [write.read_run(folder, FLAGS.split) for folder in folders]
  folder = pathlib.Path(FLAGS.board) / 'contributions' / FLAGS.method
  written = write.write(folder, runs, author_flags.author())
  print(f'{len(written)} files written to {folder}')
  return check([str(folder)])


def check(paths: list[str]) -> int:
  """Checks contributions; prints one line a problem."""
  from glue_jax.leaderboard import registry
  from glue_jax.leaderboard.contribution import check as check_lib

  if not paths:
    raise app.UsageError('check needs the folders or zips of contributions')
  tasks, count = registry.load(FLAGS.board), 0
  for path in paths:
    contribution = check_lib.read(path)
    if not contribution.problems:
      check_lib.load(contribution, tasks)
    count += len(contribution.problems)
    print(
      '\n'.join(contribution.problems)
      or f'{path}: ok, {len(contribution.files)} tasks'
    )
  return 1 if count else 0


def _evaluate(only: list[str]) -> object:
  from glue_jax.leaderboard import board

  cache = FLAGS.cache or str(pathlib.Path(FLAGS.board) / '.cache')
  evaluated = board.evaluate(FLAGS.board, cache, FLAGS.jobs, only=only)
  for name, problems in evaluated.refused.items():
    print(f'refused {name}:')
    print('\n'.join(f'  {line}' for line in problems))
  return evaluated


def score(paths: list[str]) -> int:
  """Prints the scores of all or some methods, or compares two."""
  from glue_jax.leaderboard import scoring
  from glue_jax.leaderboard.site import pages
  from glue_jax.reporting.tables import results_table

  _none(paths)
  if FLAGS.compare and len(FLAGS.compare) != 2:
    raise app.UsageError('--compare takes two methods: FIRST,SECOND')
  only = FLAGS.compare or ([FLAGS.method] if FLAGS.method else [])
  evaluated = _evaluate(only)
  rows = []
  if FLAGS.compare and not evaluated.refused:
    first, second = (evaluated.methods[name].cells for name in FLAGS.compare)
    for task in [t for t in evaluated.tasks if t in first and t in second]:
      one = scoring.compare(first[task], second[task])
      rows.append({'task': task, 'metric': first[task].primary, **vars(one)})
  for method in () if FLAGS.compare else evaluated.methods.values():
    for task, cell in method.cells.items():
      for metric in cell.values:
        row = {'method': method.name, 'task': task, 'metric': metric}
        row['score'] = pages.shown(metric, cell.mean(metric))
        row['sd'] = pages.shown(metric, cell.sd(metric))
        row['seeds'] = len(cell.seeds)
        rows.append(row)
  print(results_table(rows) if rows else 'nothing scored')
  for method in () if only else evaluated.methods.values():
    for average in method.averages.values():
      value = f'{100 * average.value:.2f}'
      print(f'{method.name}: {value} {average.convention}')
  return 1 if evaluated.refused else 0


def build(paths: list[str]) -> int:
  """Scores everything and writes the site."""
  from glue_jax.leaderboard.site import site

  _none(paths)
  site.environment()  # a missing jinja2 is told before the work
  evaluated = _evaluate([])
  counts = site.write(evaluated, FLAGS.out, FLAGS.title)
  print(
    f'{len(evaluated.methods)} methods ({len(evaluated.scored)} scored now), '
    f'{len(evaluated.refused)} refused; {counts["written"]} files written, '
    f'{counts["kept"]} kept, {counts["removed"]} removed: '
    f'{pathlib.Path(FLAGS.out) / "index.html"}'
  )
  return 1 if evaluated.refused else 0


def reproduce(paths: list[str]) -> int:
  """Runs a contribution's run.sh in a container."""
  from glue_jax.leaderboard import safety
  from glue_jax.leaderboard.contribution import reproduce as reproduce_lib

  _none(paths)
  pairs = [p.split('=', 1) for p in FLAGS.mounts]
  if any(len(pair) != 2 for pair in pairs):
    raise app.UsageError('--mounts takes INSIDE=HERE,...')
  container = reproduce_lib.Container(
    FLAGS.image, FLAGS.seconds, FLAGS.memory_mb
  )
  method = safety.check_name(FLAGS.method, '--method')
  folder = pathlib.Path(FLAGS.board) / 'contributions' / method
  return reproduce_lib.run(
    container, folder, FLAGS.out, dict(pairs), FLAGS.allow
  )


def _none(paths: list[str]) -> None:
  if paths:
    raise app.UsageError(f'unexpected arguments {paths}; flags need --')


def main(argv: list[str]) -> int:
  """Runs the command named by the first argument; returns the exit status."""
  return globals()[command.choose(argv, COMMANDS)](argv[2:])


if __name__ == '__main__':
  command.run(__doc__, define_flags, main, arguments=True)
