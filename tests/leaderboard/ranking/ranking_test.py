"""Tables of scores from files, and the ranking a person sees."""

import json
import subprocess
import sys

import numpy as np
import pytest

from glue_jax.leaderboard.ranking import ranking, score_table

RENDERS = True

CSV = """system,rte,mrpc,loss,Average
good,0.9,0.8,0.1,0.6
fair,0.7,0.7,0.2,0.5333
odd,0.95,,0.4,0.45
poor,0.5,0.6,0.3,0.4667
"""


@pytest.fixture
def write(tmp_path):
  def write(text, name='scores.csv'):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path

  return write


def test_wide_table(write, caplog):
  table = score_table.read(write(CSV), lower=['loss'])
  assert table.systems == ('good', 'fair', 'odd', 'poor')
  assert table.tasks == ('rte', 'mrpc', 'loss')
  assert "'Average' is named like an average" in caplog.text
  assert table.scores[2][:, 0].tolist() == [-0.1, -0.2, -0.4, -0.3]
  assert table.incomplete().tolist() == [False, False, True, False]


def test_a_mean_under_another_name_is_found(write, caplog):
  text = 'model,a,b,glue\nx,1,3,2.0\ny,5,8,6.5\nz,2,7,4.5\n'
  assert score_table.read(write(text)).tasks == ('a', 'b')
  assert "'glue' is the mean of the others" in caplog.text
  kept = score_table.read(write(text), columns=['a', 'b', 'glue'])
  assert kept.tasks == ('a', 'b', 'glue')
  assert 'and votes' in caplog.text
  assert score_table.read(write(text), exclude=['glue']).tasks == ('a', 'b')


def test_long_table_and_json_are_the_same(write):
  rng = np.random.default_rng(0)
  scores = {s: {'t': rng.random(3), 'u': rng.random(2)} for s in 'abc'}
  lines = ['system,task,instance,score'] + [
    f'{s},{t},{i},{float(v)!r}'
    for s, row in scores.items()
    for t, values in row.items()
    for i, v in enumerate(values)
  ]
  data = {
    s: {t: v.tolist() for t, v in row.items()} for s, row in scores.items()
  }
  long = score_table.read(write('\n'.join(lines)))
  plain = score_table.read(write(json.dumps(data), 'scores.json'))
  assert long.systems == plain.systems and long.tasks == plain.tasks
  assert long.by_instance
  for one, other in zip(long.scores, plain.scores):
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
  'text,message',
  [
    ('', 'empty'),
    ('system,a\nx,1\n', '1 system; a ranking needs at least two'),
    ('system\nx\ny\n', 'no column of scores'),
    ('system,a,a\nx,1,2\ny,1,2\n', r":1: columns \['a'\] occur more than once"),
    ('system,a\nx,1\ny,high\n', r":3: column 'a' holds 'high'"),
    ('system,a\nx,1\ny,1e999\n', r":3: column 'a' holds '1e999'"),
    ('system,a\nx,1\n\ny,1,2\n', ':4: 3 fields, but the header has 2'),
    ('system,a\nx,1\nx,2\n', ":3: system 'x' is already in line 2"),
    ('system,a,b\nx,1,1\ny,,\n', r"systems \['y'\] have no score"),
    (b'system,a\nx,1\n\xff,2\n', ':3: not UTF-8'),
    (
      'system,task,instance,score\nx,t,1,1\nx,t,1,2\n',
      ":3: system 'x', task 't', instance '1' is already in line 2",
    ),
  ],
)
def test_bad_tables_name_file_and_line(write, text, message):
  with pytest.raises(ValueError, match=r'scores\.csv.*' + message):
    score_table.read(write(text))


@pytest.mark.parametrize(
  'text,message',
  [
    ('{"a": {"t": 1},\n "b": }', r'json:2: Expecting value'),
    ('[1, 2]', 'expected {"system"'),
    ('{"a": {"t": "x"}, "b": {"t": 1}}', "system 'a', task 't'"),
    ('{"a": {"t": [1, 2]}, "b": {"t": 1}}', r'has \[1, 2\] instances'),
    ('{"a": {"t": 1}, "a": {"t": 2}}', ":1: key 'a' is given twice"),
  ],
)
def test_bad_json(write, text, message):
  with pytest.raises(ValueError, match=message):
    score_table.read(write(text, 'scores.json'))


