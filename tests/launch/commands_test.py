"""What all commands share: --help, wrong flags, arguments, exit statuses."""

import importlib
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from absl import app, flags

from glue_jax.training import checkpoint, train
from launch.cli import command, programs
from tests.commands import forget, status

ROOT = pathlib.Path(__file__).parents[2]
COMMANDS = sorted(
  path.stem for path in (ROOT / 'launch').glob('*.py') if path.stem[0] != '_'
)
# Command -> the folder of its programs.
DISPATCH = {
  'benchmark': 'benchmarks',
  'miniature': 'miniatures',
  'probe': 'probes',
  'study': 'studies',
}
PROGRAMS = [
  (name, folder, program)
  for name, folder in DISPATCH.items()
  for program in programs.names(ROOT / 'launch' / folder)
]


@pytest.fixture(autouse=True)
def clean_flags():
  """Takes away the flags that a test has defined in this process."""
  before = set(flags.FLAGS)
  yield
  forget(before)


def check_help_and_wrong_flag(module, capsys):
  assert status(module, '--help') == 0
  out = capsys.readouterr().out
  assert out.startswith(module.__doc__.strip())
  assert '\nflags:\n' in out
  said = status(module, '--no_such_flag=1')
  assert said.startswith('error: Unknown command line flag')
  assert said.endswith(' (see python -m launch.prog --help)')


def test_a_person_finds_at_most_20_commands():
  assert len(COMMANDS) <= 20
  assert set(DISPATCH) <= set(COMMANDS)


@pytest.mark.parametrize('name', sorted(set(COMMANDS) - set(DISPATCH)))
def test_help_and_a_wrong_flag(name, capsys):
  module = importlib.import_module(f'launch.{name}')
  assert f'python -m launch.{name}' in module.__doc__
  check_help_and_wrong_flag(module, capsys)


@pytest.mark.parametrize('name, folder, program', PROGRAMS)
def test_help_and_a_wrong_flag_of_a_program(name, folder, program, capsys):
  stem = program.replace('-', '_')
  module = importlib.import_module(f'launch.{folder}.{stem}')
  check_help_and_wrong_flag(module, capsys)


@pytest.mark.parametrize('name', sorted(DISPATCH))
def test_a_dispatcher_lists_its_programs(name, capsys):
  module = importlib.import_module(f'launch.{name}')
  with pytest.raises(SystemExit) as stopped:
    module.main(['--help'])
  assert stopped.value.code == 0
  listed = capsys.readouterr().out
  for program in programs.names(module.FOLDER):
    assert f'\n  {program} ' in listed
  with pytest.raises(SystemExit, match='2'):
    module.main(['nope'])
  assert f"error: no {name} 'nope'; there are" in capsys.readouterr().err


def test_help_of_every_command_answers_without_jax():
  """In one process, because each of them costs a start of Python."""
  code = f"""
import importlib, sys
from absl import flags
from launch.cli import command
for name in {sorted(set(COMMANDS) - set(DISPATCH))}:
  module = importlib.import_module('launch.' + name)
  before = set(flags.FLAGS)
  try:
    command.run(module.__doc__, module.define_flags, None, ['x', '--help'])
  except SystemExit as stopped:
    assert stopped.code == 0
  for flag in set(flags.FLAGS) - before:
    delattr(flags.FLAGS, flag)
  assert 'jax' not in sys.modules, name
"""
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert 'python -m launch.train --config=' in done.stdout


class Command:
  """A command that does what the test says.

  It takes --count.
  """

  def __init__(self, act):
    self.__doc__ = type(self).__doc__
    self.act = act

  def define_flags(self):
    flags.DEFINE_integer('count', None, 'How many.')
    flags.DEFINE_string('name', 'a', 'Whose.')
    flags.mark_flag_as_required('count')

  def main(self, argv):
    return self.act(argv)


def fail(error):
  def act(argv):
    raise error

  return Command(act)


@pytest.mark.parametrize(
  'error, code',
  [
    (ValueError('no such run'), 'error: no such run'),
    (FileNotFoundError('no file'), 'error: no file'),
    (checkpoint.CheckpointError('damaged'), 'error: damaged'),
    (
      checkpoint.CheckpointError('No space left on device; free some'),
      'error: No space left on device; free some',
    ),
    (train.Interrupted('saved'), 128 + 15),
    (KeyboardInterrupt(), 128 + 2),
  ],
)
def test_a_refusal_is_one_line(error, code):
  assert status(fail(error), '--count=1') == code


class JaxRuntimeError(RuntimeError):
  """As JAX names what its compiled programs raise."""


NEEDS = 'Out of memory while trying to allocate 8589934592 bytes.\nAllocator:'


