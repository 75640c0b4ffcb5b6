"""What all commands share: flags, help, the one error line, exit statuses.

A command is a file of `launch/` with a docstring, `define_flags()` and
`main(argv)`, and ends with

  if __name__ == '__main__':
    command.run(__doc__, define_flags, main)

Exit statuses: 0; 1 where the command's own judgement is no (a figure outside
its band, a cell of a sweep that failed); 2 where it could not do its work, with
one line `error: ...`, and with --traceback where it happened; 128 + 15 where
SIGTERM ended it (a run goes on when the command is typed again; of others
nothing half-written is left), 128 + 2 where Ctrl-C ended it at once, 128 + 13
where the reader of its output had enough.
"""

import contextlib
import os
import re
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from absl import app, flags, logging

from launch.cli import errors, streams

FLAGS = flags.FLAGS
INTERRUPTED = errors.INTERRUPTED
HELP = ('--help', '-help', '-h', '--helpfull')
Main = Callable[[list[str]], Any]


def run(
  doc: str | None,
  define_flags: Callable[[], None],
  main: Main,
  argv: Sequence[str] | None = None,
  name: str | None = None,
  arguments: bool = False,
  computes: bool = False,
) -> NoReturn:
  """Reads the flags, runs a command and exits.

  Args:
    doc: what --help shows above the flags.
    define_flags: defines the command's own flags.
    main: the command, of the command line without flags; what it returns is
      the exit status (None: 0).
    argv: command line with the program's name; default `sys.argv`.
    name: how the command is called; default: that of the running module.
    arguments: whether it takes arguments that are no flags.
    computes: whether it runs models, for which memory is kept.
  """
  streams.open_closed()
  if argv is None:
    streams.speak_utf8()
  argv = list(sys.argv if argv is None else argv)
  name = name or f'python -m {own_name()}'
  if 'traceback' not in FLAGS:
    flags.DEFINE_bool('traceback', False, 'Show where an error happened.')
  before = set(FLAGS)
  try:
    define_flags()
    own = sorted(set(FLAGS) - before)
    if asks_for_help(argv[1:]):
      print(help_text(doc, own))
      sys.exit(0)
    with _unwound_by_sigterm():
      status = _called(main, FLAGS(argv), arguments, computes)
      sys.stdout.flush()
  except (app.UsageError, flags.Error) as error:
    streams.say(f'error: {plain(error)} (see {name} --help)')
    status = errors.REFUSED
  except BrokenPipeError:  # the reader of our output had enough
    streams.drop(sys.stdout)
    status = 128 + 13
  except KeyboardInterrupt:
    status = 128 + 2
  except _Terminated:
    streams.say('stopped by SIGTERM')
    status = INTERRUPTED
  except Exception as error:
    status = _told(error, FLAGS['traceback'].value or '--traceback' in argv)
  sys.exit(status)


class _Terminated(BaseException):
  pass


@contextlib.contextmanager
def _unwound_by_sigterm() -> Iterator[None]:
  """SIGTERM leaves all blocks in order, as Ctrl-C does; the second kills."""

  def end(number, frame):
    del number, frame
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise _Terminated

  main = threading.current_thread() is threading.main_thread()
  if not main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
    yield
    return
  signal.signal(signal.SIGTERM, end)
  try:
    yield
  finally:
    if signal.getsignal(signal.SIGTERM) is end:
      signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _called(main, rest, arguments, computes):
  """What `main` returns for the command line without flags."""
  logging.use_absl_handler()
  strange = streams.not_utf8(sys.argv)
  if strange:
    raise ValueError(
      f'{strange[0]} is not UTF-8; rename the file, or give another path'
    )
  if len(rest) > 1 and not arguments:
    raise app.UsageError(f'unexpected arguments {rest[1:]}; flags need --')
  if computes:
    from glue_jax.devices import cpu  # here, so that --help answers at once

    cpu.keep_memory()
  return main(rest)


def _told(error: Exception, everything: bool) -> int:
  """Says what ended the command; returns its exit status."""
  status = errors.status(error)
  if everything:
    streams.say(''.join(traceback.format_exception(error)).rstrip())
  if status == INTERRUPTED:
    streams.say(str(error))
  else:
    streams.say(f'error: {errors.line(error, to_lower())}')
  return status


