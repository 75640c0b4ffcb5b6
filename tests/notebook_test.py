"""The notebooks run from top to bottom, and hold no saved output."""

import os
import pathlib

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / 'notebooks').glob('*.ipynb'))


@pytest.fixture
def environment(monkeypatch, tmp_path):
  """A few steps instead of ten epochs; the checkout is importable."""
  monkeypatch.setenv('GLUE_JAX_NOTEBOOK_EPOCHS', '0.05')
  path = os.environ.get('PYTHONPATH', '')
  monkeypatch.setenv('PYTHONPATH', f'{ROOT}{os.pathsep}{path}')
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  monkeypatch.setenv('TMPDIR', str(tmp_path))


def texts(notebook):
  """All printed text of the executed cells, one string for each cell."""
  return [
    ''.join(o.get('text', '') for o in cell.outputs)
    for cell in notebook.cells
    if cell.cell_type == 'code'
  ]


def images(notebook):
  return [
    output.data['image/png']
    for cell in notebook.cells
    if cell.cell_type == 'code'
    for output in cell.outputs
    if 'image/png' in output.get('data', {})
  ]


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_valid_and_without_output(path):
  notebook = nbformat.read(path, as_version=4)
  nbformat.validate(notebook)
  code = [cell for cell in notebook.cells if cell.cell_type == 'code']
  assert all(cell.outputs == [] for cell in code)
  assert all(cell.execution_count is None for cell in code)
  # Colab: the first code cell installs what isn't there.
  assert "find_spec('glue_jax')" in code[0].source
  assert 'pip' in code[0].source


def test_quickstart_trains_and_shows_curve_and_predictions(environment):
  notebook = nbformat.read(
    ROOT / 'notebooks' / 'quickstart.ipynb', as_version=4
  )
  nbclient.NotebookClient(
    notebook,
    timeout=300,
    resources={'metadata': {'path': str(ROOT / 'notebooks')}},
  ).execute()
  assert len(images(notebook)) == 1
  printed = '\n'.join(texts(notebook))
  assert 'mini_sentiment' in printed and 'bag of words' in printed
  assert 'of 500 are wrong' in printed
  assert 'the film is not boring . ->' in printed
