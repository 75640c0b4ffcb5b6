"""Runs the commands of measured figures again and compares.

  python -m launch.reproduce --list
  python -m launch.reproduce miniature-lamda miniature-dsir --out=OUT
  python -m launch.reproduce glue-rte --data_dir=DIR --weights=DIR
  python -m launch.reproduce --max_minutes=5
  python -m launch.reproduce --smoke
  python -m launch.reproduce --write

Figures are records: configs/records.json, and one file beside each of the other
pages. For every record the command is run, in OUT/<name>, and published,
recorded and new values are printed with the band that holds them. Exits 1 if a
figure is outside its band, a command fails, or a record that was named can't be
run. Finished records are kept in OUT/reproduced.json and not run again; what
they gave is held to the records as they are now.
--smoke runs each command with a few steps, only to see that it still runs;
--write makes the tables of all pages anew from the records.
"""

import dataclasses
import json
import os
import pathlib
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from glue_jax.reporting import files, tables
from glue_jax.studies import records, reproduce
from launch.cli import command

FLAGS = flags.FLAGS
KEPT = 'reproduced.json'
WIDTH = 80  # of the list, in columns


def define_flags() -> None:
  """Defines the flags of this command."""
  flags.DEFINE_bool('list', False, 'List every figure of every page.')
  flags.DEFINE_bool('smoke', False, 'Run each command with a few steps.')
  flags.DEFINE_bool('write', False, "Make the pages' tables anew.")
  flags.DEFINE_float('max_minutes', None, 'Leave out what takes longer.')
  flags.DEFINE_string('out', None, 'Folder of the runs; default: none kept.')
  for name, (variable, text) in reproduce.PLACES.items():
    if name != 'out':
      default = f'; default: {variable}' if variable else ''
      flags.DEFINE_string(name, None, f'{text}{default}.')


def main(argv: list[str]) -> int:
  """Lists, writes or runs; the exit status."""
  known = records.load()
  if FLAGS.write:
    write(known)
    return 0
  picked = reproduce.chosen(known, argv[1:])
  if FLAGS.list:
    listing(picked)
    return 0
  with tempfile.TemporaryDirectory() as folder:
    home = pathlib.Path(FLAGS.out or folder).absolute()
    return int(not again(picked, home, named=bool(argv[1:])))


def listing(picked: Sequence[records.Record]) -> None:
  """Prints every figure: record, row, column, value."""
  for record in picked:
    minutes = 'minutes not recorded'
    if record.minutes is not None:
      minutes = f'{record.minutes:g} min'
    print(f'{record.name} ({minutes})')
    print(textwrap.indent(textwrap.fill(record.measures, WIDTH - 2), '  '))
    for figure in record.figures:
      print(f'    {figure.row}; {figure.column}: {records.cell(figure)}')
  count = sum(len(record.figures) for record in picked)
  print(f'{len(picked)} records, {count} figures')


def write(known: Mapping[str, records.Record]) -> None:
  """Makes the tables of all pages anew."""
  for path in records.pages():
    old = path.read_text()
    new = records.rewritten(old, known)
    if new != old:
      files.replace_text(path, new)
      print(f'written: {path.relative_to(records.ROOT)}')


def places() -> dict[str, str]:
  """Returns the folders that the flags or the environment name."""
  known = {}
  for name, (variable, _) in reproduce.PLACES.items():
    value = FLAGS[name].value or os.environ.get(variable or '')
    if value:
      known[name] = str(pathlib.Path(value).absolute())
  return known


def again(
  picked: Sequence[records.Record], home: pathlib.Path, named: bool
) -> bool:
  """Runs records that aren't finished and prints all.

  Args:
    picked: in this order.
    home: folder of the runs, and of what is finished.
    named: whether they were asked for by name.

  Returns:
    whether none failed or is outside its bands, and all ran that were named.
  """
  path, known = home / KEPT, places()
  kept = json.loads(path.read_text()) if path.is_file() else {}
  counts: dict[str, int] = {}
  for record in picked:
    outcome = one(record, kept.get(record.name, {}), known, home)
    if outcome.status in ('inside', 'outside'):
      kept[record.name] = {
        'commands': _commands(record),
        'outcome': dataclasses.asdict(outcome),
      }
      home.mkdir(parents=True, exist_ok=True)
      files.replace_text(path, json.dumps(kept, indent=1) + '\n')
    show(record, outcome)
    counts[outcome.status] = counts.get(outcome.status, 0) + 1
  print(', '.join(f'{count} {status}' for status, count in counts.items()))
  bad = {'outside', 'failed'} | ({'not run'} if named else set())
  return not bad & set(counts)


def one(
  record: records.Record,
  kept: Mapping[str, Any],
  known: Mapping[str, str],
  home: pathlib.Path,
) -> reproduce.Outcome:
  """Runs a record, unless it is kept, or takes too long.

  Args:
    record: to be run.
    kept: 'commands' and 'outcome' of an earlier call, or nothing.
    known: {place: folder}.
    home: folder of the runs.
  """
  if kept.get('commands') == _commands(record):
    outcome = reproduce.Outcome(**kept['outcome'])
    if FLAGS.smoke:
      return outcome
    if len(outcome.values) == len(record.figures):
      return reproduce.judged(record, outcome.values, outcome.minutes)
  if FLAGS.max_minutes is not None and not FLAGS.smoke:
    if record.minutes is None:
      return reproduce.Outcome('not run', 'its minutes are not recorded')
    if record.minutes > FLAGS.max_minutes:
      return reproduce.Outcome('not run', f'takes {record.minutes:g} minutes')
  own = {**known, 'out': str(home / record.name)}
  return reproduce.run(record, own, FLAGS.smoke)


def show(record: records.Record, outcome: reproduce.Outcome) -> None:
  """Prints what came of a record, with its figures."""
  status = outcome.status
  if status in ('failed', 'not run'):
    status = f'{status}: {outcome.reason}'
  elif FLAGS.smoke:
    status = 'runs'
  print(f'{record.name}: {status} ({outcome.minutes:.1f} min)', flush=True)
  if outcome.values and not FLAGS.smoke:
    print(tables.results_table(reproduce.rows(record, outcome)), flush=True)


def _commands(record: records.Record) -> list[str]:
  return record.smoke_commands() if FLAGS.smoke else record.commands()


if __name__ == '__main__':
  command.run(__doc__, define_flags, main, arguments=True)
