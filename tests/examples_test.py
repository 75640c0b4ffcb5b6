"""Every command that the pages and docstrings show is one that there is."""

import ast
import functools
import importlib
import importlib.util
import pathlib
import re
import shlex
from typing import Any

import pytest
import yaml
from absl import flags

from glue_jax import api
from glue_jax.config import config as config_lib
from glue_jax.data.tasks import own_file
from glue_jax.training import fields
from launch.cli import config_files
from tests import layout_test
from tests.commands import forget

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted(
  path
  for top in ('.', 'configs', 'glue_jax', 'launch')
  for path in (ROOT / top).glob('*.md' if top == '.' else '**/*.md')
)
LANGUAGES = {'bash', 'python', ''}  # '': a layout or a diagram
# Programs of others, whose flags are theirs.
OTHERS = {'pip', 'ruff', 'mypy', 'pdoc', 'pre-commit', '.ci/run', 'echo'}
# A config that is built as it stands; own_task wants a file of the reader's.
PLAIN = re.compile(r'(?!.*own_task)[a-z_/]+(\.py)?(:[a-z_]+)?')
BEGINNING = re.compile(r'(?:[A-Z_]+=\S+ +)*python3? -m [\w.]+')


def fences(path):
  """(language, text) of each fenced block of a page."""
  return re.findall(
    r'^```(\w*)\n(.*?)^```', path.read_text(), re.DOTALL | re.MULTILINE
  )


def docstrings(path):
  for node in ast.walk(layout_test.parsed(path)):
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
      text = ast.get_docstring(node)
      if text:
        yield text


def shown(text):
  """Commands in running text: those between backquotes, and whole lines.

  A line goes on below where it ends with a backslash, or where the next one
  begins with a flag.
  """
  text = re.sub(r' *\\\\?\n\s*', ' ', text)
  text = re.sub(r'\n\s+(?=--\w)', ' ', text)
  for quoted in re.findall(r'`([^`]+)`', text):
    quoted = ' '.join(quoted.split())
    if BEGINNING.match(quoted):
      yield quoted
  for line in re.sub(r'`[^`]*`', '', text).splitlines():
    found = re.match(r'(?:  .*\| +|  +|Command: +)(?=\S)', line)
    command = line[found.end() :] if found else ''
    if BEGINNING.match(command):
      yield command.strip()


@functools.cache
def examples():
  """(where it stands, command) of the whole project."""
  found = []
  for path in PAGES:
    for language, text in fences(path):
      if language == 'bash':
        for line in re.sub(r' *\\\n\s*', ' ', text).splitlines():
          found += [(path, line.split('  #')[0])] if line.strip() else []
  for path in layout_test.CODE:
    for text in docstrings(path):
      found += [(path, command) for command in shown(text)]
  return [(str(path.relative_to(ROOT)), command) for path, command in found]


@functools.cache
def flags_of(module):
  """{flag: whether it takes no value} of a command."""
  before = set(flags.FLAGS)
  importlib.import_module(module).define_flags()
  known = {n: bool(flags.FLAGS[n].boolean) for n in set(flags.FLAGS) - before}
  forget(before)
  return known | {'traceback': True, 'help': True}


def fault(command):
  """What is wrong with a command; '' for nothing."""
  for part in re.split(r' && | \| | > ', command):
    words = shlex.split(part)
    while words and re.match(r'[A-Z_]+=', words[0]):
      words.pop(0)
    if not words or words[0] in OTHERS or not words[0].startswith('python'):
      if words and words[0] not in OTHERS and '|' not in command:
        return f'unknown program {words[0]}'
      continue
    if words[1:2] != ['-m']:
      return 'expected python -m'
    if words[2].rpartition('.')[2].isupper():  # stands for any
      continue
    if not importlib.util.find_spec(words[2]):
      return f'no module {words[2]}'
    problem = ''
    if words[2].startswith('launch.'):
      problem = _ours(words[2], words[3:])
    if problem:
      return problem
  return ''


