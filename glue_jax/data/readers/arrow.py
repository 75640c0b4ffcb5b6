"""Arrow tables to records: Parquet, and Arrow's IPC files and streams.

A value is what JSON would hold: text, a number, null, a list, an object of a
nested column. Bytes are read as UTF-8, and what pandas calls a category as its
value. Numbers in messages count a file's rows from 1.

`datasets` writes in the schema which columns are classes (ClassLabel), and the
Hub's Parquet files keep that: a label is then its name, whatever the order of
the names there, and -1 stands for no label. In a regression nothing is a
class, so -1 is a number.

pyarrow reads them, the extra `parquet`.
"""

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from glue_jax.data import label_names
from glue_jax.data.readers import values
from glue_jax.data.readers.files import Log, Record

FORMATS = ('parquet', 'arrow')
_ROWS = 1024  # of a batch


def read(
  path: pathlib.Path,
  log: Log,
  style: str,
  needed: Sequence[str],
  *,
  target: str = '',
  labels: Sequence[str] = (),
  kept: Sequence[str] | None = None,
) -> Iterator[tuple[int, Record]]:
  """Rows of a file.

  Args:
    path: the file.
    log: where a row is reported whose bytes are no text, or whose label is
      none of its ClassLabel.
    style: 'parquet' or 'arrow'.
    needed: columns, or paths in nested ones (`answers.text.0`).
    target: the label's column.
    labels: names of the labels here; empty where they aren't classes.
    kept: columns that are read; None = all.

  Yields:
    (row from 1, {column: value}).

  Raises:
    ImportError: no pyarrow.
    ValueError: not a whole file of that format, a column is missing or there
      twice, no row, or other classes than the labels here.
  """
  with _opened(path, style) as (schema, batches):
    _check_columns(path, schema.names, needed, target)
    name = _classes(path, schema, target, labels, log)
    wanted = _wanted(schema.names, kept)
    row = 0
    for batch in _whole(path, style, batches(wanted)):
      for record in _records(batch.select(wanted), row, log):
        row += 1
        if record is not None:
          yield from _labelled(row, record, target, name, log)
    if not row:
      raise ValueError(f'{path}: no rows; expected at least one')


def _labelled(row, record, target, name, log) -> Iterator[tuple[int, Record]]:
  """The record with the name of its label, unless it is none of them."""
  if name:
    try:
      record = record | {target: name(values.reach(record, target))}
    except KeyError:  # a test split without labels
      pass
    except ValueError as error:
      log.bad(row, str(error))
      return
  yield row, record


def count(path: pathlib.Path) -> int:
  """Rows of a Parquet file, as it says itself.

  Raises:
    ValueError: not a whole Parquet file.
  """
  pa = library()
  from pyarrow import parquet

  try:
    return parquet.read_metadata(path).num_rows
  except (pa.ArrowException, OSError) as error:
    raise _damaged(path, 'parquet', error) from None


def library() -> Any:
  """pyarrow.

  Raises:
    ImportError: it isn't there; says how to install it.
  """
  try:
    import pyarrow
  except ImportError:
    raise ImportError(
      "Parquet and Arrow files need pyarrow: pip install 'glue_jax[parquet]' "
      '(or pyarrow)'
    ) from None
  return pyarrow


@contextlib.contextmanager
def _opened(path: pathlib.Path, style: str) -> Iterator[tuple[Any, Callable]]:
  """(schema, columns -> record batches) of a file."""
  pa = library()
  with contextlib.ExitStack() as stack:
    try:
      if style == 'parquet':
        from pyarrow import parquet

        file = stack.enter_context(parquet.ParquetFile(path))
        schema = file.schema_arrow
        found = (
          schema,
          lambda names: file.iter_batches(batch_size=_ROWS, columns=names),
        )
      else:
        source = stack.enter_context(pa.memory_map(str(path)))
        found = _messages(pa, source)
    except (pa.ArrowException, OSError) as error:
      raise _damaged(path, style, error) from None
    yield found


def _messages(pa: Any, source: Any) -> tuple[Any, Callable]:
  """As `_opened`, of Arrow's own format: a file, or a stream."""
  try:
    file = pa.ipc.open_file(source)
  except pa.ArrowInvalid:
    source.seek(0)
    stream = pa.ipc.open_stream(source)
    return stream.schema, lambda _: iter(stream)
  return file.schema, lambda _: map(
    file.get_batch, range(file.num_record_batches)
  )


def _whole(path, style, batches) -> Iterator[Any]:
  """The batches; what the library can't read is one line."""
  pa = library()
  try:
    for batch in batches:
      # A view of the file with thousands of rows: cut, for bounded memory.
      for start in range(0, batch.num_rows, _ROWS):
        yield batch.slice(start, _ROWS)
  except (pa.ArrowException, OSError) as error:
    raise _damaged(path, style, error) from None


