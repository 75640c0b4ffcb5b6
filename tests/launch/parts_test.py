"""What benchmarks and miniatures share: rows of files, and verdicts."""

import json

import numpy as np
import pytest

from launch.benchmarks.parts import rows
from launch.miniatures.parts import verdict

ROWS = [{'name': 'a', 'ms': 1.5}, {'name': 'b', 'ms': 2.0}]


def test_rows_are_printed_and_kept(tmp_path, capsys):
  path = tmp_path / 'rows.json'
  assert rows.read(path) == rows.read(None) == []
  assert rows.collect(iter(ROWS), path) == ROWS
  assert capsys.readouterr().out == 'name=a ms=1.5\nname=b ms=2.0\n'
  assert rows.read(path) == ROWS
  assert path.read_text().endswith(']\n')
  assert rows.collect(ROWS, None, json.dumps) == ROWS
  assert json.loads(capsys.readouterr().out.splitlines()[1]) == ROWS[1]


def test_rows_that_came_before_a_failure_are_kept(tmp_path):
  def measure():
    yield ROWS[0]
    raise ValueError('out of memory')

  with pytest.raises(ValueError, match='out of memory'):
    rows.collect(measure(), tmp_path / 'rows.json')
  assert rows.read(tmp_path / 'rows.json') == ROWS[:1]


def test_rows_as_csv(tmp_path):
  rows.write(ROWS, tmp_path / 'rows.csv')
  lines = (tmp_path / 'rows.csv').read_text().splitlines()
  assert lines == ['name,ms', 'a,1.5', 'b,2.0']


@pytest.mark.parametrize(
  'value, sign, met',
  [
    (0.2, '<=', True),
    (0.21, '<=', False),
    (0.2, '>=', True),
    (0.2, '>', False),
    (np.float32(0.5), '>', True),
    (float('nan'), '<=', False),
    (float('nan'), '>=', False),
  ],
)
def test_a_bound(value, sign, met):
  assert verdict.Bound('error', value, sign, 0.2).met is met


def test_a_verdict_says_what_was_found_and_required(capsys):
  good = verdict.Bound('error', 0.12345, '<=', 0.2)
  bad = verdict.Bound('gap', np.float64(0.1), '>=', 0.15)
  assert verdict.say(good) is True
  assert capsys.readouterr().out.splitlines() == [
    '  required error: 0.1235 <= 0.2 ok',
    'required figures: reached',
  ]
  assert verdict.say(good, bad) is False
  assert capsys.readouterr().out.splitlines()[1:] == [
    '  required gap: 0.1 >= 0.15 MISSED',
    'required figures: MISSED',
  ]
  assert verdict.say() is False
