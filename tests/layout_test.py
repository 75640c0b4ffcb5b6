"""The layout's rules, read from the source: imports, names, sizes, docs."""

import ast
import fnmatch
import functools
import pathlib
import re
import subprocess
import sys

import pytest

from tests.covered import COVERED

ROOT = pathlib.Path(__file__).parents[1]
LOOP = ROOT / 'glue_jax' / 'training' / 'train.py'

# The wings, bottom up: imports go from a later row to an earlier one or stay in
# their row, never back. Files that aren't in a folder are the seam and, on top,
# what users call.
ORDER = (
  ('tree', 'config'),
  ('kernels',),
  ('metrics',),
  ('devices',),
  ('layers',),
  ('models',),
  ('plugs', 'method'),
  ('generation',),
  ('optim',),
  ('reporting',),
  ('data',),
  ('evaluation',),
  ('compress', 'peft', 'objectives'),
  ('weights',),
  ('methods',),
  ('training',),
  ('inference',),
  ('export',),
  ('probes',),
  ('merging',),
  ('studies',),
  ('leaderboard',),
  ('api',),
)
LONGEST_CHAIN = 10
FILE_LINES, FILE_LINES_WITH_REASON = 400, 600
ROOT_FILES, FOLDER_FILES = 5, 40
FUNCTION_LINES, LOOP_LINES = 60, 200


def sources(*folders):
  return sorted(p for f in folders for p in (ROOT / f).rglob('*.py'))


@functools.cache
def parsed(path):
  return ast.parse(path.read_text(), str(path))


def module_name(path):
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


PACKAGE = {module_name(path): path for path in sources('glue_jax')}
CODE = sources('glue_jax', 'launch', 'configs')
PROJECT = {module_name(path): path for path in CODE}


def imported(path, inside_functions=True):
  """Yields absolute names of the modules that a file imports."""
  body = ast.walk(parsed(path)) if inside_functions else parsed(path).body
  for node in body:
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path}: relative import'
      for alias in node.names:
        inner = f'{node.module}.{alias.name}'
        yield inner if inner in PACKAGE else node.module


def own_imports(name):
  """Modules of the package that a module of it imports."""
  names = set(imported(PACKAGE[name]))
  return sorted((names & set(PACKAGE)) - {'glue_jax', name})


def rank(name):
  part = name.split('.')[1]
  for row, parts in enumerate(ORDER):
    if part in parts:
      return row
  return len(ORDER)


def test_imports_run_one_way():
  wrong = [
    f'{name} imports {other}'
    for name in PACKAGE
    if name != 'glue_jax'
    for other in own_imports(name)
    if rank(other) > rank(name)
  ]
  assert wrong == []


def test_data_and_models_do_not_know_each_other():
  wrong = [
    f'{name} imports {other}'
    for name in PACKAGE
    for other in own_imports(name)
    if {name.split('.')[1], other.split('.')[1]} == {'data', 'models'}
  ]
  assert wrong == []


def bound_names(path):
  """Names that a module binds anywhere."""
  for node in ast.walk(parsed(path)):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
      yield node.name
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
      yield node.id
    elif isinstance(node, ast.Import | ast.ImportFrom):
      yield from (alias.asname or alias.name for alias in node.names)


def test_what_is_imported_is_there():
  """Imports inside functions too: they fail only once the function runs."""
  own = sources('glue_jax', 'launch', 'configs', 'tests')
  modules = {module_name(path): path for path in own}
  wrong = []
  for path in own:
    for node in ast.walk(parsed(path)):
      if not isinstance(node, ast.ImportFrom):
        continue
      if node.module.split('.')[0] not in ('glue_jax', 'launch', 'configs'):
        continue
      there = set(bound_names(modules[node.module]))
      wrong += [
        f'{path.relative_to(ROOT)}: {node.module}.{alias.name}'
        for alias in node.names
        if alias.name not in there
        and f'{node.module}.{alias.name}' not in modules
      ]
  assert wrong == []


def test_no_import_cycle_and_short_chains():
  chains = {}

  def chain(name, above):
    assert name not in above, f'import cycle: {(*above, name)}'
    if name not in chains:
      below = [chain(n, (*above, name)) for n in own_imports(name)]
      chains[name] = (name, *max(below, key=len, default=()))
    return chains[name]

  longest = max((chain(name, ()) for name in PACKAGE), key=len)
  assert len(longest) <= LONGEST_CHAIN, longest


