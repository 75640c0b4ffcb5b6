"""Commands as the tests run them: in a process of their own, or in this one."""

import os
import subprocess
import sys

import pytest
from absl import flags

from launch.cli import command
from tests.conftest import ROOT


def run_command(
  name: str, *arguments: object, **environment: str
) -> subprocess.CompletedProcess:
  """Runs `python -m launch.NAME ARGUMENTS` and returns what came of it."""
  return subprocess.run(
    [sys.executable, '-m', f'launch.{name}', *map(str, arguments)],
    cwd=ROOT,
    env=os.environ | environment,
    capture_output=True,
    text=True,
    check=False,
  )


def status(module, *arguments, **settings):
  """Exit status of a command in this process, or its line of error."""
  before = set(flags.FLAGS)
  with pytest.raises(SystemExit) as stopped:
    command.run(
      module.__doc__,
      module.define_flags,
      module.main,
      ['prog', *arguments],
      'python -m launch.prog',
      **settings,
    )
  forget(before)
  return stopped.value.code


def forget(before):
  """Takes away the flags that were defined since `before`."""
  for name in set(flags.FLAGS) - before:
    delattr(flags.FLAGS, name)
  flags.FLAGS.unparse_flags()