def _config(words):
  """The config that a command names, where it is built as it stands."""
  for word in words:
    name = word.removeprefix('--config=')
    if name != word and PLAIN.fullmatch(name):
      return config_lib.plain(config_lib.complete(config_files.load(name)))
  return config_lib.plain(config_lib.complete({}))


def _is_read(keys, config):
  """Whether something reads a field of the config; `KEY` stands for any."""
  if len(keys) < 2 or any(key.isupper() for key in keys):
    return True
  return fields.annotation(config, keys) is not Any or keys[0] == 'task'


def _ours(module, words):
  folder = {'launch.study': 'studies', 'launch.probe': 'probes'}.get(module)
  folder = folder or {
    'launch.benchmark': 'benchmarks',
    'launch.miniature': 'miniatures',
  }.get(module)
  if folder:
    if not words or words[0].isupper() or words[0].startswith('-'):
      return ''
    module = f'launch.{folder}.{words.pop(0).replace("-", "_")}'
    if not importlib.util.find_spec(module):
      return f'no program {module}'
  known = flags_of(module)
  named = _config(words)
  for word in words:
    if word == '--':
      break
    name, _, value = word.removeprefix('--').partition('=')
    if not word.startswith('--') or not re.fullmatch(r'\w[\w.]*', name):
      continue
    if name.startswith('config.') and 'config' in known:
      keys = name.split('.')[1:]
      if keys[0] not in config_lib.DEFAULTS:
        return f'no section of a config: {word}'
      if not _is_read(keys, named):
        return f'nothing reads {word}'
    elif name not in known and not known.get(name.removeprefix('no')):
      return f'no flag --{name} of {module}; there are {sorted(known)}'
    elif name == 'config' and PLAIN.fullmatch(value):
      config_files.load(value)
  return ''


def test_there_are_examples():
  commands = [command for _, command in examples()]
  assert len(commands) > 150
  names = {m for c in commands for m in re.findall(r'-m (launch\.\w+)', c)}
  every = {f'launch.{p.stem}' for p in (ROOT / 'launch').glob('[a-z]*.py')}
  assert every <= names


def test_every_command_names_what_there_is(monkeypatch):
  monkeypatch.chdir(ROOT)
  wrong = []
  for where, command in examples():
    try:
      problem = fault(command)
    except (ValueError, OSError) as error:
      problem = str(error)
    if problem:
      wrong.append(f'{where}: {command}\n    {problem}')
  assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize(
  'command, problem',
  [
    ('python -m launch.trian --config=quickstart', 'no module'),
    ('python -m launch.train --confg=quickstart', 'no flag --confg'),
    ('python -m launch.train --config.modl.name=bert', 'no section'),
    (
      'python -m launch.train --config=quickstart --config.train.epoch=3',
      'nothing reads',
    ),
    ('python -m launch.study nothing', 'no program'),
    ('glue-train --config=quickstart', 'unknown program'),
  ],
)
def test_a_wrong_command_is_found(command, problem):
  assert problem in fault(command)


def test_every_fenced_block_has_a_language_that_is_checked():
  for path in PAGES:
    for language, text in fences(path):
      assert language in LANGUAGES, f'{path}: {language}'
      if language == 'python':
        compile(text, str(path), 'exec')
      if language == '':
        assert not BEGINNING.search(text), f'{path}: {text}'


def test_the_yaml_of_own_tasks_has_its_keys():
  lines = [x for x in own_file.__doc__.splitlines() if x.startswith('  ')]
  start = next(i for i, x in enumerate(lines) if x.startswith('  name:'))
  block = []
  for line in lines[start:]:
    if not re.match(r'  \w+: ', line):
      break
    block.append(line[2:])
  content = yaml.safe_load('\n'.join(block))
  assert {'name', 'dataset', 'columns', 'target', 'kind'} <= content.keys()


def test_the_example_of_the_python_face_is_python():
  block = [x[4:] for x in api.__doc__.splitlines() if x.startswith('    ')]
  calls = {
    node.func.attr
    for node in ast.walk(ast.parse('\n'.join(block)))
    if isinstance(node, ast.Call)
  }
  assert calls == {'train', 'load', 'predict', 'evaluate', 'embed', 'export'}