def test_package_does_not_import_launch_configs_or_tests():
  for path in PACKAGE.values():
    tops = {name.split('.')[0] for name in imported(path)}
    assert not tops & {'launch', 'configs', 'tests'}, path


def test_no_tensorflow_pytorch_or_pickle_at_run_time():
  # clu.metric_writers and clu.periodic_actions import TensorFlow.
  banned = {'tensorflow', 'torch', 'clu', 'pickle', 'dill', 'joblib'}
  for path in CODE:
    if 'benchmarks' not in path.parts:  # PyTorch is the peer there
      tops = {name.split('.')[0] for name in imported(path)}
      assert not tops & banned, path


def test_importing_everything_brings_in_no_other_framework():
  names = [n for n in PACKAGE if n != 'glue_jax']
  code = (
    f'import importlib, sys\n[importlib.import_module(n) for n in {names}]\n'
    "print([m for m in ('tensorflow', 'torch') if m in sys.modules])"
  )
  out = subprocess.run(
    [sys.executable, '-c', code],
    cwd=ROOT,
    check=True,
    capture_output=True,
    text=True,
  )
  assert out.stdout.strip().splitlines()[-1] == '[]'


def test_no_pickle_is_loaded_through_numpy():
  for path in CODE:
    for node in ast.walk(parsed(path)):
      if isinstance(node, ast.keyword) and node.arg == 'allow_pickle':
        assert getattr(node.value, 'value', None) is False, path


def test_package_files_hold_a_docstring_and_nothing_else():
  """Two or three lines: what lives there, and what may import it."""
  for path in sources('glue_jax', 'launch', 'configs', 'tests'):
    if path.name == '__init__.py':
      doc = ast.get_docstring(parsed(path))
      assert len(parsed(path).body) == (1 if doc else 0), path
      assert doc or 'tests' in path.parts, f'{path}: no docstring'


def test_the_root_holds_the_seam_and_no_folder_is_crowded():
  """Pages and the licence, which aren't modules, don't count at the root."""
  root = [path.name for path in (ROOT / 'glue_jax').glob('*.py')]
  assert len(root) <= ROOT_FILES, root
  for top in ('glue_jax', 'launch', 'configs', 'tests'):
    for folder in {path.parent for path in sources(top)}:
      files = [path for path in folder.iterdir() if path.is_file()]
      assert len(files) <= FOLDER_FILES, f'{folder}: {len(files)} files'


def test_the_loop_names_no_method_model_or_task():
  from glue_jax.data.tasks import by_name

  names = {path.stem for path in sources('glue_jax/methods')}
  names |= {
    path.stem
    for path in sources('glue_jax/models')
    if '\nPRESETS' in path.read_text()
  }
  names = (names | set(by_name.TASKS)) - {'__init__'}
  text = LOOP.read_text().lower()
  named = [n for n in sorted(names) if re.search(rf'\b{re.escape(n)}\b', text)]
  assert named == []


@pytest.mark.parametrize(
  'folder', ['glue_jax', 'launch', 'configs', 'tests', 'setup.py']
)
def test_file_sizes(folder):
  paths = [ROOT / folder] if folder.endswith('.py') else sources(folder)
  wrong = []
  for path in paths:
    lines = len(path.read_text().splitlines())
    header = ast.get_docstring(parsed(path)) or ''
    reason = f'{FILE_LINES} lines' in ' '.join(header.split())
    if lines > (FILE_LINES_WITH_REASON if reason else FILE_LINES):
      wrong.append(f'{path.relative_to(ROOT)}: {lines} lines')
  assert wrong == []


def functions(path):
  for node in ast.walk(parsed(path)):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      yield node


def test_function_sizes():
  wrong = []
  for path in CODE:
    for node in functions(path):
      loop = path == LOOP and node.name == 'train'
      start = node.body[0].lineno
      if ast.get_docstring(node):  # its length is no burden
        start = node.body[0].end_lineno
      lines = node.end_lineno - start + 1
      if lines > (LOOP_LINES if loop else FUNCTION_LINES):
        wrong.append(f'{path.relative_to(ROOT)}: {node.name} {lines} lines')
  assert wrong == []


