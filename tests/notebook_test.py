"""The notebooks run from top to bottom, and hold no saved output."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import jupyter_client
import nbclient
import nbformat
import pytest

from glue_jax.devices import accelerator, sharding
from glue_jax.training import begin, schema
from glue_jax.weights import saved_model
from tests.conftest import tiny_config

ROOT = pathlib.Path(__file__).parents[1]
# {notebook: (pictures, what it prints)}
SHOWN = {
  'quickstart': (
    1,
    (
      'mini_sentiment',
      'bag of words',
      'of 500 are wrong',
      'the film is not great . ->',
    ),
  ),
  'own_data': (
    1,
    (
      'labels 0 billing, 1 delivery, 2 repair',
      'bag of words',
      "on ['validation']",
      'the parcel is fine but the charger is not right',
    ),
  ),
  'lora': (
    1,
    ('parameters learnt', 'run/model', 'bundle', 'the same as the run: True'),
  ),
  'long_text': (
    2,
    ('long test: 200 reports', 'tokens read', 'attention, MB', 'PoNet, MB'),
  ),
  'leaderboard': (1, ('specialist', 'even minus', 'Kemeny')),
}
# Colab lends a GPU to those that train.
ON_CPU = {'leaderboard'}


def read(name):
  path = ROOT / 'notebooks' / f'{name}.ipynb'
  return nbformat.read(path, as_version=4)


def code(notebook):
  return [cell for cell in notebook.cells if cell.cell_type == 'code']


def printed(notebook):
  outputs = [output for cell in code(notebook) for output in cell.outputs]
  return ''.join(output.get('text', '') for output in outputs)


def images(notebook):
  outputs = [output for cell in code(notebook) for output in cell.outputs]
  return [o for o in outputs if 'image/png' in o.get('data', {})]


@pytest.fixture(scope='module')
def kernel(tmp_path_factory):
  """One process for all of them, so that jax starts once."""
  paths = [str(ROOT), os.environ.get('PYTHONPATH', '')]
  changes = {
    'GLUE_JAX_NOTEBOOK_EPOCHS': '0.05',  # a few steps
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': os.pathsep.join(filter(None, paths)),
    'TMPDIR': str(tmp_path_factory.mktemp('notebooks')),
  }
  manager = jupyter_client.KernelManager(kernel_name='python3')
  manager.start_kernel(cwd=ROOT / 'notebooks', env=os.environ | changes)
  yield manager
  manager.shutdown_kernel(now=True)


@pytest.fixture(scope='module')
def backbone(tmp_path_factory):
  """A folder in place of the package with MiniLM."""
  folder = tmp_path_factory.mktemp('backbone')
  config = tiny_config(
    task=dict(name='mini_sentiment'),
    data=dict(max_length=32),
    model=dict(max_positions=32),
  )
  parts = begin.build(schema.bind(config, 1), 0)
  params = sharding.gather(parts.params, parts.mesh)
  saved_model.save(folder, parts.plain.model, params)
  parts.bundle.tokenizer.save(folder)
  return folder


def test_all_notebooks_are_run():
  names = {path.stem for path in (ROOT / 'notebooks').glob('*.ipynb')}
  assert names == set(SHOWN)


@pytest.mark.parametrize('name', SHOWN)
def test_notebook_is_valid_and_without_output(name):
  notebook = read(name)
  nbformat.validate(notebook)
  assert notebook.cells[0].source.startswith('# ')  # its title
  assert all(cell.outputs == [] for cell in code(notebook))
  assert all(cell.execution_count is None for cell in code(notebook))
  wanted = None if name in ON_CPU else 'GPU'
  assert notebook.metadata.get('accelerator') == wanted


def test_the_first_cell_is_the_same_in_all():
  assert len({code(read(name))[0].source for name in SHOWN}) == 1


@pytest.mark.parametrize('name', SHOWN)
def test_notebook_runs_and_shows(kernel, request, name):
  notebook = read(name)
  weights = request.getfixturevalue('backbone') if name == 'lora' else ''
  # The names of the notebook before are none of this one's.
  start = f"%reset -f\nimport os\nos.environ['GLUE_JAX_WEIGHTS'] = '{weights}'"
  notebook.cells.insert(0, nbformat.v4.new_code_cell(f'{start}\ndel os'))
  client = nbclient.NotebookClient(notebook, km=kernel, timeout=300)
  client.execute()
  client.kc.stop_channels()
  pictures, texts = SHOWN[name]
  assert len(images(notebook)) == pictures
  text = printed(notebook)
  assert text.startswith('jax '), text[:200]
  for line in texts:
    assert line in text, line


@pytest.fixture
def install(monkeypatch, tmp_path):
  """Runs the first cell where nothing is installed: what it would start."""
  commands = []
  find_spec = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    'find_spec',
    lambda name: None if name == 'glue_jax' else find_spec(name),
  )
  monkeypatch.setattr(sys, 'path', [*sys.path])
  monkeypatch.setattr(accelerator, 'requirement', lambda root: f'{root}[x]')
  monkeypatch.setattr(
    subprocess,
    'run',
    lambda command, check: commands.append(list(map(str, command))),
  )

  def run(folder, address=''):
    monkeypatch.chdir(folder)
    source = code(read('quickstart'))[0].source
    source = source.replace("REPOSITORY = ''", f'REPOSITORY = {address!r}')
    exec(compile(source, 'quickstart.ipynb', 'exec'), {})  # it is ours
    return commands

  return run


def test_the_first_cell_installs_the_checkout_it_is_in(install):
  pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '-e']
  assert install(ROOT / 'notebooks') == [[*pip, f'{ROOT}[x]']]


def test_the_first_cell_clones_where_there_is_no_checkout(install, tmp_path):
  with pytest.raises(ValueError, match='set REPOSITORY to the address'):
    install(tmp_path)
  clone, pip = install(tmp_path, 'https://example.org/it.git')
  root = tmp_path / 'glue_jax_repository'
  assert clone[:2] == ['git', 'clone']
  assert clone[-2:] == ['https://example.org/it.git', str(root)]
  assert pip[-1] == f'{root}[x]'
