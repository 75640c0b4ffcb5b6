"""Each command where the world fails it: a full disk, a reader that is gone.

A limit on the size of files stands for the full disk: it needs no root, and
holds for what compiled libraries write too.
"""

import contextlib
import importlib
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys

import jax
import pytest

from glue_jax.devices import sharding
from glue_jax.leaderboard import gold
from glue_jax.merging import stream
from glue_jax.studies import sweep
from glue_jax.training import begin, runs, schema
from glue_jax.weights import saved_model
from tests.commands import status
from tests.conftest import ROOT, tiny_config
from tests.data.selection.corpora import write_corpora
from tests.leaderboard import boards

CONFIG = """
from tests.conftest import ROOT, tiny_config


def get_config():
  return tiny_config()
"""


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  """What the commands read: a run of LoRA, a bundle, corpora, a board."""
  home = tmp_path_factory.mktemp('home')
  (home / 'config.py').write_text(CONFIG)
  parts = begin.build(schema.bind(tiny_config(), 1), 7)
  params = sharding.gather(parts.params, parts.mesh)
  labels = parts.bundle.task.labels
  saved_model.save(home / 'backbone', parts.plain.model, params, labels=labels)
  parts.bundle.tokenizer.save(home / 'backbone')
  config = json.loads(tiny_config(train=dict(epochs=2)).to_json())
  config['methods'] = [['lora', dict(rank=2)]]
  config['model'] = dict(weights=str(home / 'backbone'), fresh=['head/.*'])
  config['data']['tokenizer'] = str(home / 'backbone')
  runs.run(config, home / 'run')
  (home / 'texts.txt').write_text('the film is great .\nNiechęć\n')
  write_corpora(home)
  boards.make(home / 'board')
  write_raw(home / 'raw')
  return home


def write_raw(folder):
  (folder / 'CoLA').mkdir(parents=True)
  marks = ''.join(f's\t{i % 2}\t\tSentence {i}\n' for i in range(99))
  (folder / 'CoLA/train.tsv').write_text(marks)
  (folder / 'CoLA/dev.tsv').write_text(marks)
  (folder / 'CoLA/test.tsv').write_text('index\tsentence\n0\tZażółć.\n')


def scores(folder):
  path = folder / 'scores.csv'
  path.write_text('system,a,b\nx,1,2\ny,2,1\nz,3,3\n')
  return path


def finished_sweep(home, folder):
  """A sweep whose one cell is done, so that only its table is written."""
  base = [f'--config={home / "config.py"}']
  (cell,) = sweep.cells(
    ' '.join(base), sweep.parse_grid(['optimizer.lr=0.1']), [], []
  )
  (folder / cell.name).mkdir(parents=True)
  for name in ('done.json', 'result.json'):
    shutil.copyfile(home / 'run' / name, folder / cell.name / name)
  return [*base, f'--workdir={folder}', '--grid=optimizer.lr=0.1']


def submission(home, out):
  rows = [{'idx': i, 'prediction': 0.5} for i in range(1379)]
  path = home / 'stsb.jsonl'
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return [
    '--benchmark=glue', f'--predictions=STS-B.tsv={path}', f'--output={out}',
  ]  # fmt: skip


def contribution(home, out):
  gold.make(out, ['mini_acceptability'])
  return [
    'contribute', f'--board={out}', '--method=tiny', f'--runs={home / "run"}',
    '--authors=A. Name', '--contact=a@example.org',
  ]  # fmt: skip


# {case: (command, (home, out) -> arguments)}; all of them write `out`.
COMMANDS = {
  'train': lambda h, out: [f'--config={h / "config.py"}', f'--workdir={out}'],
  'evaluate': lambda h, out: [f'--workdir={h / "run"}', f'--output={out}'],
  'predict': lambda h, out: [
    f'--workdir={h / "run"}', f'--input={h / "texts.txt"}', f'--output={out}',
  ],
  'submit': submission,
  'export': lambda h, out: [f'--workdir={h / "run"}', f'--output={out}'],
  'export stablehlo': lambda h, out: [
    f'--workdir={h / "run"}', f'--output={out}', '--format=stablehlo',
    '--batch=2', '--length=16',
  ],
  'bundle': lambda h, out: ['write', f'--workdir={h / "run"}', f'--out={out}'],
  'data': lambda h, out: [
    'prepare', '--task=cola', f'--source={h / "raw"}', f'--data_dir={out}',
  ],
  'select_data': lambda h, out: [
    f'--raw={h / "raw0.txt"}', f'--target={h / "target0.txt"}', '--k=30',
    '--min_length=4', '--buckets=499', f'--out={out}', '--workers=1',
  ],
  'merge': lambda h, out: [
    f'--models={h / "run"},{h / "backbone"}', '--method=average',
    f'--out={out}',
  ],
  'merge soup': lambda h, out: [
    f'--models={h / "run"}', '--method=soup', f'--out={out}',
  ],
  'rank': lambda h, out: [
    str(scores(h)), f'--out={out}', '--draws=10', '--robustness_draws=2',
  ],
  'leaderboard gold': lambda h, out: [
    'gold', f'--board={out}', '--tasks=mini_acceptability',
  ],
  'leaderboard contribute': contribution,
  'leaderboard build': lambda h, out: [
    'build', f'--board={h / "board"}', f'--out={out}', '--jobs=1',
  ],
  'sweep': finished_sweep,
}  # fmt: skip