def test_everything_public_is_documented():
  wrong = []
  for path in CODE:
    if path.name == '__init__.py':
      continue
    if not ast.get_docstring(parsed(path)):
      wrong.append(f'{path.relative_to(ROOT)}: no header')
    for node in parsed(path).body:
      kinds = ast.FunctionDef | ast.ClassDef
      if (
        isinstance(node, kinds)
        and not node.name.startswith('_')
        and node.name != 'get_config'  # its file's header documents it
        and not ast.get_docstring(node)
      ):
        wrong.append(f'{path.relative_to(ROOT)}: {node.name}')
  assert wrong == []


def test_public_signatures_are_typed():
  wrong = []
  for path in sources('glue_jax', 'launch'):
    for node in parsed(path).body:
      if isinstance(node, ast.FunctionDef) and not node.name.startswith('_'):
        arguments = [*node.args.posonlyargs, *node.args.args]
        arguments += node.args.kwonlyargs
        if node.returns is None or any(a.annotation is None for a in arguments):
          wrong.append(f'{path.relative_to(ROOT)}: {node.name}')
  assert wrong == []


def test_nothing_unfinished():
  # Split, so that this file doesn't find itself.
  marks = ('TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'NotImplemented' + 'Error')
  for path in sources('glue_jax', 'launch', 'configs', 'tests'):
    present = [mark for mark in marks if mark in path.read_text()]
    assert not present, f'{path}: {present}'


def test_files_that_the_code_names_exist():
  paths = [*ROOT.glob('*.py'), *CODE, *sources('tests')]
  files = [f'/{path.relative_to(ROOT)}' for path in paths]
  wrong = []
  for path in CODE:
    for name in re.findall(r'(?<![\w>}])\w[\w/]*\.py\b', path.read_text()):
      if not any(file.endswith(f'/{name}') for file in files):
        wrong.append(f'{path.relative_to(ROOT)}: {name}')
  assert wrong == []


def test_tests_are_named_so_that_they_run():
  for path in sources('tests'):
    defines = [n.name for n in functions(path) if n.name.startswith('test_')]
    if defines:
      assert path.name.endswith('_test.py'), f'{path} is never collected'


def has_public_functions(path):
  kinds = ast.FunctionDef | ast.ClassDef
  return any(
    isinstance(node, kinds) and not node.name.startswith('_')
    for node in parsed(path).body
  )


def names_of(path):
  """Modules of the project that a file imports, or starts by name in a test."""
  names = set()
  for node in ast.walk(parsed(path)):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names |= {f'{node.module}.{alias.name}' for alias in node.names}
      names.add(node.module)
  if path.name.endswith('_test.py'):
    names |= set(re.findall(r'\blaunch\.\w+', path.read_text()))
  return names & set(PROJECT)


@functools.cache
def reached(test, folder):
  """Modules that a test runs: those it imports, itself or through them.

  Parts that a config names are not imported: of `folder`, a test reaches those
  whose name it has as a word.
  """
  text = test.read_text()
  left, seen = names_of(test), set()
  left |= {
    name
    for name in PACKAGE
    if name.rpartition('.')[0] == folder
    and re.search(rf'\b{name.rpartition(".")[2]}\b', text)
  }
  while left:
    name = left.pop()
    if name not in seen:
      seen.add(name)
      left |= names_of(PROJECT[name])
  return seen


def test_every_module_has_a_test_or_the_list_says_which_covers_it():
  used, wrong = set(), []
  for name, path in PACKAGE.items():
    if path.name == '__init__.py' or not has_public_functions(path):
      continue
    place = '/'.join(name.split('.')[1:])
    own = ROOT / 'tests' / f'{place}_test.py'
    if own.exists() and name in names_of(own):
      continue
    keys = [key for key in COVERED if fnmatch.fnmatch(place, key)]
    if not keys:
      wrong.append(f'{place}: no tests/{place}_test.py that imports it')
      continue
    key = max(keys, key=lambda key: (key == place, len(key)))
    used.add(key)
    test = ROOT / 'tests' / f'{COVERED[key][0]}.py'
    listed = key == 'methods/*'  # the laws read the folder
    if not test.exists():
      wrong.append(f'{place}: no {test.relative_to(ROOT)}')
    elif not (listed or name in reached(test, name.rpartition('.')[0])):
      wrong.append(f'{place}: {test.relative_to(ROOT)} does not reach it')
  assert wrong == []
  assert set(COVERED) - used == set(), 'entries of modules with own tests'
