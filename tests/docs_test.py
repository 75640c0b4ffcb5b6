"""The reference is built from the docstrings, with a page for each wing."""

import ast
import pathlib
import re

import pdoc
import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope='module')
def pages(tmp_path_factory):
  folder = tmp_path_factory.mktemp('docs')
  pdoc.render.configure(docformat='google', template_directory=ROOT / '.pdoc')
  # The wings' own pages and the seam's; their files are rendered alike.
  pdoc.pdoc('glue_jax', r'!glue_jax\.\w+\.', output_directory=folder)
  return folder / 'glue_jax'


def test_each_wing_has_a_page_that_says_what_lives_there(pages):
  for path in (ROOT / 'glue_jax').glob('*/__init__.py'):
    text = (pages / f'{path.parent.name}.html').read_text()
    assert re.search(r'\bimport', text), path


def test_records_and_functions_are_there_with_their_arguments(pages):
  text = (pages / 'method.html').read_text()
  assert 'id="Method"' in text
  assert 'id="Method.plugs"' in text and 'id="matching"' in text


def test_how_a_method_is_written_is_on_the_page_of_methods(pages):
  page = (ROOT / 'glue_jax' / 'methods' / 'README.md').read_text()
  title = next(x for x in page.splitlines() if x.startswith('#')).lstrip('# ')
  assert title in (pages / 'methods.html').read_text()


def test_the_command_is_the_one_that_contributing_names():
  text = (ROOT / 'glue_jax' / 'CONTRIBUTING.md').read_text()
  assert 'pdoc ./glue_jax --docformat google --template-directory .pdoc' in text


def test_the_start_page_says_what_is_on_the_others(pages):
  start = (pages.parent / 'glue_jax.html').read_text()
  for path in (ROOT / 'glue_jax').glob('*/__init__.py'):
    sentence = ast.get_docstring(ast.parse(path.read_text())).split('\n')[0]
    assert f'glue_jax/{path.parent.name}.html' in start
    assert sentence.split('`')[0] in start, path


def test_no_placeholder_is_read_as_html():
  """<name> in running text vanishes from a page, and <s> strikes it through."""
  for path in sorted((ROOT / 'glue_jax').rglob('*.py')):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        text = ast.get_docstring(node) or ''
        text = re.sub(r'`[^`]*`', '', text)
        if isinstance(node, ast.Module):  # what is indented there is code
          text = re.sub(r'^  .*', '', text, flags=re.MULTILINE)
        elif node.name.startswith('_'):  # has no page
          continue
        tags = re.findall(r'<[a-z_/!][^>\n]*>', text)
        assert not tags, f'{path}: put {tags} between backticks'
