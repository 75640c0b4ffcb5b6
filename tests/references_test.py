"""What docstrings and comments name in backquotes, as `module.name`, exists."""

import ast
import collections
import io
import pathlib
import re
import tokenize

import pytest

from glue_jax.config import config
from tests import layout_test

ROOT = pathlib.Path(__file__).parents[1]
REFERENCE = re.compile(r'`([A-Za-z]\w*(?:\.[A-Za-z_]\w*)+)(?:\(.*?\))?`')
# Not ours, or the end of a file's name.
LIBRARIES = {'jax', 'nn', 'dataclasses', 're', 'sys'}
ENDINGS = {'csv', 'json', 'jsonl', 'png', 'py', 'safetensors', 'tsv'}


def described():
  """{name: {what it defines}} of our modules, by all ends of their paths.

  `glue_jax.optim.galore` is `optim.galore` and `galore` as well; classes are
  entries too. A name that several have holds what any of them defines.
  """
  names = collections.defaultdict(set)
  for path in layout_test.CODE:
    parts = layout_test.module_name(path).split('.')
    body = layout_test.parsed(path).body
    for i in range(len(parts)):
      names['.'.join(parts[i:])] |= bound(body)
      if i:  # a folder holds its files
        names['.'.join(parts[:i])].add(parts[i])
    for node in body:
      if isinstance(node, ast.ClassDef):
        names[node.name] |= bound(node.body)
  return names


def bound(body):
  """Names that statements bind: functions, classes, values and imports."""
  names = set()
  for node in body:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
      names.add(node.name)
    elif isinstance(node, ast.Import | ast.ImportFrom):
      names |= {alias.asname or alias.name for alias in node.names}
    else:
      names |= {
        part.id
        for part in ast.walk(node)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
      }
  return names


def meanings(path):
  """{name: the module or name that it stands for}, and the local names."""
  imports, local = {}, set()
  for node in ast.walk(layout_test.parsed(path)):
    if isinstance(node, ast.ImportFrom):
      for alias in node.names:
        imports[alias.asname or alias.name] = f'{node.module}.{alias.name}'
    elif isinstance(node, ast.Import):
      for alias in node.names:
        imports[alias.asname or alias.name] = alias.name
    elif isinstance(node, ast.arg):
      local.add(node.arg)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
      local.add(node.id)
  return imports, local


def references(path):
  text = io.StringIO(path.read_text())
  for token in tokenize.generate_tokens(text.readline):
    if token.type == tokenize.COMMENT or token.string.startswith('"""'):
      for name in REFERENCE.findall(token.string):
        if name.rpartition('.')[2] not in ENDINGS:
          yield name


def exists(name, known):
  """Whether the longest beginning that is known defines what follows it."""
  parts = name.split('.')
  for i in range(len(parts), 0, -1):
    beginning = '.'.join(parts[:i])
    if beginning in known:
      return i == len(parts) or parts[i] in known[beginning]
  return False


@pytest.fixture(scope='module')
def known():
  return described()


def test_what_the_text_names_exists(known):
  sections = {*config.DEFAULTS, *LIBRARIES}
  wrong = []
  for path in layout_test.CODE:
    imports, local = meanings(path)
    for name in references(path):
      head, _, rest = name.partition('.')
      target = imports.get(head, head)
      if target.startswith(('glue_jax', 'launch', 'configs')):
        good = exists(f'{target}.{rest}', known)
      else:
        outside = head in imports or head in local or head in sections
        good = outside or exists(name, known)
      if not good:
        wrong.append(f'{path.relative_to(ROOT)}: {name}')
  assert wrong == []


@pytest.mark.parametrize(
  'name, there',
  [
    ('training.begin.begin', True),
    ('begin.begin', True),
    ('Method.plugs', True),
    ('begin.nothing', False),
    ('restore.open_run', False),
  ],
)
def test_a_name_is_looked_up_by_the_end_of_its_path(known, name, there):
  assert exists(name, known) is there