def _damaged(path, style, error) -> Exception:
  if isinstance(error, FileNotFoundError):
    return error
  text = ' '.join(str(error).split())
  kind = 'Parquet file' if style == 'parquet' else 'Arrow file or stream'
  return ValueError(
    f'{path}: not a whole {kind} ({text:.120}); copy it again, or is it of '
    'another format?'
  )


def _wanted(names: Sequence[str], kept: Sequence[str] | None) -> list[str]:
  """The columns that are read; none that is there twice."""
  tops = None if kept is None else {k.split('.')[0] for k in kept} | set(kept)
  return [
    name
    for name in names
    if names.count(name) == 1 and (tops is None or name in tops)
  ]


def _check_columns(path, names, needed, target) -> None:
  missing = [n for n in needed if not {n, n.split('.')[0]} & set(names)]
  if missing:
    shown = ', '.join(map(repr, names[:12]))
    raise ValueError(
      f'{path}: columns {shown} were found; expected '
      f'{", ".join(map(repr, needed))}. Is this the file of another task?'
    )
  used = dict.fromkeys((*needed, target, 'idx', 'id'))
  twice = [name for name in used if names.count(name) > 1]
  if twice:
    raise ValueError(
      f'{path}: column {twice[0]!r} is there {names.count(twice[0])} times; '
      'expected once'
    )


def _records(batch: Any, before: int, log: Log) -> Iterator[Record | None]:
  """A record a row; None, reported to `log`, where bytes are no text."""
  try:
    yield from [_plain(record) for record in batch.to_pylist()]
    return
  except UnicodeDecodeError:
    pass
  for place in range(batch.num_rows):
    try:
      [record] = batch.slice(place, 1).to_pylist()
      yield _plain(record)
    except UnicodeDecodeError as error:
      log.bad(
        before + place + 1,
        f'invalid UTF-8 at byte {error.start} of a text '
        f'(0x{error.object[error.start]:02x}); write it as UTF-8',
      )
      yield None


def _plain(value: Any) -> Any:
  if isinstance(value, dict):
    return {key: _plain(item) for key, item in value.items()}
  if isinstance(value, list):
    return [_plain(item) for item in value]
  return value.decode() if isinstance(value, bytes) else value


def _classes(
  path: pathlib.Path,
  schema: Any,
  target: str,
  labels: Sequence[str],
  log: Log,
) -> Callable[[Any], Any] | None:
  """What makes names of class numbers; None where they aren't classes.

  Raises:
    ValueError: none of the names there is one of the labels here.
  """
  there = _class_names(path, schema, target) if labels else None
  if not there:
    return None
  names = list(there)
  try:
    found = label_names.match(labels, there, f'{path}: column {target!r}')
  except ValueError:
    # Rows of a class that isn't here are bad ones, the others are good.
    if not set(there) & set(labels):
      raise
  else:
    for ours, place in zip(labels, found.order):
      names[place] = ours
    if found.note:
      log.notes.append(found.note)

  def name(value: Any) -> Any:
    if isinstance(value, list):
      return [name(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int):
      return value
    if value == -1:
      return None
    if not 0 <= value < len(names):
      raise ValueError(
        f'label {value}; expected 0 to {len(names) - 1}, its ClassLabel has '
        f'{label_names.shown(names)}, or -1 for none'
      )
    return names[value]

  return name


def _class_names(path, schema, target) -> list[str] | None:
  """Names of the ClassLabel that a column is of."""
  text = (schema.metadata or {}).get(b'huggingface')
  info = path.parent / 'dataset_info.json'
  try:
    if text:
      features = json.loads(text)['info']['features']
    elif info.is_file():
      features = json.loads(info.read_text(encoding='utf-8'))['features']
    else:
      return None
  except (ValueError, KeyError, TypeError):
    return None  # a schema of another kind
  features = _element(features)
  for part in target.split('.'):
    features = _element(_inside(features, part))
  if not isinstance(features, Mapping) or features.get('_type') != 'ClassLabel':
    return None
  return [str(name) for name in features.get('names') or ()]


def _element(features: Any) -> Any:
  """What a list's elements are, of any depth; else the features themselves."""
  while isinstance(features, list) or _is_list(features):
    inner = features[0] if isinstance(features, list) else features['feature']
    features = inner
  return features


def _inside(features: Any, part: str) -> Any:
  if part.isdigit():  # a place in a list, whose features are gone through
    return features
  return features.get(part) if isinstance(features, Mapping) else None


def _is_list(features: Any) -> bool:
  return isinstance(features, Mapping) and features.get('_type') in (
    *('Sequence', 'List', 'LargeList'),
  )
