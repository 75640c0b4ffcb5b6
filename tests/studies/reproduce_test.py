"""Running a record again: places, reading figures, bands."""

import dataclasses
import json

import pytest

from glue_jax.studies import records, reproduce


def figure(value=0.5, read=None, **more):
  read = read or {'output': r'score ([\d.]+)'}
  return records.Figure('a', 'b', value, read, more.pop('band', {}), **more)


def record(command, *figures, smoke='', seeds=(0,)):
  return records.Record(
    'one', command, 'm', figures, seeds, None, None, None, None, smoke, ''
  )


def test_runs_compares_and_says_what_is_missing(tmp_path):
  places = {'out': str(tmp_path / 'a b')}
  echo = record('echo score 0.51 >{out}/x && cat {out}/x',
                figure(band={'within': 0.02}), smoke=' && ')  # fmt: skip
  done = reproduce.run(echo, places)
  assert (done.status, done.values) == ('inside', [[0.51]])
  far = dataclasses.replace(echo, figures=(figure(band={'within': 0.001}),))
  assert reproduce.run(far, places).status == 'outside'
  assert reproduce.run(far, places, smoke=True).status == 'inside'
  (row,) = reproduce.rows(far, reproduce.run(far, places))
  assert (row['recorded'], row['now'], row['within']) == ('0.5', '0.51', False)
  needs = record('cat {data_dir}/x {weights}', figure())
  missing = reproduce.run(needs, places)
  assert missing.status == 'not run'
  assert missing.reason == 'needs --data_dir, --weights'


def test_a_command_that_fails_or_gives_no_figure_is_no_success(tmp_path):
  places = {'out': str(tmp_path)}
  failed = reproduce.run(record('echo no luck; exit 3', figure()), places)
  assert failed.status == 'failed'
  assert failed.reason == 'exit status 3: no luck'
  silent = reproduce.run(record('echo nothing', figure()), places)
  assert silent.status == 'failed' and 'matches nothing' in silent.reason


def test_unknown_places_are_refused():
  with pytest.raises(ValueError, match=r"unknown places \['dta_dir'\]"):
    reproduce.needed(record('cat {dta_dir}', figure()))


@pytest.mark.parametrize(
  'band, values, holds',
  [
    ({}, [9.0], True),
    ({'within': 0.1}, [0.3, 0.75], True),
    ({'relative': 0.1}, [0.56], False),
    ({'at_least': 0.4}, [0.9, 0.39], False),
    ({'at_most': 0.6, 'at_least': 0.4}, [0.6, 0.4], True),
  ],
)
def test_bands(band, values, holds):
  assert reproduce.inside(figure(band=band), values) is holds
  assert not reproduce.inside(figure(band=band), None)


def test_reads_files(tmp_path):
  rows = [
    {'arm': 'a', 'id': {'rate': 0.9}, 'mb': 10, 'losses': [1.0, 2.0]},
    {'arm': 'b', 'id': {'rate': 0.5}, 'mb': 40, 'losses': [3.0]},
  ]
  (tmp_path / 'rows.json').write_text(json.dumps(rows))
  lines = ''.join(json.dumps(row) + '\n' for row in rows)
  (tmp_path / 'rows.jsonl').write_text(lines)
  (tmp_path / 'rows.csv').write_text('arm,mb\na,10\nb,40\n')
  for seed in (3, 4):
    path = tmp_path / f'seed_{seed}.json'
    path.write_text(json.dumps({'m': {'x': [seed, 7]}}))

  def read(file, key, **more):
    spec = {'file': '{out}/' + file, 'key': key} | more
    return reproduce.read(spec, {'out': str(tmp_path)}, (3, 4), '')

  for file in ('rows.json', 'rows.jsonl'):
    assert read(file, 'losses', where={'arm': 'a'}) == [1.0, 2.0]
    assert read(file, 'mb', where={'id': {'rate': 0.5}}, times=1e-3) == [0.04]
  over = {'where': {'arm': 'b'}, 'key': 'mb'}
  assert read('rows.csv', 'mb', where={'arm': 'a'}, over=over) == [0.25]
  assert read('seed_{seed}.json', 'm/x/0') == [3.0, 4.0]
  for file, key, where in (
    ('rows.json', 'gb', {'arm': 'a'}),
    ('rows.json', 'mb', {'arm': 'c'}),
    ('seed_3.json', 'm/x/5', {}),
  ):
    with pytest.raises(ValueError, match=f'no number at {key!r}'):
      read(file, key, where=where)


def test_reads_the_output():
  def read(spec):
    return reproduce.read(spec, {}, (), 'a 1\nb 2,000 3\nb 5 6\n')

  assert read({'output': r'^b ([\d,]+) (\d)'}) == [5.0, 6.0]
  assert read({'output': r'^b ([\d,]+) 3'}) == [2000.0]
  assert read({'output': r'^b', 'count': True}) == [2.0]


def test_names():
  one = record('true', figure())
  assert reproduce.chosen({'one': one}, []) == [one]
  with pytest.raises(ValueError, match=r"no records \['two'\]"):
    reproduce.chosen({'one': one}, ['two'])