@pytest.mark.parametrize(
  'error, said',
  [
    (OSError(2, 'No such file', '/a/b'), 'error: /a/b: no such file'),
    (OSError(13, 'Denied', '/a', None, '/b'), 'error: /a -> /b: denied'),
    (
      OSError(28, 'No space left on device', '/none/such.npz'),
      r'error: /none/such.npz: no space left on the disk \([\d,]+ bytes fr',
    ),
    (
      JaxRuntimeError(f'RESOURCE_EXHAUSTED: {NEEDS}'),
      'error: out of memory when 8589934592 bytes more were needed; end other',
    ),
    (MemoryError('std::bad_alloc'), 'error: out of memory; end other programs'),
  ],
)
def test_what_a_library_says_becomes_one_line(error, said):
  line = status(fail(error), '--count=1')
  assert re.match(said, line) and '\n' not in line


def test_a_library_is_named_and_its_pages_are_not_shown():
  def act(argv):
    json.loads('{')

  line = status(Command(act), '--count=1')
  assert (
    line.startswith('error: JSONDecodeError: Expecting') and '\n' not in line
  )


def test_a_mistake_of_ours_is_one_line_and_its_traceback_is_kept():
  line = status(fail(KeyError('lost')), '--count=1')
  assert line.startswith("error: unexpected KeyError: 'lost' (a mistake of the")
  report = pathlib.Path(line.rpartition(' is in ')[2].rstrip(')'))
  assert 'raise error\nKeyError' in report.read_text()
  report.unlink()


def test_a_traceback_is_shown_when_asked_for(capsys):
  line = status(fail(ValueError('no such run')), '--count=1', '--traceback')
  assert line == 'error: no such run'
  assert 'Traceback (most recent' in capsys.readouterr().err


def test_closed_streams_end_no_command(tmp_path):
  """Their numbers aren't given to files, and what is printed goes nowhere."""
  code = """
import sys
from launch.cli import command
def main(argv):
  with open('data', 'w') as file:
    print('out', flush=True)
    print('err', file=sys.stderr, flush=True)
    file.write(str(file.fileno() > 2))
command.run('', lambda: None, main)
"""
  done = subprocess.run(
    f"'{sys.executable}' -c '{code.replace(chr(39), chr(34))}' <&- >&- 2>&-",
    shell=True,
    cwd=tmp_path,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
  )
  assert done.returncode == 0 and (tmp_path / 'data').read_text() == 'True'


def test_paths_are_utf8_whatever_the_locale(tmp_path):
  code = """
import sys
from launch.cli import command
command.run('', lambda: None, lambda argv: print(ascii(argv[1])), arguments=1)
"""
  (tmp_path / 'own.py').write_text(code)
  strict = {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}
  for name, said in (('żółć'.encode(), '\\u017c'), (b'\xbf', '')):
    done = subprocess.run(
      [sys.executable.encode(), b'-m', b'own', name],
      cwd=tmp_path,
      env=os.environ | strict | {'PYTHONPATH': f'{ROOT}:{tmp_path}'},
      capture_output=True,
      text=True,
    )
    assert done.stdout.startswith(f"'{said}") if said else done.returncode == 2
  assert done.stderr == (
    "error: '\\udcbf' is not UTF-8; rename the file, or give another path\n"
  )


def test_a_reader_that_had_enough_ends_a_command_as_in_the_shell():
  def act(argv):
    raise BrokenPipeError

  assert status(Command(act), '--count=1') == 128 + 13


def test_exit_status_is_what_main_returns():
  assert status(Command(lambda argv: None), '--count=1') is None
  assert status(Command(lambda argv: 3), '--count=1') == 3


def test_arguments_and_needed_flags():
  quiet = Command(lambda argv: len(argv))
  said = status(quiet)
  assert said.startswith('error: --count is needed (see ')
  said = status(quiet, 'extra', '--count=1')
  assert said.startswith("error: unexpected arguments ['extra']; flags need --")
  assert status(quiet, 'extra', '--count=1', arguments=True) == 2
  said = status(quiet, '--count=many')
  assert said.startswith('error: flag --count=many: ')


def test_help_names_flags_defaults_and_needs(capsys):
  assert status(Command(None), '-h') == 0
  out = capsys.readouterr().out
  assert '  --count\n      How many. Needed.\n' in out
  assert '  --name\n      Whose. (default a)\n' in out


def test_help_after_two_dashes_is_an_argument():
  assert command.asks_for_help(['--a=1', '--help'])
  assert not command.asks_for_help(['--a=1', '--', '--help'])


def test_commands_of_a_command():
  flags.DEFINE_string('board', None, '')
  table = {'check': ('board',), 'list': ()}
  assert command.choose(['x', 'list'], table) == 'list'
  with pytest.raises(app.UsageError, match='expected one of check, list$'):
    command.choose(['x'], table)
  with pytest.raises(app.UsageError, match="check, list, found 'go'"):
    command.choose(['x', 'go'], table)
  flags.FLAGS(['x'])
  with pytest.raises(app.UsageError, match='check needs --board'):
    command.choose(['x', 'check'], table)
