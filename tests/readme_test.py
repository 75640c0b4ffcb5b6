"""The README: its commands, paths and layout are those of the project."""

import importlib.util
import pathlib
import re
import runpy
import shlex
import subprocess

import pytest

from glue_jax.methods import lora
from glue_jax.training import runs

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / 'README.md').read_text()
COMMANDS = [
  line
  for block in re.findall(r'```bash\n(.*?)```', TEXT, re.DOTALL)
  for line in block.splitlines()
  if line.strip()
]
PYTHON = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)
# Several systems' recipe, each of which has a row with its own.
NO_ROW = {'mixers_small'}
SETUP = [line for line in COMMANDS if line.startswith('pip install')]


def test_one_page():
  assert len(TEXT.splitlines()) <= 200


def test_the_python_shows_lora_as_it_is_and_runs(monkeypatch, tmp_path):
  ran = []

  def two_steps(config, workdir):
    # As it stands but for its length: the first stage, two steps of few rows.
    ran.append((workdir, config.methods))
    name, stage = config.stages[0]
    config.update(stages=((name, stage),))
    config.train.update(epochs=None, steps=2)
    config.data.train_limit = 128
    return full_run(config, tmp_path / workdir)

  full_run = runs.run
  monkeypatch.setattr(runs, 'run', two_steps)
  (text,) = PYTHON
  names = {}
  exec(compile(text, 'README.md', 'exec'), names)  # it is ours
  ((workdir, methods),) = ran
  assert (tmp_path / workdir / 'done.json').exists()
  assert 0 <= names['result']['primary']['value'] <= 1
  # The record shown is the one that the recipe's name stands for.
  ((name, settings),) = methods
  made = lora.make(None, **settings)
  shown = names['method']
  assert shown.name == name == made.name
  assert [p.pattern for p in shown.plugs] == [p.pattern for p in made.plugs]
  assert (shown.reparam, shown.hooks) == (made.reparam, made.hooks)


def test_linked_files_exist():
  for path in re.findall(r'\]\((?!https?:)([^)]+)\)', TEXT):
    assert (ROOT / path).exists(), path


def test_exactly_two_setup_commands():
  main, tests = SETUP
  assert 'python -m launch.train' in main
  assert '--config=configs/quickstart.py' in main
  assert 'python -m pytest tests' in tests
  assert "'.[test]'" in tests


def test_ci_runs_the_readme_command_and_ends_with_it(tmp_path):
  """.ci/run on stand-ins for Python and its tools, in a fresh venv's place."""
  tools = tmp_path / 'tools'
  tools.mkdir()
  stand_in = '#!/bin/bash\necho "$(basename "$0") $*" >> "$CALLS"\n'
  for name in ('pip', 'ruff', 'mypy'):
    (tools / name).write_text(stand_in)
  (tools / 'python').write_text(
    stand_in + 'echo "asked:$PYTEST_ADDOPTS"\necho "2 passed in 0.1s"\n'
  )
  # `$PYTHON -m venv <folder>` makes the folder with these tools inside.
  fake = tmp_path / 'fake-python'
  fake.write_text(f'#!/bin/bash\nmkdir -p "$3" && cp -r "{tools}" "$3/bin"\n')
  for path in (fake, *tools.iterdir()):
    path.chmod(0o755)
  calls = tmp_path / 'calls'

  def run():
    return subprocess.run(
      ['bash', ROOT / '.ci' / 'run'],
      env={
        'PATH': '/usr/bin:/bin',
        'PYTHON': str(fake),
        'CALLS': str(calls),
        'TMPDIR': str(tmp_path),
      },
      check=False,
      capture_output=True,
      text=True,
    )

  done = run()
  assert done.returncode == 0, done.stderr
  *_, asked, last = done.stdout.splitlines()
  assert last == '2 passed in 0.1s'
  assert asked == 'asked: --durations=15'
  install, tests = SETUP[1].split(' && ')
  made = calls.read_text().splitlines()
  assert made[0] == ' '.join(shlex.split(f'{install} --quiet'))
  assert 'ruff check .' in made and 'ruff format --check .' in made
  assert 'mypy ' in made
  assert made[-1] == tests
  # A failing step fails the whole.
  (tools / 'ruff').write_text('#!/bin/bash\nexit 3\n')
  assert run().returncode == 3


def test_named_modules_exist():
  modules = set(re.findall(r'python -m ([\w.]+)', TEXT)) - {'pytest'}
  assert modules
  for name in modules:
    spec = importlib.util.find_spec(name)
    assert spec, name
    if spec.submodule_search_locations:
      assert importlib.util.find_spec(f'{name}.__main__'), name


def test_every_command_is_listed():
  for path in (ROOT / 'launch').glob('*.py'):
    if path.name != '__init__.py':
      assert f'`python -m launch.{path.stem}' in TEXT, path


def test_every_recipe_is_in_the_table():
  for folder in ('finetune', 'pretrain', 'distill'):
    for path in (ROOT / 'configs' / folder).glob('[a-z]*.py'):
      if path.stem not in NO_ROW:
        assert f'configs/{folder}/{path.name}' in TEXT, path


def test_our_figures_are_those_of_records():
  """No number of the last column is typed: records_test.py renews the marks."""
  table = TEXT.split('| system |')[1].split('\n\n')[0]
  cells = [line.split('|')[-2] for line in table.splitlines()[2:]]
  assert len(cells) > 20
  marks = r'<!-- figure: [^>]*-->[^<]*<!-- end -->'
  assert sum(len(re.findall(marks, cell)) for cell in cells) > 30
  for cell in cells:
    typed = re.sub(marks, '', cell)
    assert not re.search(r'\d[.,]\d', typed), typed


@pytest.mark.parametrize(
  'file, arg',
  sorted(set(re.findall(r'(configs/[\w/]+\.py)(?::([\w,]+))?', TEXT))),
)
def test_named_configs_build(file, arg):
  get_config = runpy.run_path(str(ROOT / file))['get_config']
  assert get_config(arg) if arg else get_config()


def test_layout_names_what_is_there():
  layout = re.search(r'## Layout\n(.*?)\n## ', TEXT, re.DOTALL).group(1)
  for folder in ROOT.glob('glue_jax/*/'):
    if (folder / '__init__.py').exists():
      assert f'{folder.name}/' in layout, folder
  for name in re.findall(r'\b(\w+\.py)\b', layout):
    paths = [ROOT / 'glue_jax' / name, ROOT / 'tests' / name]
    assert any(path.exists() for path in paths), name
  for name in re.findall(r'(?<![\w/])(\w+)/', layout.split('```')[1]):
    assert (
      any(ROOT.rglob(f'{name}/__init__.py'))
      or (ROOT / name).is_dir()
      or ((ROOT / 'launch' / name).is_dir())
    ), name


def test_named_paths_exist():
  paths = re.findall(r'`((?:glue_jax|tests|launch|configs)/[\w./]*)`', TEXT)
  for path in paths:
    assert (ROOT / path).exists(), path
