"""What `metadata.json` of a contribution holds, checked key by key.

Unknown keys are refused, so no score can stand in it; whatever the site shows
as a score is computed from predictions. Costs are required: a method without
them can't be compared at equal cost.
"""

import datetime
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from glue_jax.leaderboard import safety
from glue_jax.leaderboard.safety import Refused, check_text, shown

VERSION = 1
_HEX = re.compile(r'[0-9a-f]{7,64}')


def text(longest: int, empty: bool = True, newlines: bool = False) -> Callable:
  """A check: a text of at most `longest` characters."""

  def check(value, what):
    check_text(value, what, longest, newlines)
    if not empty and not value.strip():
      raise Refused(f'{what} is empty')

  return check


def count(smallest: int = 0) -> Callable:
  """A check: an integer from `smallest`."""

  def check(value, what):
    if isinstance(value, bool) or not isinstance(value, int):
      raise Refused(f'{what} is {shown(value)}; expected an integer')
    if value < smallest:
      raise Refused(f'{what} is {value}; expected at least {smallest}')

  return check


def amount(value: object, what: str) -> None:
  """Checks a finite number of at least 0."""
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    raise Refused(f'{what} is {shown(value)}; expected a number')
  if not math.isfinite(value) or value < 0:
    raise Refused(f'{what} is {value}; expected a finite number from 0')


def flag(value: object, what: str) -> None:
  """Checks a boolean."""
  if not isinstance(value, bool):
    raise Refused(f'{what} is {shown(value)}; expected true or false')


def list_of(check: Callable, most: int, least: int = 1) -> Callable:
  """A check: a list of `least` to `most` values."""

  def checked(value, what):
    if not isinstance(value, list) or not least <= len(value) <= most:
      raise Refused(f'{what}: expected a list of {least} to {most} values')
    for i, item in enumerate(value):
      check(item, f'{what}[{i}]')

  return checked


def mapping(check: Callable, most: int, names: Callable) -> Callable:
  """A check: an object of at most `most` keys."""

  def checked(value, what):
    if not isinstance(value, dict) or len(value) > most:
      raise Refused(f'{what}: expected an object of at most {most} keys')
    for key, item in value.items():
      names(key, f'key of {what}')
      check(item, f'{what}.{key}')

  return checked


def record(
  fields: Mapping[str, Callable], optional: tuple[str, ...] = ()
) -> Callable:
  """A check: an object with exactly these keys, some of them optional."""

  def checked(value, what):
    if not isinstance(value, dict):
      raise Refused(f'{what} is {shown(value)}; expected an object')
    unknown = [shown(key) for key in value if key not in fields]
    if unknown:
      raise Refused(
        f'{what} has unknown keys {", ".join(unknown[:10])}; known are '
        f'{", ".join(fields)}'
      )
    missing = [k for k in fields if k not in value and k not in optional]
    if missing:
      raise Refused(f'{what} lacks {", ".join(missing)}')
    for key, check in fields.items():
      if key in value:
        check(value[key], f'{what}.{key}')

  return checked


def _name(value, what):
  safety.check_name(value, what)


def _url(value, what):
  safety.check_url(value, what)


def _commit(value, what):
  check_text(value, what, 64)
  if value and not _HEX.fullmatch(value):
    raise Refused(f"{what} is {shown(value)}; expected a commit's hex digits")


def _contact(value, what):
  check_text(value, what, 200)
  if not re.fullmatch(r'[^@\s]+@[^@\s]+', value):
    safety.check_url(value, what)
    if not value:
      raise Refused(f'{what} is empty; expected an e-mail or web address')


def _date(value, what):
  check_text(value, what, 10)
  try:
    date = datetime.date.fromisoformat(value)
  except ValueError:
    date = None
  if date is None or date.isoformat() != value:
    raise Refused(f'{what} is {shown(value)}; expected YYYY-MM-DD')


def _version(value, what):
  if value != VERSION or isinstance(value, bool):
    raise Refused(f'{what} is {shown(value)}; expected {VERSION}')


_TRAIN = record(
  {
    'hardware': text(100, empty=False),
    'device_count': count(1),
    'seconds': amount,
    'peak_memory_bytes': count(),
    'flops': amount,
  },
  optional=('peak_memory_bytes', 'flops'),
)
_INFERENCE = record(
  {
    'batch': count(1),
    'seq_len': count(1),
    'seconds_per_example': amount,
    'peak_memory_bytes': count(),
  },
  optional=('peak_memory_bytes',),
)
_RUN = record(
  {
    'params_total': count(),
    'params_trainable': count(),
    'params_stored_per_task': count(),
    'train': _TRAIN,
    'inference': _INFERENCE,
    'seeds': list_of(count(), 1000),
    'config_hash': _commit,
    'git_dirty': flag,
    'transductive': flag,
    'dataset': record(
      {'version': text(100), 'sha256': _commit}, optional=('sha256',)
    ),
  },
  optional=('inference', 'transductive'),
)
_METADATA = record(
  {
    'schema_version': _version,
    'method': _name,
    'variant': text(100),
    'description': text(4000, newlines=True),
    'authors': list_of(text(200, empty=False), 100),
    'contact': _contact,
    'paper': _url,
    'code': record({'repository': _url, 'commit': _commit}),
    'base_checkpoint': text(200),
    'licence': text(100, empty=False),
    'date': _date,
    'search_trials': count(),
    'extra_data': list_of(text(200, empty=False), 50),
    'packages': mapping(text(100), 200, text(100, empty=False)),
    'runs': mapping(_RUN, 200, _name),
  }
)


def parse(
  data: bytes, where: str, method: str, limits: safety.Limits
) -> dict[str, Any]:
  """Parses and checks a metadata file.

  Args:
    data: the file's bytes.
    where: file name for errors.
    method: the name that the folder has.
    limits: see safety.Limits.

  Returns:
    The metadata as it stands, with keys of this module only:
    `runs` maps a task to what its predictions cost (seconds, bytes and
    operations of one seed; parameters as counts).

  Raises:
    Refused: malformed, with file and line.
  """
  metadata = safety.parse_document(data, where, limits)
  try:
    _METADATA(metadata, 'metadata')
    if metadata['method'] != method:
      raise Refused(
        f'metadata.method is {shown(metadata["method"])}, but the folder is '
        f'{shown(method)}'
      )
    for task, run in metadata['runs'].items():
      if run['params_trainable'] > run['params_total']:
        raise Refused(
          f'metadata.runs.{task}: {run["params_trainable"]} parameters '
          f'trained of {run["params_total"]}'
        )
  except Refused as error:
    line = _line(data, str(error))
    raise Refused(f'{where}:{line}: {error}') from None
  return metadata


def _line(data: bytes, message: str) -> int:
  """Line of the last key that a message names and the file has."""
  for key in reversed(re.findall(r"[\w.-]+|'[^']*'", message.split(';')[0])):
    name = key.strip("'").rpartition('.')[2]
    if name and f'"{name}"'.encode() in data:
      return safety.line_of(data, name)
  return 1
