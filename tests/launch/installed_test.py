"""An installed copy runs from any folder, with no checkout and no Internet."""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = ('glue_jax', 'launch', 'configs')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """The project's wheel, built of a copy: building leaves files behind."""
  folder = tmp_path_factory.mktemp('wheel')
  source = folder / 'source'
  for package in PACKAGES:
    shutil.copytree(
      ROOT / package,
      source / package,
      ignore=shutil.ignore_patterns('__pycache__'),
    )
  for name in ('setup.py', 'README.md'):
    shutil.copy(ROOT / name, source / name)
  pip = [sys.executable, '-m', 'pip', '--quiet', 'wheel', '--no-deps']
  pip += ['--no-build-isolation', '--no-index', f'--wheel-dir={folder}', '.']
  subprocess.run(pip, cwd=source, check=True)
  (path,) = folder.glob('*.whl')
  return path


@pytest.fixture(scope='module')
def run(wheel, tmp_path_factory):
  """Runs a module of the installed copy in an empty folder."""
  site = tmp_path_factory.mktemp('site')
  with zipfile.ZipFile(wheel) as file:
    file.extractall(site)
  nowhere = 'http://127.0.0.1:9'
  environment = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith('GLUE_JAX_')
  }
  environment |= {'PYTHONPATH': str(site), 'HF_HUB_OFFLINE': '1'}
  environment['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'
  environment |= {'http_proxy': nowhere, 'https_proxy': nowhere}

  def start(folder, *arguments):
    return subprocess.run(
      [sys.executable, *arguments],
      cwd=folder,
      env=environment,
      capture_output=True,
      text=True,
    )

  start.site = site
  return start


def test_the_wheel_holds_every_module_and_its_data(wheel):
  with zipfile.ZipFile(wheel) as file:
    inside = set(file.namelist())
  wanted = [p for top in PACKAGES for p in (ROOT / top).rglob('*.py')]
  for pattern in ('launch/clusters/*', 'glue_jax/leaderboard/site/*/*'):
    wanted += [p for p in ROOT.glob(pattern) if p.is_file()]
  for package in PACKAGES:
    wanted += (ROOT / package).rglob('records.json')
  names = {
    path.relative_to(ROOT).as_posix()
    for path in wanted
    if '__pycache__' not in path.parts
  }
  assert names - inside == set()
  tops = {name.partition('/')[0] for name in inside}
  assert {top for top in tops if '.dist-info' not in top} == set(PACKAGES)


def test_commands_come_from_the_copy(run, tmp_path):
  code = 'import configs, glue_jax, launch; print(configs, glue_jax, launch)'
  done = run(tmp_path, '-c', code)
  assert done.stdout.count(str(run.site)) == 3, done.stdout + done.stderr
  done = run(tmp_path, '-m', 'launch.benchmark', '--help')
  assert done.returncode == 0 and '\n  glue-peer ' in done.stdout


def test_configs_by_name(run, tmp_path):
  train = ('-m', 'launch.train', '--print_config')
  done = run(tmp_path, *train, '--config=finetune/lora:rte')
  assert done.returncode == 0, done.stderr
  assert '"name": "rte"' in done.stdout
  same = run(tmp_path, *train, '--config=configs/finetune/lora.py:rte')
  assert same.stdout == done.stdout
  done = run(tmp_path, *train, '--config=configs/lora_glue.py:rte')
  assert done.returncode == 2
  (line,) = done.stderr.splitlines()
  assert line.startswith('error: flag --config=configs/lora_glue.py:rte: ')
  assert 'is now configs/finetune/lora.py (see ' in line


def test_quick_start(run, tmp_path):
  done = run(
    tmp_path,
    *('-m', 'launch.train', '--config=quickstart', '--workdir=runs/quick'),
    *('--config.data.train_limit=64', '--config.data.eval_limit=64'),
    '--config.train.epochs=1',
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.rstrip().endswith('written to runs/quick')
  assert (tmp_path / 'runs' / 'quick' / 'done.json').is_file()
