"""Which accelerator is there, the extra for it, and versions that clash."""

import pathlib
import runpy
import subprocess
import sys

import pytest

from glue_jax.devices import accelerator

ROOT = pathlib.Path(__file__).parents[2]
# Colab with a GPU, August 2026: what its image holds.
COLAB = {
  'jax': '0.7.2',
  'jaxlib': '0.7.2',
  'jax-cuda12-plugin': '0.7.2',
  'numpy': '2.1.3',
}


@pytest.mark.parametrize(
  'platform, versions, expected',
  [
    ('gpu', COLAB, 'cuda12'),
    ('gpu', {}, 'cuda12'),
    ('gpu', {'jax-cuda13-plugin': '0.11.2'}, 'cuda'),
    ('tpu', {}, 'tpu'),
    ('cpu', COLAB, ''),
  ],
)
def test_the_extra_is_that_of_the_device(platform, versions, expected):
  assert accelerator.extra(platform, versions) == expected


def test_every_extra_is_one_of_setup_py(monkeypatch):
  import setuptools

  given = {}
  monkeypatch.setattr(setuptools, 'setup', given.update)
  monkeypatch.chdir(ROOT)
  runpy.run_path('setup.py')
  extras = given['extras_require']
  for name, jax in (('cuda12', 'cuda12'), ('cuda', 'cuda13'), ('tpu', 'tpu')):
    (requirement,) = extras[name]
    assert requirement.startswith(f'jax[{jax}]>='), requirement
    # The same range of jax as without an accelerator.
    assert f'jax{requirement.partition("]")[2]}' in given['install_requires']


@pytest.mark.parametrize(
  'output, chips, expected',
  [
    ('GPU 0: Tesla T4 (UUID: GPU-1)\n', ('accel0',), 'gpu'),
    ('', ('accel0',), 'tpu'),
    ('', ('vfio/0',), 'tpu'),
    ('', ('vfio/vfio',), 'cpu'),
    ('NVIDIA-SMI has failed\n', (), 'cpu'),
    (None, (), 'cpu'),
  ],
)
def test_what_the_machine_has(monkeypatch, tmp_path, output, chips, expected):
  """`nvidia-smi` is there and prints `output`, or isn't (None)."""
  for chip in chips:
    (tmp_path / chip).parent.mkdir(exist_ok=True)
    (tmp_path / chip).touch()
  found = None if output is None else 'nvidia-smi'
  monkeypatch.setattr(accelerator.shutil, 'which', lambda name: found)
  done = subprocess.CompletedProcess([], 0, output)
  monkeypatch.setattr(accelerator.subprocess, 'run', lambda *a, **k: done)
  monkeypatch.setattr(accelerator, 'DEVICES', tmp_path)
  assert accelerator.find() == expected


def test_the_requirement_names_the_checkout(monkeypatch):
  monkeypatch.setattr(accelerator, 'find', lambda: 'tpu')
  assert accelerator.requirement('here') == 'here[tpu]'
  monkeypatch.setattr(accelerator, 'find', lambda: 'cpu')
  assert accelerator.requirement('here') == 'here'


@pytest.mark.parametrize(
  'changes, loaded, message',
  [
    (
      {'jax': '0.11.2', 'jaxlib': '0.11.2'},
      {},
      'found jax-cuda12-plugin 0.7.2 beside jaxlib 0.11.2; expected one '
      "version: pip install 'jax[cuda12]==0.11.2'",
    ),
    (
      {'jax-cuda13-plugin': '0.7.2'},
      {},
      'found jax-cuda12-plugin and jax-cuda13-plugin; expected one of them',
    ),
    ({}, {'numpy': '2.0.2'}, 'numpy 2.0.2 is loaded, but 2.1.3 is installed'),
  ],
)
def test_versions_that_clash_are_refused_in_one_line(changes, loaded, message):
  with pytest.raises(RuntimeError) as error:
    accelerator.check_versions(COLAB | changes, loaded)
  assert message in str(error.value)
  assert 'restart the runtime' in str(error.value)
  assert '\n' not in str(error.value)


def test_versions_that_fit_pass():
  accelerator.check_versions(COLAB, {'jax': '0.7.2'})
  local = COLAB | {'jaxlib': '0.7.2+local'}
  accelerator.check_versions(local, {})


def test_devices_in_one_line(monkeypatch):
  assert accelerator.describe().startswith('jax ')
  assert ' on 1 cpu' in accelerator.describe()
  # A GPU that jax doesn't use is told, unless the CPU was asked for.
  monkeypatch.setattr(accelerator, 'find', lambda: 'gpu')
  assert ' on 1 cpu' in accelerator.describe()
  monkeypatch.delenv('JAX_PLATFORMS')
  with pytest.raises(RuntimeError, match=r'has a gpu.* extra \[cuda12\]'):
    accelerator.describe()


def test_asking_imports_no_jax():
  """Else a notebook would go on with the jax that it then replaces."""
  code = (
    'import sys\nfrom glue_jax.devices import accelerator\n'
    "accelerator.requirement('.')\nassert 'jax' not in sys.modules"
  )
  subprocess.run([sys.executable, '-S', '-c', code], cwd=ROOT, check=True)
