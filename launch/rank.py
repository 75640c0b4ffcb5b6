"""Ranks systems by consensus: `python -m launch.rank scores.csv [--flags]`.

  python -m launch.rank scores.csv --out=runs/rank
  python -m launch.rank scores.csv --lower=perplexity --exclude=notes
  python -m launch.rank instances.csv --level=one --compare=FIRST,SECOND

scores.csv: `system,task1,task2,...`, or `system,task,instance,score`, or JSON
{"system": {"task": number or [numbers]}}. Prints places by Borda count with
bootstrap intervals, by Kemeny, and by the mean, and their agreement; with
--compare the difference of two systems too, with its 95% interval. --out also
gets ranking.csv, ranking.json, places.png and robustness.png.
"""

import pathlib

from absl import app, flags

from launch.cli import command

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this command."""
  names = flags.DEFINE_list
  names('columns', [], 'tasks that vote; default: all but averages')
  names('exclude', [], 'columns to leave out')
  names('lower', [], 'columns where lower is better (loss, perplexity)')
  names('compare', [], 'two systems, for a paired bootstrap as well')
  flags.DEFINE_enum(
    'level', 'two', ['one', 'two'], 'one vote an instance, or a task'
  )
  flags.DEFINE_enum(
    'order',
    'metric_outer',
    ['metric_outer', 'instance_outer'],
    'two levels: what the outer voters are',
  )
  flags.DEFINE_bool(
    'rank_incomplete', False, 'also place systems that lack scores'
  )
  flags.DEFINE_integer('draws', 1000, 'bootstrap draws of the places')
  flags.DEFINE_integer(
    'robustness_draws', 50, 'draws of the robustness curves (with --out)'
  )
  flags.DEFINE_integer('seed', 0, 'of all draws')
  flags.DEFINE_integer('rows', None, 'systems to print; default: all')
  flags.DEFINE_string('out', None, 'folder for tables and pictures')


def main(argv: list[str]) -> None:
  """Reads, ranks, prints, writes."""
  if len(argv) != 2:
    raise app.UsageError(f'expected one file of scores, found {argv[1:]}')
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.leaderboard.ranking import ranking, score_table, write

  table = score_table.read(argv[1], FLAGS.columns, FLAGS.exclude, FLAGS.lower)
  places = ranking.rank(
    table,
    FLAGS.level,
    FLAGS.order,
    FLAGS.draws,
    FLAGS.seed,
    FLAGS.rank_incomplete,
  )
  print(ranking.text(places, FLAGS.rows))
  if FLAGS.compare:
    print(compare(table))
  if FLAGS.out:
    write.write(
      places,
      table,
      pathlib.Path(FLAGS.out),
      FLAGS.level,
      FLAGS.order,
      FLAGS.robustness_draws,
      FLAGS.seed,
    )
    print(f'written to {FLAGS.out}')


def compare(table: object) -> str:
  """Says how far the first of two systems is ahead of the second.

  Args:
    table: `score_table.ScoreTable`.

  Raises:
    ValueError: not two systems, or see `ranking.compare`.
  """
  from glue_jax.leaderboard.ranking import ranking

  if len(FLAGS.compare) != 2 or not FLAGS.draws:
    raise ValueError(
      f'--compare={",".join(FLAGS.compare)} --draws={FLAGS.draws}: expected '
      'two systems, and draws'
    )
  first, second = FLAGS.compare
  gaps = ranking.compare(table, first, second, FLAGS.draws, FLAGS.seed)
  lines = [f'{first} - {second} (95 % of {FLAGS.draws} paired draws)']
  for name, gap in gaps.items():
    lines.append(
      f'  {name}: {gap.value:.6g} ({gap.low:.6g} to {gap.high:.6g}), not '
      f'better in {100 * gap.not_better:.1f} %'
    )
  return '\n'.join(lines)


if __name__ == '__main__':
  command.run(__doc__, define_flags, main, arguments=True)
