"""A user's own task as one YAML file and one data file, without Python.

  name: my_task                # unique
  dataset: jsonl:PATH          # or another format, see below
  columns: {text: sentence1, text_pair: sentence2}     # or {tokens: tokens}
  target: label
  label_names: [no, yes]       # their order gives the ids
  kind: classification         # see KIND_NAMES
  metric: [accuracy, f1_macro] # the first one picks checkpoints
  splits: {train: train, validation: validation, test: test}
  seq_mode: conll              # sequence_labeling only: conll, strict, unit
  unanswerable: true           # span_qa only: some questions have no answer
  prompt: 'Review: {sentence1}'   # asked of a model that writes the answer
  words: [bad, good]           # of the classes; closing: '.' ends an answer
  max_length: 512

Only name, dataset, columns and kind are needed (and label_names where there
are classes). PATH is relative to the YAML file: a folder with `<split>.jsonl`
and so on, or one file, which is then `train`. `splits` names each split's file
(without its ending, or a whole path) or split of tensorflow-datasets; or cuts
it: {from: train, fraction: .1, seed: 441}, which is what `validation` is where
none is given. Columns of a conll file are numbers from 0; target -1 is the
last. The file's path stands where a config names a task: task.name=FILE.yaml.

The format before the colon is how the files are read, whatever their endings:
jsonl, json, csv, tsv, conll, squad, parquet, arrow, datasets (a folder that
`save_to_disk` of Hugging Face's library left, of one split or of several) or
tfds:NAME. A split is a file, a set of shards by the name of the split
(train-00000-of-00002.parquet), a folder of files, or a pattern
(train: part-*.parquet). Columns of nested data are named by their path:
choices: [endings.0, endings.1], target: answer.label. Where `datasets` says
that a label is one of some classes, it is joined with `label_names` by name.
Names are the text in the file: `no`, `010` and `null` are names as they stand.
Labels of a multilabel row are a list of names, in CSV as text: ["a", "b"].
"""

import pathlib
import re
from collections.abc import Collection, Mapping
from typing import Any

from glue_jax.config import ranges
from glue_jax.data import prompts
from glue_jax.data.readers import split_files
from glue_jax.data.tasks.task import Cut, Tsv
from glue_jax.metrics import names as metric_names
from glue_jax.metrics import sequence

# Names of kinds in these files, and in records.
KIND_NAMES = {
  'classification': 'classification',
  'pair_classification': 'classification',
  'multilabel': 'multilabel',
  'regression': 'regression',
  'sequence_labeling': 'token_classification',
  'multiple_choice': 'multiple_choice',
  'span_qa': 'span',
  'generation': 'generation',
}
# {kind: names of its columns, in order}; 'choices' is a list.
_ROLES = {
  'classification': ('text',),
  'pair_classification': ('text', 'text_pair'),
  'sequence_labeling': ('tokens',),
  'multiple_choice': ('text', 'choices'),
  'span_qa': ('question', 'context'),
  'generation': ('text',),
}
_CLASSED = ('classification', 'multilabel', 'token_classification')
_KEYS = (
  *('name', 'dataset', 'columns', 'target', 'label_names', 'kind'),
  *('metric', 'splits', 'seq_mode', 'unanswerable', 'max_length'),
  *('prompt', 'words', 'closing'),
)
_NEEDED = ('name', 'dataset', 'columns', 'kind')
# Endings that may be left out in `splits`; a whole name may have any.
_ENDINGS = {
  'jsonl': ('.jsonl', '.ndjson', '.json'),
  'json': ('.json', '.jsonl', '.ndjson'),
  'tsv': ('.tsv', '.tab', '.txt'),
  'csv': ('.csv',),
  'conll': ('.conll', '.iob', '.bio', '.txt', '.tsv'),
  'squad': ('.json',),
  'parquet': ('.parquet', '.pq'),
  'arrow': ('.arrow', '.feather'),
  'datasets': ('.arrow',),
}
_BOOLEANS = ('true', 'false')
_SPLITS = ('train', 'validation', 'test')


