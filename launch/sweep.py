"""Runs `launch.train` over config fields and seeds, and ranks the cells.

  python -m launch.sweep --config=configs/glue.py:rte --workdir=runs/sweep \\
    --grid optimizer.lr=1e-5,3e-5 --grid train.epochs=3,10 --seeds=0,1,2
  python -m launch.sweep --config=configs/glue.py:rte --workdir=runs/sweep \\
    --random optimizer.lr=log:1e-5:1e-3 --trials=20 --jobs=2

Finished cells are skipped, so a stopped sweep goes on by typing the command
again, and a wider one runs only what is new. The table of all cells, best
first, is printed and written to `<workdir>/sweep.csv`. On a cluster, `--list`
prints the cells, and an array runs one each:

  sbatch --array=0-11 ... --wrap 'python -m launch.sweep <the same flags> \\
    --cell=$SLURM_ARRAY_TASK_ID'

The two-step protocol: a search with TPE and median pruning (optuna, the extra
`search`), then the best point again with k seeds; mean and sample standard
deviation on the test split, and a leaderboard submission:

  python -m launch.sweep --config=configs/suites/lepiszcze.py:polemo2 \\
    --workdir=runs/polemo2 --sampler=tpe --trials=100 --retrain=5

Its space is --random, or else SPACE or space(argument) of the config file.
Trials run one after another; a search that was stopped goes on by typing the
command again.

Exits 1 if a cell failed; the others are run all the same. Exits 143 if it was
stopped, as launch.train does.
"""

import pathlib
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from launch.cli import command, config_flag, sweep_flags

if TYPE_CHECKING:
  from glue_jax.studies import runner as runner_lib
  from glue_jax.studies import sweep

FLAGS = flags.FLAGS
# What only --sampler=tpe reads.
TPE_FLAGS = ('pruner_warmup', 'objective', 'search_split', 'retrain') + (
  'score_split', 'model_name',
)  # fmt: skip


def define_flags() -> None:
  """The flags of this command."""
  config_flag.define()
  flags.DEFINE_string('workdir', None, 'Each cell gets a folder in here.')
  flags.DEFINE_multi_string('grid', [], 'field=v1,v2,...; may be repeated.')
  flags.DEFINE_multi_string(
    'random',
    [],
    'field=uniform:low:high, log:low:high, int:low:high or choice:a,b,c.',
  )
  flags.DEFINE_integer('trials', None, 'Points drawn from --random.')
  flags.DEFINE_integer(
    'random_seed', None, 'Seed of the drawn points: 0, or 441 with tpe.'
  )
  flags.DEFINE_list('seeds', [], 'One cell for each of these config.seeds.')
  flags.DEFINE_integer('jobs', 1, 'Cells run at a time on this machine.')
  flags.DEFINE_enum('sampler', 'random', ['random', 'tpe'], 'How points arise.')
  flags.DEFINE_integer('pruner_warmup', 25, 'tpe: evaluations never pruned.')
  flags.DEFINE_string('objective', None, "tpe: metric; None = the task's.")
  flags.DEFINE_string('search_split', 'validation', 'tpe: split searched on.')
  flags.DEFINE_integer('retrain', 0, 'tpe: runs of the best point.')
  flags.DEFINE_string('score_split', 'test', 'tpe: split that scores them.')
  flags.DEFINE_string('model_name', None, 'tpe: encoder, in the submission.')
  flags.DEFINE_integer('cell', None, 'Run only this one, for a cluster array.')
  flags.DEFINE_bool('list', False, 'Print the table and commands; run nothing.')
  flags.mark_flags_as_required(['config', 'workdir'])


def main(argv: list[str]) -> int:
  """Runs the sweep; returns the exit code."""
  del argv
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.reporting import tables
  from glue_jax.studies import runner as runner_lib
  from glue_jax.studies import sweep

  flag = FLAGS['config']
  base = [f'--config={flag.file}', *sweep_flags.as_flags(flag.given)]
  if FLAGS.sampler == 'tpe':
    return search_and_retrain(base)
  cells = cells_from_flags(base)
  runner = new_runner(base)
  workdir = runner.workdir
  if FLAGS.list:
    for cell in cells:
      print(f'{cell.index}: {shlex.join(runner.command(cell))}')
    print(runner_lib.report(cells, workdir, set()))
    return 0
  chosen = cells if FLAGS.cell is None else [cells[FLAGS.cell]]
  state = {c.index: sweep.read_cell(c, workdir)['state'] for c in chosen}
  running = [number for number, name in state.items() if name == 'running']
  todo = [c for c in chosen if state[c.index] not in ('done', 'running')]
  before = len(chosen) - len(todo) - len(running)
  print(f'{len(chosen)} cells, {before} finished before')
  if running:
    print(f'cells {running} are run by other processes, and left to them')
  codes = runner.run_all(todo, FLAGS.jobs)
  failed = {index for index, code in codes.items() if code != 0}
  if runner.stopped:
    failed = set()
  if FLAGS.cell is None:
    print(runner_lib.report(cells, workdir, failed))
  else:  # the array's other cells run now, so this is no table of all
    print(tables.table([sweep.read_cell(chosen[0], workdir)]))
  if runner.stopped:
    print('stopped; start the same command again to go on')
    return command.INTERRUPTED
  if failed:
    print(f'{len(failed)} of {len(chosen)} cells not done: {sorted(failed)}')
  return 1 if failed or running else 0


