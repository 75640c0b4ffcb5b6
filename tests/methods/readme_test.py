"""The page on methods, against the code that it names."""

import ast
import dataclasses
import re

import pytest

from glue_jax.config import config
from glue_jax.method import Method
from tests.conftest import ROOT

PAGE = (ROOT / 'glue_jax/methods/README.md').read_text()
TABLE = [line for line in PAGE.splitlines() if line.startswith('| ')]
ROWS = [line.split('|')[1:-1] for line in TABLE]


def definitions(path):
  """Names of functions and classes of a file, methods as Class.method."""
  names = set()
  for node in ast.parse(path.read_text()).body:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
      names.add(node.name)
    if isinstance(node, ast.ClassDef):
      functions = (n for n in node.body if isinstance(n, ast.FunctionDef))
      names |= {f'{node.name}.{n.name}' for n in functions}
  return names


def test_fields_stand_in_the_order_of_the_record():
  named = [re.fullmatch(r' `(\w+)` ', row[0]) for row in ROWS]
  fields = [field.name for field in dataclasses.fields(Method)]
  assert [hit[1] for hit in named if hit] == fields
  listed = re.findall(r'^    (\w+): ', Method.__doc__, re.MULTILINE)
  assert listed == fields


@pytest.mark.parametrize('place', re.findall(r'`([\w/]+\.py: [\w.]+)`', PAGE))
def test_functions_that_the_page_names_are_there(place):
  file, name = place.split(': ')
  assert name in definitions(ROOT / 'glue_jax' / file)


def test_who_calls_a_field_reads_it():
  for row in ROWS:
    field = re.fullmatch(r' `(\w+)` ', row[0])
    if field and row[2].strip():
      file = re.search(r'`([\w/]+\.py):', row[2])[1]
      text = (ROOT / 'glue_jax' / file).read_text()
      assert re.search(rf'\b{field[1]}\b', text), field[1]


def test_the_recipe_is_that_of_lora():
  block = PAGE.split('```python\n')[1].split('```')[0]
  recipe = (ROOT / 'glue_jax/methods/lora.py').read_text().splitlines()
  lines = [line for line in block.splitlines() if line]
  assert len(lines) > 10
  for line in lines:
    assert line in recipe, line


@pytest.mark.parametrize('name', config.files('methods'))
def test_each_file_says_when_to_use_it_and_what_it_costs(name):
  header = config.module('methods', name, 'methods').__doc__
  for word in ('Use it: ', 'Costs: ', 'Not with: '):
    assert re.search(rf'^{word}\S', header, re.MULTILINE), word