def is_file_name(name: str) -> bool:
  """Whether a task's name is that of a YAML file."""
  return str(name).endswith(('.yaml', '.yml'))


def read(
  path: str | pathlib.Path, taken: Collection[str] = ()
) -> dict[str, Any]:
  """The fields of `task.Task` that a file gives.

  Args:
    path: the YAML file.
    taken: names that other tasks have.

  Raises:
    FileNotFoundError: no such file, or no data where it says.
    ValueError: not YAML, an unknown or missing key, or a value that isn't one
      of those expected; with the file and line.
  """
  path = pathlib.Path(path).expanduser()
  section, lines = _parse(path)
  try:
    return _fields(section, path.parent, taken)
  except _Wrong as wrong:
    line = lines.get(wrong.key, 1)
    raise ValueError(f'{path}:{line}: {wrong.key}: {wrong}') from None


def cut(section: Mapping[str, Any]) -> Cut:
  """A cut from {'from': 'train', 'fraction': 0.1, 'seed': 441}.

  Or a fold, from {'from': 'train', 'folds': 5, 'fold': 0, 'seed': 441}.

  Raises:
    ValueError: an unknown key, or a value that isn't what `Cut` says.
  """
  known = {'from', 'fraction', 'seed', 'folds', 'fold'}
  unknown = sorted(set(section) - known)
  if unknown:
    raise ValueError(
      f'unknown {unknown}; known are from, fraction or folds and fold, and seed'
    )
  fields = {'source' if k == 'from' else k: v for k, v in section.items()}
  ranges.check_arguments(Cut, fields, 'cut')
  made = Cut(**fields)
  if made.folds and ('fraction' in fields or made.fold >= made.folds):
    raise ValueError(
      f'{dict(section)}: expected a fold below folds, and no fraction'
    )
  if made.fold and not made.folds:
    raise ValueError(f'{dict(section)}: fold needs folds')
  return made


class _Wrong(ValueError):
  """A value that doesn't fit, and its key."""

  def __init__(self, key: str, message: str):
    super().__init__(message)
    self.key = key


def _parse(path: pathlib.Path) -> tuple[dict, dict[str, int]]:
  """(content, {key: its line}); every value is the text that stands there."""
  import yaml

  if not path.is_file():
    raise FileNotFoundError(f'task file {path} does not exist')
  try:
    text = path.read_text(encoding='utf-8')
    # YAML's types would make a boolean of no, 8 of 010, and a date of 2020-1-1.
    node, section = yaml.compose(text), yaml.load(text, yaml.BaseLoader)
  except yaml.MarkedYAMLError as error:
    line = error.problem_mark.line + 1 if error.problem_mark else 1
    raise ValueError(f'{path}:{line}: not YAML: {error.problem}') from error
  except (yaml.YAMLError, UnicodeDecodeError) as error:
    message = ' '.join(str(error).split())
    raise ValueError(f'{path}:1: not YAML: {message}') from error
  if not isinstance(section, dict):
    raise ValueError(f'{path}:1: expected keys {", ".join(_KEYS)}')
  _refuse_twice(node, path)
  lines = {key.value: key.start_mark.line + 1 for key, _ in node.value}
  for name in lines:
    if name not in _KEYS:
      raise ValueError(
        f'{path}:{lines[name]}: unknown key {name!r}; known are '
        f'{", ".join(_KEYS)}'
      )
  missing = [name for name in _NEEDED if name not in section]
  if missing:
    raise ValueError(f'{path}:1: {", ".join(missing)} missing')
  return section, lines


def _refuse_twice(node: Any, path: pathlib.Path) -> None:
  """Raises ValueError where a mapping, however deep, has a key twice."""
  parts = node.value if isinstance(node.value, list) else ()
  names = set()
  for part in parts:
    key, value = part if isinstance(part, tuple) else (None, part)
    if key is not None and key.value in names:
      line = key.start_mark.line + 1
      raise ValueError(f'{path}:{line}: key {key.value!r} is given twice')
    names |= {key.value} if key is not None else set()
    _refuse_twice(value, path)


