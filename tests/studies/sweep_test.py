"""Sweeps: cells, ranking, and the command with a stand-in for launch.train."""

import csv
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glue_jax.studies import sweep
from glue_jax.training import lock

ROOT = pathlib.Path(__file__).parents[2]

CONFIG = """
import ml_collections


def get_config(arg='rte'):
  return ml_collections.ConfigDict(
    dict(
      task=dict(name=arg),
      model=dict(name='bert', preset='tiny'),
      optimizer=dict(lr=1e-3, name='adamw'),
      train=dict(epochs=1),
      seeds=(0,),
    )
  )
"""

# Scores lr * epochs + seed, fails at lr=666, sleeps at lr=60.
TRAIN = """
import json, pathlib, sys, time
from absl import app, flags
from ml_collections import config_flags

config = config_flags.DEFINE_config_file('config')
workdir = flags.DEFINE_string('workdir', None, '')


def main(argv):
  folder, c = pathlib.Path(workdir.value), config.value
  folder.mkdir(parents=True, exist_ok=True)
  with (folder / 'starts').open('a') as file:
    file.write(json.dumps(c.to_dict()) + '\\n')
  if c.optimizer.lr == 666:
    sys.exit('the loss is not finite at step 3')
  if c.optimizer.lr == 60:
    time.sleep(60)
  value = c.optimizer.lr * c.train.epochs + c.seeds[0]
  primary = dict(metric='accuracy', splits=['dev'], direction='max')
  primary['value'] = value
  (folder / 'result.json').write_text(json.dumps(dict(primary=primary)))
  (folder / 'done.json').write_text('{}')


app.run(main)
"""


@pytest.fixture
def project(tmp_path):
  """A folder with a config, a stand-in launch.train and the real sweep."""
  (tmp_path / 'launch').mkdir()
  # All but launch.train is the real one.
  path = f'__path__.append({str(ROOT / "launch")!r})\n'
  (tmp_path / 'launch' / '__init__.py').write_text(path)
  (tmp_path / 'launch' / 'train.py').write_text(TRAIN)
  (tmp_path / 'c.py').write_text(CONFIG)
  return tmp_path


