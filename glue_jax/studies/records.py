"""Measured figures as records: read, checked, and drawn as tables.

A record is one command with what was measured by it. The records of a page lie
beside it in `records.json`, a list of objects with the fields of `Record`;
`None` (null) says that something isn't known. Between the lines
`<!-- record: NAME ... -->` and `<!-- end -->` of a page stands what `text`
makes of the records, in one table, and between
`<!-- figure: NAME; ROW; COLUMN -->` and `<!-- end -->` one figure, with as many
decimals as it has, or with three after `; 3 decimals`; `rewritten` renews both.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = (
  'configs',
  'launch/benchmarks',
  'launch/miniatures',
  'glue_jax/leaderboard',
  'glue_jax/kernels',
)
RECORDS, PAGE = 'records.json', 'README.md'
BANDS = {'within', 'relative', 'at_least', 'at_most'}
READS = {'file', 'where', 'key', 'times', 'over', 'output', 'count'}
_RECORD = re.compile(
  r'(<!-- record: ([^>]+) -->\n).*?(<!-- end -->)', re.DOTALL
)
_FIGURE = re.compile(
  r'(<!-- figure: ([^;]+); ([^>]+?)(?:; (\d) decimals)? -->).*?(<!-- end)'
)


@dataclasses.dataclass(frozen=True)
class Figure:
  """One measured number: a cell of its record's table.

  Attributes:
    row, column: where it stands in the table.
    value: the number; the mean if there are several seeds.
    read: where the number is found after the command; see `reproduce.read`.
    band: what holds a new value, a bound for each of BANDS: `within` (allowed
      difference to `value`), `relative` (the same as a share of `value`),
      `at_least` and `at_most` (required of every seed). Empty: it is shown, but
      holds nothing, as for times, which are the machine's.
    values: one number a seed, in the order of the record's seeds.
    spread: sample standard deviation over the seeds.
    published: the paper's figure.
    source: where the paper's figure stands.
  """

  row: str
  column: str
  value: float
  read: Mapping[str, Any]
  band: Mapping[str, float]
  values: Sequence[float] = ()
  spread: float | None = None
  published: float | None = None
  source: str | None = None


@dataclasses.dataclass(frozen=True)
class Record:
  """One command and its figures.

  Attributes:
    name: unique among all pages.
    command: as a person types it, with places like {data_dir} that
      `reproduce.PLACES` lists; several are joined by ' && '.
    measures: one sentence.
    figures: what it gave.
    seeds: of the runs.
    date: YYYY-MM-DD, on which it was measured.
    device: in words.
    versions: of the packages that matter.
    minutes: that the command takes.
    smoke: flags that make it short, for each command, joined by ' && '.
    remarks: what a reader must know besides.
  """

  name: str
  command: str
  measures: str
  figures: Sequence[Figure]
  seeds: Sequence[int]
  date: str | None
  device: str | None
  versions: Mapping[str, str] | None
  minutes: float | None
  smoke: str
  remarks: str

  def commands(self) -> list[str]:
    """Returns the commands one by one."""
    return self.command.split(' && ')

  def smoke_commands(self) -> list[str]:
    """Returns the commands with the flags that make them short."""
    pairs = zip(self.commands(), self.smoke.split('&&'), strict=True)
    return [f'{command} {flags.strip()}'.strip() for command, flags in pairs]


def read(path: pathlib.Path) -> list[Record]:
  """Returns the records of a file.

  Raises:
    ValueError: a key is missing, unknown or doesn't fit; the message has the
      record's name.
  """
  records = [_record(entry, path) for entry in json.loads(path.read_text())]
  names = [record.name for record in records]
  twice = sorted({name for name in names if names.count(name) > 1})
  if twice:
    raise ValueError(f'{path}: more than one record is called {twice}')
  return records


def load(root: pathlib.Path = ROOT) -> dict[str, Record]:
  """Returns {name: record} of all pages.

  Raises:
    ValueError: see `read`; or two pages have a record of one name.
  """
  records: dict[str, Record] = {}
  for folder in FOLDERS:
    for record in read(root / folder / RECORDS):
      if record.name in records:
        raise ValueError(f'{folder}: another page has a record {record.name}')
      records[record.name] = record
  return records


def _record(entry: Mapping[str, Any], path: pathlib.Path) -> Record:
  where = f'{path}: record {entry.get("name")!r}'
  _check_keys(entry, Record, where)
  figures = []
  for item in entry['figures']:
    place = f'{where}, figure {item.get("row")!r} {item.get("column")!r}'
    _check_keys(item, Figure, place)
    for key, known in (('band', BANDS), ('read', READS)):
      unknown = sorted(set(item[key]) - known)
      if unknown:
        raise ValueError(
          f'{place}: {key} has {unknown}; there are {sorted(known)}'
        )
    figures.append(Figure(**item))
  record = Record(**{**entry, 'figures': tuple(figures)})
  cells = [(figure.row, figure.column) for figure in figures]
  if len(set(cells)) < len(cells) or not cells:
    raise ValueError(f'{where}: expected figures, one a row and column')
  if len(record.smoke.split('&&')) != len(record.commands()):
    raise ValueError(
      f'{where}: smoke has {record.smoke!r}; expected flags for each of the '
      f"{len(record.commands())} commands, joined by ' && '"
    )
  return record


def _check_keys(entry: Mapping[str, Any], kind: type, where: str) -> None:
  fields = dataclasses.fields(kind)
  known = {field.name for field in fields}
  needed = {f.name for f in fields if f.default is dataclasses.MISSING}
  if set(entry) - known:
    raise ValueError(
      f'{where}: unknown keys {sorted(set(entry) - known)}; there are '
      f'{sorted(known)}'
    )
  if needed - set(entry):
    raise ValueError(f'{where}: keys {sorted(needed - set(entry))} are missing')


def number(value: float, decimals: int | None = None) -> str:
  """A number as tables show it: 30,173 or 0.870.

  Args:
    value: to be shown.
    decimals: of a float; None: as many as it has.
  """
  if isinstance(value, int):
    return f'{value:,}'
  digits = _decimals(value) if decimals is None else decimals
  return f'{value:,.{digits}f}' if digits <= 6 else f'{value:g}'


def _decimals(value: float) -> int:
  mantissa, _, exponent = repr(float(value)).partition('e')
  places = mantissa.partition('.')[2]
  return max(0, len(places) * (places != '0') - int(exponent or 0))


def cell(figure: Figure, decimals: int | None = None) -> str:
  """A figure with its spread, what is required of it and what was published."""
  shown = number(figure.value, decimals)
  if figure.spread is not None:
    shown += f' ± {number(figure.spread, decimals)}'
  required = [
    f'{sign} {number(figure.band[key])}'
    for key, sign in (('at_least', '>='), ('at_most', '<='))
    if key in figure.band
  ]
  if required:
    shown += f' ({", ".join(required)})'
  if figure.published is not None:
    shown += f' (published {number(figure.published)})'
  return shown


def table(figures: Sequence[Figure]) -> str:
  """Figures in Markdown, a line a row; one column has the same decimals."""
  columns = list(dict.fromkeys(figure.column for figure in figures))
  lines: dict[str, dict[str, str]] = {f.row: {} for f in figures}
  for column in columns:
    in_column = [f for f in figures if f.column == column]
    floats = [f.value for f in in_column if isinstance(f.value, float)]
    decimals = max(map(_decimals, floats), default=None)
    for figure in in_column:
      lines[figure.row][column] = cell(figure, decimals)
  text = [f'| | {" | ".join(columns)} |', '|---' * (1 + len(columns)) + '|']
  for row, cells in lines.items():
    shown = (cells.get(column, '-') for column in columns)
    text.append(f'| {row} | {" | ".join(shown)} |')
  return '\n'.join(text)


def text(group: Sequence[Record]) -> str:
  """What a page says of records: sentences, one table, commands, facts."""
  figures = [figure for record in group for figure in record.figures]
  sources = dict.fromkeys(
    f'Published: {f.source}.' for f in figures if f.source
  )
  remarks = [record.remarks for record in group if record.remarks]
  commands = [' && \\\n'.join(record.commands()) for record in group]
  facts: dict[str, list[str]] = {}
  for record in group:
    facts.setdefault(circumstances(record), []).append(f'`{record.name}`')
  parts = [
    ' '.join(dict.fromkeys(record.measures for record in group)),
    table(figures),
    '```bash\n' + '\n'.join(commands) + '\n```',
    '\n'.join(f'- {", ".join(names)}: {fact}' for fact, names in facts.items()),
    ' '.join([*remarks, *sources]),
  ]
  return '\n\n'.join(part for part in parts if part)


def circumstances(record: Record) -> str:
  """When, on what and with which seeds a record was measured."""
  facts = []
  if record.seeds:
    names = ', '.join(map(str, record.seeds))
    facts.append(f'{"seeds" if len(record.seeds) > 1 else "seed"} {names}')
  facts.append(record.date or 'date not recorded')
  facts.append(record.device or 'device not recorded')
  pins = (f'{name} {v}' for name, v in (record.versions or {}).items())
  facts.append(' '.join(pins) or 'versions not recorded')
  if record.minutes is not None:
    facts.append(f'{number(record.minutes)} min')
  return '; '.join(facts)


def rewritten(page: str, records: Mapping[str, Record]) -> str:
  """Returns a page with what stands between its marks made anew.

  Args:
    page: Markdown.
    records: {name: record}.

  Raises:
    ValueError: a mark names a record or a figure that there isn't.
  """

  def whole(match: re.Match) -> str:
    start, names, end = match.groups()
    unknown = sorted(set(names.split()) - set(records))
    if unknown:
      raise ValueError(f'{start.strip()}: there are no records {unknown}')
    made = text([records[name] for name in names.split()])
    return f'{start}\n{made}\n\n{end}'

  def one(match: re.Match) -> str:
    start, name, place, decimals, end = match.groups()
    digits = None if decimals is None else int(decimals)
    figures = records[name].figures if name in records else ()
    for figure in figures:
      if f'{figure.row}; {figure.column}' == place:
        shown = number(figure.value, digits)
        if figure.spread is not None:
          shown += f' ± {number(figure.spread, digits)}'
        return f'{start}{shown}{end}'
    raise ValueError(f'{start}: there is no such figure')

  return _FIGURE.sub(one, _RECORD.sub(whole, page))


def pages(root: pathlib.Path = ROOT) -> list[pathlib.Path]:
  """Returns the pages that may hold marks: each folder's, and the README."""
  paths = [root / folder / PAGE for folder in FOLDERS] + [root / PAGE]
  return [path for path in paths if path.is_file()]