def new_runner(base: Sequence[str]) -> 'runner_lib.Runner':
  """Makes the sweep's folder and what runs cells in it, SIGTERM passed on.

  Args:
    base: arguments that all cells share.
  """
  from glue_jax.studies import runner as runner_lib

  workdir = pathlib.Path(FLAGS.workdir)
  workdir.mkdir(parents=True, exist_ok=True)

  def of_cell(cell):
    return [
      *(sys.executable, '-m', 'launch.train'),
      *base,
      *sweep_flags.as_flags(cell.overrides),
      f'--workdir={workdir / cell.name}',
    ]

  runner = runner_lib.Runner(workdir, of_cell)
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, runner.stop)
  return runner


def cells_from_flags(base: Sequence[str]) -> 'list[sweep.Cell]':
  """Returns the cells that the flags describe, each checked.

  Raises:
    ValueError: malformed flags, or a field that the config doesn't have.
  """
  from glue_jax.studies import sweep

  given = [f'--{name}' for name in TPE_FLAGS if FLAGS[name].present]
  if given:
    raise ValueError(f'{", ".join(given)}: only with --sampler=tpe')
  if bool(FLAGS.random) != bool(FLAGS.trials):
    raise ValueError('--random and --trials=N go together; one is missing')
  points = sweep.draw(
    sweep.parse_random(FLAGS.random), FLAGS.trials or 0, FLAGS.random_seed or 0
  )
  cells = sweep.cells(
    ' '.join(base),
    sweep.parse_grid(FLAGS.grid),
    points,
    sweep.seed_list(FLAGS.seeds),
  )
  for cell in cells:
    sweep_flags.check(base, cell.overrides)
  if FLAGS.cell is not None and not 0 <= FLAGS.cell < len(cells):
    raise ValueError(f'--cell={FLAGS.cell}: there are 0 to {len(cells) - 1}')
  return cells


def search_and_retrain(base: Sequence[str]) -> int:
  """Runs the two-step protocol; returns the exit code.

  Raises:
    ValueError: flags that do not go together, or a point of the space that the
      config doesn't have.
    ImportError: optuna is missing.
  """
  from glue_jax.studies import sweep

  refused = FLAGS.grid, FLAGS.seeds, FLAGS.cell is not None, FLAGS.list
  if any(refused) or FLAGS.jobs != 1:
    raise ValueError(
      '--sampler=tpe draws a trial from those before it: no --grid, --seeds, '
      '--cell, --list or --jobs; --retrain=K gives K seeds'
    )
  if not FLAGS.trials:
    raise ValueError('--sampler=tpe needs --trials=N')
  space = sweep.parse_random(FLAGS.random or sweep_flags.space(base[0]))
  config = sweep_flags.check(base)
  for field, (kind, values) in space.items():
    for value in values:
      text = value if kind == 'choice' else str(value)
      sweep_flags.check(base, ((field, text),))
  from glue_jax.studies import tpe, two_step

  runner = new_runner(base)
  seed = 441 if FLAGS.random_seed is None else FLAGS.random_seed
  protocol = two_step.Protocol(
    config, runner.workdir, ' '.join(base), runner.run, FLAGS.search_split
  )
  study = tpe.Study(
    space, protocol.direction, seed, warmup_steps=FLAGS.pruner_warmup
  )
  try:
    best = protocol.search(study, FLAGS.trials, FLAGS.objective)
    if not FLAGS.retrain:
      return 0
    return protocol.retrain(
      best, FLAGS.retrain, FLAGS.score_split, FLAGS.model_name
    )
  except two_step.Stopped as stopped:
    print(f'{stopped}; start the same command again to go on')
    return command.INTERRUPTED


if __name__ == '__main__':
  command.run(__doc__, define_flags, main)