def _number(text: Any) -> Any:
  """The number that a text stands for, or the text."""
  for kind in (int, float):
    try:
      return kind(text)
    except (TypeError, ValueError):
      pass
  return text


def _fields(
  section: Mapping[str, Any], base: pathlib.Path, taken: Collection[str]
) -> dict[str, Any]:
  kind = _one_of('kind', section['kind'], KIND_NAMES)
  name = str(section['name'])
  if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_-]*', name):
    raise _Wrong('name', f'{name!r}: expected letters, digits, _ and -')
  if name in taken:
    raise _Wrong('name', f'{name!r} is the name of a known task')
  fields: dict[str, Any] = {'name': name, 'kind': KIND_NAMES[kind]}
  fields |= _columns(kind, section['columns'])
  fields['labels'] = _label_names(kind, section.get('label_names', ()))
  fields['label_column'] = str(section.get('target', 'label'))
  fields |= _answers(kind, section.get('unanswerable'))
  fields['prompt'] = prompts.read(section, fields['labels'])
  fields |= _metrics(
    fields['kind'], section.get('metric'), fields['unanswerable']
  )
  style, _, where = str(section['dataset']).partition(':')
  _one_of('dataset', style, ('tfds', *_ENDINGS))
  if not where:
    raise _Wrong('dataset', f'{section["dataset"]!r}: expected {style}:PATH')
  if style == 'tfds':
    fields |= {'tfds': where, **_tfds_splits(section.get('splits'))}
  else:
    place = base / pathlib.Path(where).expanduser()
    fields |= _file_splits(section.get('splits'), place, _ENDINGS[style])
    fields['format'] = style
  if style == 'squad' and fields['columns'] != ('question', 'context'):
    raise _Wrong(
      'columns',
      f'{section["columns"]!r}: a SQuAD file has {{question: question, '
      'context: context}, in a span_qa task',
    )
  if style == 'conll':
    column = section['columns']['tokens']
    label = section.get('target', -1)
    fields['columns'] = ('tokens',)
    fields |= {'style': 'conll', 'tsv': Tsv((str(column),), str(label))}
  if 'seq_mode' in section:
    if kind != 'sequence_labeling':
      raise _Wrong('seq_mode', f'for sequence labelling only, not for {kind}')
    fields['seq_mode'] = _one_of(
      'seq_mode', section['seq_mode'], sequence.MODES
    )
  length = _number(section.get('max_length') or None)
  if length is not None and not (isinstance(length, int) and length > 2):
    raise _Wrong('max_length', f'{length!r}: expected a number of tokens')
  return fields | {'max_length': length}


def _answers(kind: str, given: Any) -> dict[str, Any]:
  """Whether some questions have no answer."""
  if given is None:
    return {'unanswerable': False}
  if kind != 'span_qa':
    raise _Wrong('unanswerable', f'for span_qa only, not for {kind}')
  text = str(given).lower()
  return {'unanswerable': _one_of('unanswerable', text, _BOOLEANS) == 'true'}


def _one_of(key: str, value: Any, known) -> str:
  if value not in known:
    raise _Wrong(key, f'{value!r}: expected one of {", ".join(known)}')
  return value


def _columns(kind: str, columns: Any) -> dict[str, Any]:
  roles = _ROLES.get(kind, ('text', 'text_pair'))
  needed = roles if kind in _ROLES else roles[:1]
  given = columns if isinstance(columns, dict) else {}
  if not set(needed) <= set(given) <= set(roles):
    raise _Wrong(
      'columns',
      f'{columns!r}: a {kind} task has {{{": ..., ".join(needed)}: ...}}',
    )
  names = []
  for role in roles:
    if role in given:
      value = given[role]
      names += value if isinstance(value, list) else [value]
  fields = {'columns': tuple(str(name) for name in names)}
  if kind == 'multiple_choice':
    fields['choices'] = tuple(str(name) for name in names[1:])
  return fields


