"""Which accelerator this machine has, and whether the installed jax is for it.

Importing this file imports no jax: a notebook asks before it installs one.
"""

import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping

PLATFORMS = ('gpu', 'tpu', 'cpu')
DEVICES = pathlib.Path('/dev')
_PLUGINS = ('jax-cuda12-plugin', 'jax-cuda13-plugin')
_RESTART = 'restart the runtime and run the cells again'


def find() -> str:
  """Returns what the machine has: 'gpu' (NVIDIA), 'tpu' or 'cpu'."""
  command = shutil.which('nvidia-smi')
  if command:
    done = subprocess.run(
      [command, '-L'], capture_output=True, text=True, check=False
    )
    if done.stdout.startswith('GPU '):  # without a driver it fails
      return 'gpu'
  chips = ('accel*', 'vfio/[0-9]*')  # TPU v2 to v4, and later ones
  if any(any(DEVICES.glob(chip)) for chip in chips):
    return 'tpu'
  return 'cpu'


def extra(platform: str, versions: Mapping[str, str]) -> str:
  """Returns the extra of setup.py that brings this platform's jax, '' for none.

  CUDA 12 by default: its drivers (525 and later) are the more common ones, and
  Colab's jax is built for it. Where a plugin for CUDA 13 is installed, that one
  is renewed: the two clash in one environment.

  Args:
    platform: one of `PLATFORMS`.
    versions: {distribution: version} of what is installed.
  """
  cuda = 'cuda' if 'jax-cuda13-plugin' in versions else 'cuda12'
  return {'gpu': cuda, 'tpu': 'tpu', 'cpu': ''}[platform]


def requirement(root: str | os.PathLike) -> str:
  """Returns what to install of a checkout here, such as 'PATH[cuda12]'.

  Args:
    root: folder of the checkout.
  """
  name = extra(find(), installed())
  return f'{root}[{name}]' if name else str(root)


def installed() -> dict[str, str]:
  """Returns {distribution: version} of jax and its parts, where installed."""
  versions = {}
  for name in ('jax', 'jaxlib', 'numpy', *_PLUGINS):
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return versions


def check_versions(
  versions: Mapping[str, str], loaded: Mapping[str, str]
) -> None:
  """Compares the versions of what belongs together.

  Args:
    versions: {distribution: version} of what is installed.
    loaded: the same of what this process has imported.

  Raises:
    RuntimeError: two plugins, a plugin of another version than jaxlib (jax
      then computes on the CPU), or a package that was replaced after it was
      imported.
  """
  plugins = [name for name in _PLUGINS if name in versions]
  if len(plugins) > 1:
    raise RuntimeError(
      f'found {" and ".join(plugins)}; expected one of them: pip uninstall the '
      f'other and {_RESTART}'
    )
  for name in plugins:
    if _release(versions[name]) != _release(versions['jaxlib']):
      cuda = name.split('-')[1]
      raise RuntimeError(
        f'found {name} {versions[name]} beside jaxlib {versions["jaxlib"]}; '
        f"expected one version: pip install 'jax[{cuda}]=={versions['jax']}' "
        f'and {_RESTART}'
      )
  for name, version in loaded.items():
    if version != versions.get(name, version):
      raise RuntimeError(
        f'{name} {version} is loaded, but {versions[name]} is installed; '
        f'{_RESTART}'
      )


def describe() -> str:
  """Returns versions and devices in one line: 'jax 0.10.2 on 1 cpu: cpu'.

  Raises:
    RuntimeError: see `check_versions`; or the machine has an accelerator that
      jax doesn't use, though JAX_PLATFORMS doesn't ask for another.
  """
  versions = installed()
  names = versions.keys() & sys.modules.keys()
  check_versions(
    versions, {name: sys.modules[name].__version__ for name in names}
  )
  import jax

  devices = jax.devices()
  there, used = find(), devices[0].platform
  if there != used and not os.environ.get('JAX_PLATFORMS'):
    name = extra(there, versions)
    raise RuntimeError(
      f'this machine has a {there}, but jax {jax.__version__} uses the {used}; '
      f'install glue_jax with the extra [{name}], or set JAX_PLATFORMS={used}'
    )
  kinds = ', '.join(sorted({device.device_kind for device in devices}))
  return f'jax {jax.__version__} on {len(devices)} {used}: {kinds}'


def _release(version: str) -> str:
  """The numbers that a version begins with; jax compares these."""
  return re.match(r'[\d.]*\d', version).group()