def to_lower() -> str:
  """What helps this command where memory didn't suffice."""
  if 'config' in FLAGS:
    return (
      'lower config.data.batch_size or config.data.max_length, or raise '
      'config.train.accumulate (the same batch in smaller parts)'
    )
  if 'batch_size' in FLAGS:
    return 'lower --batch_size'
  return 'end other programs, or use a machine or a device with more'


def own_name() -> str:
  """The module that runs as a command, 'launch.train'."""
  spec = getattr(sys.modules['__main__'], '__spec__', None)
  return spec.name if spec else os.path.basename(sys.argv[0])


def asks_for_help(argv: Sequence[str]) -> bool:
  """Whether help is asked for, before a '--' that ends the flags."""
  end = argv.index('--') if '--' in argv else len(argv)
  return any(arg in HELP for arg in argv[:end])


def plain(error: Exception) -> str:
  """An error of the flags as a person would say it."""
  text = str(error)
  lacking = re.search(r'Flag (--\w+) must have a value other than None', text)
  return f'{lacking.group(1)} is needed' if lacking else text


def help_text(doc: str | None, names: Sequence[str]) -> str:
  """What --help prints.

  Args:
    doc: the command's docstring.
    names: of its own flags.
  """
  lines = [(doc or '').strip(), '', 'flags:' if names else 'no flags']
  for name in names:
    flag = FLAGS[name]
    shown = f'--[no]{name}' if flag.boolean else f'--{name}'
    notes = [flag.help or '']
    if needed(flag):
      notes.append('Needed.')
    elif flag.default not in (None, [], '', False):
      default = str(flag.default_as_str).strip("'")
      notes.append(f'(default {default})')
    text = ' '.join(' '.join(notes).split())
    lines.append(f'  {shown}')
    lines += textwrap.indent(textwrap.fill(text, 68), ' ' * 6).splitlines()
  lines += ['', '--traceback also shows where an error happened.']
  return '\n'.join(lines)


def needed(flag: flags.Flag) -> bool:
  """Whether a flag must be given."""
  return any('other than None' in v.message for v in flag.validators)


def show_training() -> None:
  """Lets the log of training through, of this process only.

  Commands are quiet otherwise: the reader of checkpoints talks.
  """
  from glue_jax.devices import distributed

  if not FLAGS['verbosity'].present:
    logging.set_verbosity(logging.INFO)
  logging.get_absl_handler().addFilter(distributed.own_messages)


def choose(argv: Sequence[str], commands: dict[str, Sequence[str]]) -> str:
  """The command that the first argument names, its flags checked.

  Args:
    argv: command line without flags.
    commands: {name: flags that it needs}.

  Raises:
    UsageError: none or another one is named, or a flag is missing.
  """
  name = argv[1] if len(argv) > 1 else ''
  if name not in commands:
    got = f', found {name!r}' if name else ''
    raise app.UsageError(f'expected one of {", ".join(commands)}{got}')
  lacking = [f'--{flag}' for flag in commands[name] if not FLAGS[flag].value]
  if lacking:
    raise app.UsageError(f'{name} needs {" and ".join(lacking)}')
  return name


def define_run(*others: str) -> None:
  """Flags of a command that opens a finished run.

  Args:
    others: of 'which', 'data_dir' and 'batch_size', those that it also reads.
  """
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  define_choice()
  if 'which' in others:
    define_which()
  if 'data_dir' in others:
    flags.DEFINE_string(
      'data_dir', None, 'Data folder, if not that of the run.'
    )
  if 'batch_size' in others:
    flags.DEFINE_integer(
      'batch_size', None, "Rows of a batch; default: the run's own.", 1
    )
  flags.mark_flag_as_required('workdir')


def define_choice() -> None:
  """The flags --seed and --stage: which run of a workdir of several."""
  flags.DEFINE_integer('seed', None, 'Which seed of several.')
  flags.DEFINE_string('stage', None, 'Which stage of several.')


def define_which() -> None:
  """The flag --which: a checkpoint of a run."""
  flags.DEFINE_enum(
    'which',
    None,
    ['best', 'last'],
    'Which checkpoint; by default the one that the config selects.',
  )


def define_cache() -> None:
  """The flag --compilation_cache."""
  flags.DEFINE_string(
    'compilation_cache',
    None,
    "Folder for compiled programs, '' for none; default: "
    'JAX_COMPILATION_CACHE_DIR, or ~/.cache/glue_jax/xla.',
  )
