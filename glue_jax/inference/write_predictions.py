"""Predictions as a file: JSON lines, TSV, CSV or parquet.

Every form has the columns `idx`, `prediction`, `label` where the split has
labels, and for classes one column of probabilities a class, `p(NAME)` (in JSON
lines they are one object, `probabilities`). In CSV and parquet a list (tags, a
set of labels) is its JSON text; CSV quotes as RFC 4180 has it, so newlines and
quotes of an answer are kept. Parquet keeps ids as numbers where all of the
first group are numbers, else as text, and needs the extra `parquet` (pyarrow).
All are written group by group, in bounded memory.
"""

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from glue_jax.evaluation.predictions import Predictions
from glue_jax.reporting import files as files_lib

FORMATS = ('jsonl', 'tsv', 'csv', 'parquet')
# What is written for one group; is it the first one?
Put = Callable[[Predictions, bool], None]


def by_ending(path: str) -> str:
  """Returns the format that a file's ending says; JSON lines by default."""
  ending = os.path.splitext(path)[1].lower().removeprefix('.')
  return ending if ending in FORMATS else 'jsonl'


def write(
  predictions: Predictions, path: str | os.PathLike, style: str = 'jsonl'
) -> None:
  """Writes predictions in the order of their rows; see `write_parts`."""
  write_parts([predictions], path, style)


def write_parts(
  parts: Iterable[Predictions], path: str | os.PathLike, style: str = 'jsonl'
) -> int:
  """Writes predictions as they come, on process 0.

  Args:
    parts: what to write, in order.
    path: '-' = standard output, which has each part at once; a file is there
      when all is written.
    style: one of FORMATS.

  Returns:
    how many predictions there were.

  Raises:
    ValueError: unknown style, or parquet to standard output.
    ImportError: parquet without pyarrow.
  """
  if style not in FORMATS:
    raise ValueError(f'format {style!r}; expected one of {FORMATS}')
  if style == 'parquet':
    if str(path) == '-':
      raise ValueError(
        'parquet has its index at the end and cannot be written to standard '
        'output as predictions come; give --output=FILE'
      )
    _pyarrow()  # raises, before any work
  if not files_lib.is_first_process():
    return sum(map(len, parts))
  if str(path) == '-':
    return _put_all(parts, _put_text(sys.stdout, style))
  with files_lib.whole(path) as part, _opened(part, style) as put:
    return _put_all(parts, put)


def _put_all(parts: Iterable[Predictions], put: Put) -> int:
  count = 0
  for predictions in parts:
    put(predictions, count == 0)
    count += len(predictions)
  return count


@contextlib.contextmanager
def _opened(path: Any, style: str) -> Iterator[Put]:
  if style == 'parquet':
    with _parquet(path) as put:
      yield put
  else:
    # The csv module ends its lines itself.
    with path.open('w', encoding='utf-8', newline='') as file:
      yield _put_text(file, style)


def _put_text(file: Any, style: str) -> Put:
  text = {'jsonl': _jsonl, 'tsv': _tsv, 'csv': _csv}[style]

  def put(predictions, first):
    file.write(text(predictions, first))
    file.flush()

  return put


def _jsonl(predictions: Predictions, first: bool) -> str:
  del first
  return ''.join(
    json.dumps(record, ensure_ascii=False) + '\n'
    for record in predictions.records()
  )


def _rows(predictions: Predictions) -> Iterator[dict[str, Any]]:
  """Records with a column of probabilities a class."""
  for record in predictions.records():
    flat = dict(record)
    shares = flat.pop('probabilities', {})
    yield flat | {f'p({name})': value for name, value in shares.items()}


def _tsv(predictions: Predictions, first: bool) -> str:
  rows = list(_rows(predictions))
  lines = [list(rows[0])] if first and rows else []
  for row in rows:
    lines.append(
      [
        f'{value:.6f}' if name.startswith('p(') else _field(value)
        for name, value in row.items()
      ]
    )
  return ''.join('\t'.join(line) + '\n' for line in lines)


def _field(value: Any) -> str:
  """A value without tabs and line ends, so that rows stay rows."""
  if isinstance(value, list):
    value = ' '.join('-' if tag is None else tag for tag in value)
  return ' '.join(str(value).split()) if isinstance(value, str) else str(value)


def _csv(predictions: Predictions, first: bool) -> str:
  text = io.StringIO()
  lines = csv.writer(text, lineterminator='\n')
  for row in _rows(predictions):
    if first:
      lines.writerow(row)
      first = False
    lines.writerow([_scalar(value) for value in row.values()])
  return text.getvalue()


def _scalar(value: Any) -> Any:
  """A value of one cell: a list as its JSON text."""
  if isinstance(value, list):
    return json.dumps(value, ensure_ascii=False)
  return value


@contextlib.contextmanager
def _parquet(path: Any) -> Iterator[Put]:
  """One row group for each group of predictions, under the first's schema."""
  pa, parquet = _pyarrow()
  with contextlib.ExitStack() as stack:
    schema = writer = None

    def put(predictions, first):
      nonlocal schema, writer
      rows = [
        {name: _scalar(value) for name, value in row.items()}
        for row in _rows(predictions)
      ]
      if first:
        schema = pa.schema(
          [(name, _kind(pa, [row[name] for row in rows])) for name in rows[0]]
        )
        writer = stack.enter_context(parquet.ParquetWriter(path, schema))
      columns = {
        field.name: [_as(field.type, row[field.name], pa) for row in rows]
        for field in schema
      }
      writer.write_table(pa.table(columns, schema))

    yield put


def _kind(pa: Any, values: list) -> Any:
  """The type of a column."""
  for kind, arrow in ((int, pa.int64()), (float, pa.float64())):
    same = all(type(value) is kind for value in values)
    if same and (kind is float or all(map(_is_64_bits, values))):
      return arrow
  return pa.string()


def _is_64_bits(value: int) -> bool:
  return -(2**63) <= value < 2**63


def _as(kind: Any, value: Any, pa: Any) -> Any:
  """A value in its column's type.

  Raises:
    ValueError: an id that is no number, where those before were numbers.
  """
  if kind == pa.string():
    return value if isinstance(value, str) else str(value)
  if isinstance(value, str) or (kind == pa.int64() and not _is_64_bits(value)):
    raise ValueError(
      f'id {value!r} is no number of 64 bits, as those of the first rows are; '
      'write --format=csv or jsonl, or give all rows ids of one type'
    )
  return value


def _pyarrow() -> tuple[Any, Any]:
  try:
    import pyarrow
    import pyarrow.parquet
  except ImportError as error:
    raise ImportError(
      "parquet needs pyarrow; install it with pip install 'glue_jax[parquet]'"
    ) from error
  return pyarrow, pyarrow.parquet
