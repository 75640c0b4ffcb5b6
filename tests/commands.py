"""Commands as the tests run them: in a process of their own, or in this one."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr

import pytest
from absl import flags

from launch.cli import command, errors
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
  before, said = set(flags.FLAGS), io.StringIO()
  with pytest.raises(SystemExit) as stopped, redirect_stderr(said):
    command.run(
      module.__doc__,
      module.define_flags,
      module.main,
      ['prog', *arguments],
      'python -m launch.prog',
      **settings,
    )
  forget(before)
  text = said.getvalue()
  print(text, file=sys.stderr, end='')
  if stopped.value.code == errors.REFUSED and 'error: ' in text:
    return text[text.index('error: ') :].rstrip()
  return stopped.value.code


def forget(before):
  """Takes away the flags that were defined since `before`."""
  for name in set(flags.FLAGS) - before:
    delattr(flags.FLAGS, name)
  flags.FLAGS.unparse_flags()