def start(project, *args):
  return subprocess.Popen(
    [sys.executable, '-m', 'launch.sweep', '--config=c.py:cola']
    + ['--workdir=out', *args],
    cwd=project,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def run(project, *args):
  """Returns the sweep's exit code and output."""
  process = start(project, *args)
  out, _ = process.communicate(timeout=120)
  return process.returncode, out


def started(project):
  """Configs of all runs that were started, in no order."""
  return [
    json.loads(line)
    for path in project.glob('out/*/starts')
    for line in path.read_text().splitlines()
  ]


def read_csv(project):
  with (project / 'out' / 'sweep.csv').open() as file:
    return list(csv.DictReader(file))


def test_split_values_keeps_brackets_and_quotes_whole():
  assert sweep.split_values('1e-5, 3e-5') == ['1e-5', '3e-5']
  assert sweep.split_values('(0,1),(2,)') == ['(0,1)', '(2,)']
  text = """(('lora', {'rank': 8}),),'a,(b'"""
  assert sweep.split_values(text) == ["(('lora', {'rank': 8}),)", "'a,(b'"]
  for bad in ('1,', ',', '(1,2', "'a"):
    with pytest.raises(ValueError):
      sweep.split_values(bad)


def test_parse_grid():
  grid = sweep.parse_grid(['optimizer.lr=1e-5,3e-5', 'config.train.epochs=3'])
  assert grid == {'optimizer.lr': ['1e-5', '3e-5'], 'train.epochs': ['3']}
  for bad in (['lr'], ['lr='], ['=1'], ['lr=1', 'lr=2'], ['lr=1,1']):
    with pytest.raises(ValueError):
      sweep.parse_grid(bad)


@pytest.mark.parametrize(
  'bad',
  ['a=norm:0:1', 'a=log:0:1', 'a=uniform:2:1', 'a=int:1.5:2', 'a=log:1', 'a'],
)
def test_parse_random_names_what_is_wrong(bad):
  with pytest.raises(ValueError, match='a'):
    sweep.parse_random([bad])


@given(seed=st.integers(0, 2**32), trials=st.integers(1, 20))
def test_draws_stay_in_range_and_prefixes_are_stable(seed, trials):
  specs = ['lr=log:1e-5:1e-3', 'p=uniform:0:0.5', 'n=int:2:4', 'm=choice:a,b']
  fields = sweep.parse_random(specs)
  points = sweep.draw(fields, trials, seed)
  assert sweep.draw(fields, trials + 3, seed)[:trials] == points
  alone = sweep.draw(sweep.parse_random(specs[:1]), trials, seed)
  assert [p['lr'] for p in alone] == [p['lr'] for p in points]
  for point in points:
    assert 0.99e-5 <= float(point['lr']) <= 1.01e-3
    assert 0 <= float(point['p']) <= 0.5
    assert int(point['n']) in (2, 3, 4)
    assert point['m'] in ('a', 'b')


def test_log_draws_are_uniform_in_the_logarithm():
  fields = sweep.parse_random(['lr=log:1e-6:1e-2'])
  logs = [
    math.log10(float(point['lr'])) for point in sweep.draw(fields, 2000, 0)
  ]
  for edge, share in ((-5, 0.25), (-4, 0.5), (-3, 0.75)):
    assert sum(x < edge for x in logs) / 2000 == pytest.approx(share, abs=0.04)


def test_cells_are_the_product_and_keep_their_names_in_a_wider_sweep():
  small = sweep.cells('c', {'lr': ['1', '2']}, [], [0])
  wide = sweep.cells('c', {'lr': ['0', '1', '2'], 'n': ['5']}, [], [0, 1])
  assert [cell.index for cell in wide] == list(range(6))
  assert wide[0].overrides == (('lr', '0'), ('n', '5'), ('seeds', '(0,)'))
  more = sweep.cells('c', {'lr': ['0', '1', '2']}, [], [0, 1])
  assert {c.name for c in small} <= {c.name for c in more}
  other = sweep.cells('another', {'lr': ['1', '2']}, [], [0])
  assert not {c.name for c in small} & {c.name for c in other}
  (alone,) = sweep.cells('c', {})
  assert alone.overrides == ()


def test_cells_refuse_a_field_given_twice_and_drop_equal_draws():
  with pytest.raises(ValueError, match='seeds'):
    sweep.cells('c', {'seeds': ['(0,)']}, [], [1])
  assert len(sweep.cells('c', {}, [{'m': 'a'}, {'m': 'b'}, {'m': 'a'}])) == 2


@given(
  st.lists(
    st.tuples(
      st.text('abc.', min_size=1, max_size=9), st.text(min_size=1, max_size=99)
    ),
    max_size=4,
  )
)
def test_folder_names_are_plain_file_names(overrides):
  name = sweep.folder_name('c', overrides)
  assert len(name) <= 90
  assert set(name) <= set(
    'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.=,+-'
  )


def test_rank_follows_the_direction_and_puts_missing_values_last():
  rows = [
    {'cell': i, 'value': v, 'direction': 'max'}
    for i, v in enumerate([0.1, None, math.nan, 0.9, 0.5])
  ]
  assert [row['cell'] for row in sweep.rank(rows)] == [3, 4, 0, 1, 2]
  rows = [row | {'direction': 'min'} for row in rows]
  assert [row['cell'] for row in sweep.rank(rows)] == [0, 4, 3, 1, 2]


def test_over_seeds_gives_mean_and_sample_sd():
  rows = [
    {'state': 'done', 'lr': lr, 'seeds': s, 'value': v, 'direction': 'max'}
    for lr, s, v in [('1', 0, 0.5), ('1', 1, 0.7), ('2', 0, 0.65)]
  ]
  rows.append(rows[0] | {'state': 'open', 'value': None})
  best, second = sweep.over_seeds(rows)
  assert (best['lr'], best['n'], best['sd']) == ('2', 1, None)
  assert (second['lr'], second['n']) == ('1', 2)
  assert second['value'] == pytest.approx(0.6)
  assert second['sd'] == pytest.approx(math.sqrt(0.02))


def test_sweep_runs_reports_failures_and_skips_what_is_done(project):
  args = ['--grid=optimizer.lr=1,666,3', '--config.train.epochs=2']
  code, out = run(project, *args, '--seeds=0,1', '--jobs=2')
  assert code == 1, out
  assert 'the loss is not finite at step 3' in out
  rows = read_csv(project)
  assert [row['optimizer.lr'] for row in rows[:4]] == ['3', '3', '1', '1']
  assert [float(row['value']) for row in rows[:4]] == [7, 6, 3, 2]
  assert [row['state'] for row in rows] == ['done'] * 4 + ['FAILED'] * 2
  assert rows[0]['metric'] == 'dev/accuracy'
  assert '6.5000' in out and '0.7071' in out  # mean and sd of 6 and 7
  configs = started(project)
  assert len(configs) == 6
  assert {c['train']['epochs'] for c in configs} == {2}
  assert {c['task']['name'] for c in configs} == {'cola'}
  # Again: the failed ones only; a wider one: what is new only.
  code, out = run(project, *args, '--seeds=0,1')
  assert code == 1 and '6 cells, 4 finished before' in out
  assert len(started(project)) == 8
  args[0] = '--grid=optimizer.lr=1,3,4'
  code, out = run(project, *args, '--seeds=0,1')
  assert code == 0, out
  assert len(started(project)) == 10


def test_one_cell_of_an_array(project):
  args = ['--random=optimizer.lr=log:1:9', '--trials=3']
  code, out = run(project, *args, '--list')
  assert code == 0 and out.count('-m launch.train') == 3
  assert started(project) == []
  code, out = run(project, *args, '--cell=2')
  assert code == 0, out
  (config,) = started(project)
  assert f'2: {sys.executable}' in run(project, *args, '--list')[1]
  rows = read_csv(project)  # of the --list: all cells
  assert [row['state'] for row in rows] == ['done', 'open', 'open']
  assert float(rows[0]['optimizer.lr']) == config['optimizer']['lr']
  code, out = run(project, *args, '--cell=3')
  assert code != 0 and 'there are 0 to 2' in out


@pytest.mark.parametrize(
  'args, message',
  [
    (['--grid=optimizer.lrr=1'], "nothing reads ['lrr']"),
    (['--grid=optimiser.lr=1'], "no section 'optimiser'"),
    (['--grid=train.epochs=1,x'], "'x'"),
    (['--random=optimizer.lr=log:1:2'], '--trials'),
    (['--grid=optimizer.lr=1', '--seeds=a'], "'a' is no integer"),
  ],
)
def test_mistakes_stop_before_anything_runs(project, args, message):
  code, out = run(project, *args)
  assert code != 0
  assert message in out and 'Traceback' not in out
  assert not (project / 'out').exists()


def test_sigterm_ends_the_running_cell_and_starts_no_other(project):
  process = start(project, '--grid=optimizer.lr=60,1')
  deadline = time.time() + 60
  while not started(project) and time.time() < deadline:
    time.sleep(0.1)
  process.send_signal(signal.SIGTERM)
  out, _ = process.communicate(timeout=60)
  # As a stopped run does: a cluster's script then queues the job again.
  assert process.returncode == 128 + signal.SIGTERM, out
  assert 'start the same command again' in out
  assert len(started(project)) == 1
  assert 'FAILED' not in [row['state'] for row in read_csv(project)]


def test_a_cell_of_a_process_that_was_left_behind_is_not_started(tmp_path):
  cell = sweep.Cell(0, (), 'a')
  (tmp_path / 'a').mkdir()
  assert sweep.read_cell(cell, tmp_path)['state'] == 'unfinished'
  sweep.check_free(tmp_path / 'a')
  # As the lock of a run that outlived its sweep.
  pid = os.getppid()
  held = lock._own() | {'pid': pid, 'process_started': lock._started(pid)}
  (tmp_path / 'a' / lock.NAME).write_text(json.dumps(held))
  assert sweep.read_cell(cell, tmp_path)['state'] == 'running'
  with pytest.raises(ValueError, match=f'in use by process {pid} on'):
    sweep.check_free(tmp_path / 'a')


REAL_CONFIG = """
import ml_collections


def get_config():
  return ml_collections.ConfigDict(
    {
      'task': {'name': 'mini_sentiment'},
      'data': {
        'tokenizer': 'train',
        'max_length': 16,
        'batch_size': 8,
        'eval_batch_size': 128,
        'buckets': (16,),
        'train_limit': 16,
      },
      'model': {'name': 'bert', 'preset': 'tiny', 'max_positions': 16},
      'optimizer': {'lr': 1e-3},
      'train': {'steps': 1},
    }
  )
"""


def test_a_sweep_of_a_real_run(tmp_path):
  (tmp_path / 'c.py').write_text(REAL_CONFIG)
  command = [sys.executable, '-m', 'launch.sweep']
  command += [f'--config={tmp_path / "c.py"}', f'--workdir={tmp_path / "out"}']
  command += ['--grid=optimizer.lr=1e-2']
  out = subprocess.run(
    command, cwd=ROOT, check=False, capture_output=True, text=True
  )
  assert out.returncode == 0, out.stdout + out.stderr
  with (tmp_path / 'out' / 'sweep.csv').open() as file:
    (row,) = csv.DictReader(file)
  assert (row['state'], row['metric']) == ('done', 'validation/accuracy')
  folder = tmp_path / 'out' / row['folder']
  result = json.loads((folder / 'result.json').read_text())
  assert float(row['value']) == result['metrics']['validation']['accuracy']
  config = json.loads((folder / 'config.json').read_text())['config']
  assert config['optimizer']['lr'] == 1e-2