@pytest.fixture
def call(home, tmp_path):
  """case -> () -> exit status of the command, or its line; it writes `out`."""

  def prepared(case):
    name = case.partition(' ')[0]
    module = importlib.import_module(f'launch.{name}')
    given = [str(a) for a in COMMANDS[case](home, tmp_path / 'board' / 'out')]
    return lambda: status(module, *given, arguments=name not in NO_ARGUMENTS)

  (tmp_path / 'board').mkdir()
  before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
  yield prepared
  for number, handler in before.items():  # a sweep passes them on
    signal.signal(number, handler)


# Of these every argument is a flag.
NO_ARGUMENTS = {'train', 'evaluate', 'predict', 'submit', 'export', 'merge'}


@contextlib.contextmanager
def full_disk(size):
  """No file can grow beyond so many bytes.

  All tests share a cache of compiled programs. From it is read meanwhile, but
  nothing is written: it would be half a file, and others would read it.
  """
  shortest = 'jax_persistent_cache_min_compile_time_secs'
  before = getattr(jax.config, shortest)
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  jax.config.update(shortest, float('inf'))
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    jax.config.update(shortest, before)


def files_in(folder):
  """Its files, those in hidden folders too."""
  return {str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file()}


# Bytes that files may have. At 0 also small ones, as locks, can't be written;
# at others the first, or some, of what a command writes is whole.
ROOM = {
  'data': [0, 3000],
  'leaderboard contribute': [1000],
  'predict': [0],
  'submit': [500],
  'sweep': [0],
  'train': [0, 3000, 30_000],
}
RENDERS = True  # a picture may be what finds no room

# What a killed run goes on from, and what the builder of others starts with.
BEGUN = {
  'train': 'checkpoints|config.json|metrics|inputs|model/|tb|timings',
  'data': r'glue/\.config',
}


class Gone(io.TextIOWrapper):
  """A pipe whose reader had enough."""

  def __init__(self):
    reader, writer = os.pipe()
    os.close(reader)
    super().__init__(os.fdopen(writer, 'wb'), write_through=True)


@pytest.mark.parametrize('case', sorted(COMMANDS))
def test_a_full_disk_and_then_a_reader_that_is_gone(
  case, call, tmp_path, monkeypatch
):
  """One line with the path, nothing half-written; the same command goes on.

  Whoever reads what it prints may leave: the work is done all the same, and
  the status is that of the shell.
  """
  run, out = call(case), tmp_path / 'board' / 'out'
  before = files_in(tmp_path)
  begun = re.compile(f'board/out/({BEGUN.get(case, "-")})')
  for size in ROOM.get(case, [3000]):
    with monkeypatch.context() as patch, full_disk(size):
      for name in ('stdout', 'stderr'):  # pytest's own are files
        patch.setattr(f'sys.{name}', io.StringIO())
      said, *bars = run().splitlines()
    assert re.match(f'error: .*{out.parent}.*(larger|too large)', said), said
    assert '.part' not in said and (case == 'data' or not bars)
    left = files_in(tmp_path) - before
    assert not [f for f in left if not begun.match(f)], left
  with monkeypatch.context() as patch:
    patch.setattr('sys.stdout', Gone())
    assert run() == 128 + 13
  assert out.exists() and list(out.parent.glob('.*')) == []
  if case == 'train':
    assert json.loads((out / 'done.json').read_text()) == {'step': 8}


def kill_in(module, name, number, at=2):
  """Makes a function send a signal to its process at a call."""
  whole, calls = getattr(module, name), []

  def killed(*arguments, **settings):
    calls.append(0)
    if len(calls) == at:
      os.kill(os.getpid(), number)
    return whole(*arguments, **settings)

  return killed


def test_sigterm_in_the_middle_of_a_merge(call, tmp_path, monkeypatch):
  run = call('merge')
  killed = kill_in(stream, 'write', signal.SIGTERM)
  with monkeypatch.context() as patch:
    patch.setattr(stream, 'write', killed)
    assert run() == 128 + 15
  assert list((tmp_path / 'board').iterdir()) == []
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  assert run() is None
  assert (tmp_path / 'board/out/run/params.safetensors').is_file()


def test_a_merge_that_is_killed_leaves_nothing_under_its_name(home, tmp_path):
  code = """
import signal, sys
from glue_jax.merging import stream
from tests.launch.surroundings_test import kill_in
stream.write = kill_in(stream, 'write', signal.SIGKILL)
from launch import merge
from launch.cli import command
command.run('', merge.define_flags, merge.main, ['', *sys.argv[1:]])
"""
  given = COMMANDS['merge'](home, tmp_path / 'out')
  done = subprocess.run([sys.executable, '-c', code, *given], cwd=ROOT)
  assert done.returncode == -signal.SIGKILL
  assert not (tmp_path / 'out').exists()
  (part,) = tmp_path.iterdir()
  assert (part / 'body.safetensors').is_file()