def test_unknown_columns_and_missing_file(write, tmp_path):
  with pytest.raises(ValueError, match=r"no columns \['acc'\]; it has"):
    score_table.read(write(CSV), columns=['acc'])
  with pytest.raises(ValueError, match='no column of scores is left'):
    score_table.read(write('s,a\nx,1\ny,2\n'), exclude=['a'])
  with pytest.raises(FileNotFoundError, match='no such file'):
    score_table.read(tmp_path / 'none.csv')


def test_incomplete_systems_stand_below_the_line(write):
  table = score_table.read(write(CSV), lower=['loss'])
  ranked = ranking.rank(table, draws=50)
  assert ranked.systems == ('good', 'fair', 'poor', 'odd')
  assert ranked.place == (1, 2, 3, None)
  assert ranked.kemeny == (1, 2, 3, None) and ranked.kemeny_exact
  assert ranked.missing[-1] == ('mrpc',)
  assert ranked.interval[0] == (1, 1) and ranked.interval[-1] is None
  assert ranked.tau == pytest.approx(1)
  shown = ranking.text(ranked).splitlines()
  assert shown[4] == 'incomplete:' and shown[5].endswith('lacks mrpc')
  everyone = ranking.rank(table, draws=0, rank_incomplete=True)
  assert None not in everyone.place and set(everyone.interval) == {None}
  only = score_table.read(write('s,a,b\nx,1,2\ny,1,\nz,,1\n'))
  with pytest.raises(ValueError, match='1 systems have all scores'):
    ranking.rank(only)


@pytest.mark.parametrize('level', ['one', 'two'])
@pytest.mark.parametrize('order', ['metric_outer', 'instance_outer'])
def test_instances(write, level, order):
  rng = np.random.default_rng(0)
  data = {
    f'{q}': {t: (q + rng.normal(size=30)).tolist() for t in 'tu'}
    for q in (0, 1, 2)
  }
  table = score_table.read(write(json.dumps(data), 'scores.json'))
  ranked = ranking.rank(table, level, order, draws=100)
  assert ranked.systems == ('2', '1', '0')
  assert ranked.place == ranked.kemeny == ranked.mean_place == (1, 2, 3)
  assert all(
    low <= p <= high for (low, high), p in zip(ranked.interval, (1, 2, 3))
  )


def test_two_systems_are_compared_task_by_task(write):
  rng = np.random.default_rng(0)
  base = {t: rng.normal(size=40) for t in 'tu'}
  data = {
    'x': {t: (values + 1).tolist() for t, values in base.items()},
    'y': {t: values.tolist() for t, values in base.items()},
  }
  table = score_table.read(write(json.dumps(data), 'scores.json'))
  gaps = ranking.compare(table, 'x', 'y', draws=50)
  assert list(gaps) == ['t', 'u']
  for gap in gaps.values():
    assert gap.low == pytest.approx(1) and gap.high == pytest.approx(1)
    assert gap.not_better == 0
  plain = score_table.read(write(CSV), columns=['rte', 'mrpc'])
  gap = ranking.compare(plain, 'good', 'fair', draws=50)['tasks']
  assert gap.value == pytest.approx(0.15)
  assert gap.low == pytest.approx(0.1) and gap.high == pytest.approx(0.2)
  with pytest.raises(ValueError, match="no systems .'z'.; there are fair, goo"):
    ranking.compare(plain, 'good', 'z')
  with pytest.raises(ValueError, match='tasks: scores must be finite'):
    ranking.compare(plain, 'good', 'odd')


def test_command(write, tmp_path):
  command = [sys.executable, '-m', 'launch.rank', str(write(CSV))]
  out = tmp_path / 'out'
  done = subprocess.run(
    [*command, '--lower=loss', f'--out={out}', '--robustness_draws=3']
    + ['--compare=good,poor'],
    capture_output=True,
    text=True,
    check=True,
  )
  assert 'tau-b of mean and Borda: 1.0000' in done.stdout
  assert 'good - poor (95 % of 1000 paired draws)' in done.stdout
  names = {path.name for path in out.iterdir()}
  assert names == {
    'ranking.csv', 'ranking.json', 'places.png', 'robustness.png'
  }  # fmt: skip
  record = json.loads((out / 'ranking.json').read_text())
  assert record['place'] == [1, 2, 3, None]
  failed = subprocess.run(
    [*command, '--lower=los'], capture_output=True, text=True
  )
  assert failed.returncode == 2
  assert failed.stderr.splitlines()[-1].startswith('error: ')
