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

import csv
import dataclasses
import json
import pathlib
import sys

from absl import app, flags

from glue_jax.leaderboard.ranking import borda as ranks
from glue_jax.leaderboard.ranking import plots, ranking, robustness, score_table

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


def write(
  found: ranking.Ranking, table: score_table.ScoreTable, out: pathlib.Path
) -> None:
  """Writes ranking.csv, ranking.json, places.png and robustness.png."""
  out.mkdir(parents=True, exist_ok=True)
  record = dataclasses.asdict(found)
  (out / 'ranking.json').write_text(json.dumps(record, indent=2) + '\n')
  fields = [name for name, value in record.items() if isinstance(value, tuple)]
  with (out / 'ranking.csv').open('w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow([*fields])
    writer.writerows(zip(*(record[name] for name in fields)))
  plots.plot_places(found, out / 'places.png')
  borda = ranking.function(table, FLAGS.level, FLAGS.order)
  analyses = {'systems': robustness.fewer_systems}
  if len(table.tasks) > 1:
    analyses = {'tasks': robustness.fewer_tasks, **analyses}
  if table.by_instance:
    analyses['instances'] = robustness.fewer_instances
  curves = {
    name: {
      label: analysis(table.scores, rank, FLAGS.robustness_draws, FLAGS.seed)
      for label, rank in (('Borda', borda), ('mean', ranks.means))
    }
    for name, analysis in analyses.items()
  }
  plots.plot_robustness(curves, out / 'robustness.png')


def compare(table: score_table.ScoreTable) -> None:
  """Prints how far the first of two systems is ahead of the second.

  Raises:
    ValueError: not two systems, or see `ranking.compare`.
  """
  if len(FLAGS.compare) != 2 or not FLAGS.draws:
    raise ValueError(
      f'--compare={",".join(FLAGS.compare)} --draws={FLAGS.draws}: expected '
      'two systems, and draws'
    )
  first, second = FLAGS.compare
  found = ranking.compare(table, first, second, FLAGS.draws, FLAGS.seed)
  print(f'{first} - {second} (95 % of {FLAGS.draws} paired draws)')
  for name, gap in found.items():
    print(
      f'  {name}: {gap.value:.6g} ({gap.low:.6g} to {gap.high:.6g}), not '
      f'better in {100 * gap.not_better:.1f} %'
    )


def main(argv: list[str]) -> None:
  """Reads, ranks, prints, writes."""
  if len(argv) != 2:
    sys.exit(f'expected one file of scores, found {argv[1:]}\n\n{__doc__}')
  try:
    table = score_table.read(argv[1], FLAGS.columns, FLAGS.exclude, FLAGS.lower)
    found = ranking.rank(
      table,
      FLAGS.level,
      FLAGS.order,
      FLAGS.draws,
      FLAGS.seed,
      FLAGS.rank_incomplete,
    )
    print(ranking.text(found, FLAGS.rows))
    if FLAGS.compare:
      compare(table)
    if FLAGS.out:
      write(found, table, pathlib.Path(FLAGS.out))
      print(f'written to {FLAGS.out}')
  except (ValueError, OSError) as error:
    sys.exit(f'ERROR    {error}')


if __name__ == '__main__':
  define_flags()
  app.run(main)