def _label_names(kind: str, names: Any) -> tuple[str, ...]:
  if not isinstance(names, (list, tuple)):
    raise _Wrong('label_names', f'{names!r}: expected a list')
  wrong = [name for name in names if not isinstance(name, str)]
  if wrong:
    raise _Wrong('label_names', f'{wrong[0]!r} is no name')
  labels = tuple(name.strip() for name in names)
  if '' in labels:
    raise _Wrong('label_names', f'{names!r} has an empty name')
  if KIND_NAMES[kind] in _CLASSED and len(labels) < 2:
    raise _Wrong('label_names', f'{names!r}: expected two names or more')
  twice = [name for name in labels if labels.count(name) > 1]
  if twice:
    raise _Wrong('label_names', f'{twice[0]!r} is given twice')
  return labels


def _metrics(kind: str, given: Any, unanswerable: bool) -> dict[str, Any]:
  """Metrics under the project's names; f1_macro is macro_f1."""
  if given is None or given == '':
    return {}
  known = metric_names.of_kind(kind, unanswerable)
  names = []
  for name in given if isinstance(given, list) else [given]:
    names.append(_one_of('metric', metric_names.own_name(str(name)), known))
  direction = metric_names.direction(names[0]) if names else 'max'
  return {'metrics': tuple(names), 'direction': direction}


def _splits(given: Any) -> tuple[dict[str, str], dict[str, Cut]]:
  """(names, cuts) of the given splits; validation is cut if it isn't there."""
  if not isinstance(given, dict) or not set(given) <= set(_SPLITS):
    raise _Wrong('splits', f'{given!r}: expected {", ".join(_SPLITS)}')
  names, cuts = {}, {}
  for split, value in given.items():
    if isinstance(value, dict):
      try:
        cuts[split] = cut({k: _number(v) for k, v in value.items()})
      except (TypeError, ValueError) as error:
        raise _Wrong('splits', f'{split}: {error}') from None
    elif value:  # nothing after the colon is no split
      names[split] = str(value)
  if 'train' not in names:
    raise _Wrong('splits', 'train is missing')
  if 'validation' not in {**names, **cuts}:
    cuts['validation'] = Cut()
  wrong = [c.source for c in cuts.values() if c.source not in names]
  if wrong:
    raise _Wrong(
      'splits', f'from: {wrong[0]}: no such split; there are {", ".join(names)}'
    )
  return names, cuts


def _named(sources: dict[str, str], cuts: dict[str, Cut]) -> dict[str, Any]:
  """The fields that say what the splits are for."""
  for split, source in sources.items():
    twin = next(s for s, other in sources.items() if other == source)
    if twin != split:
      raise _Wrong('splits', f'{twin} and {split} are both {source}')
  return {
    'sources': sources,
    'cuts': cuts,
    'splits': dict.fromkeys({**sources, **cuts}),
    'test_splits': ('test',) if 'test' in {**sources, **cuts} else (),
  }


def _tfds_splits(given: Any) -> dict[str, Any]:
  whole = {split: split for split in _SPLITS}
  return _named(*_splits(whole if given is None else given))


def _file_splits(
  given: Any, place: pathlib.Path, endings: tuple[str, ...]
) -> dict[str, Any]:
  """Splits that lie in files."""
  one = split_files.is_one(place)
  if one:
    base, train = place.parent, place.name
  elif place.is_dir():
    base, train = place, 'train'
  else:
    raise FileNotFoundError(f'dataset: {place} does not exist')
  if given is None:
    usual = {'train': train, 'validation': 'validation', 'test': 'test'}
    given = {
      split: name
      for split, name in usual.items()
      if split == 'train' or (not one and split_files.find(base, name, endings))
    }
  elif one and given.get('train', 'train') == 'train':
    given = {'train': train, **{k: v for k, v in given.items() if k != 'train'}}
  names, cuts = _splits(given)
  sources = {}
  for split, name in names.items():
    path = split_files.find(base, name, endings)
    if not path:
      raise _Wrong(
        'splits',
        f'{split}: no file {name!r} with ending {" or ".join(endings)} in '
        f'{base}',
      )
    sources[split] = str(path)
  return _named(sources, cuts)
