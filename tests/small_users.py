"""Small methods and objectives that a config of a test can name.

Each is the one user of a seam that no published system needs yet.
"""

import contextlib
import pathlib

import glue_jax.methods
import glue_jax.objectives

HERE = pathlib.Path(__file__).parent / 'users'


@contextlib.contextmanager
def named():
  """While their files stand among the package's."""
  packages = {'methods': glue_jax.methods, 'objectives': glue_jax.objectives}
  for name, package in packages.items():
    package.__path__.append(str(HERE / name))
  yield
  for package in packages.values():
    package.__path__.pop()
