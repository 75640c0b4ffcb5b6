"""What a run was given, kept in its folder: `inputs.json` and the tokenizer.

A run predicts, is evaluated and exported from its folder alone, finished or
not, wherever the task's file, the data and the weights have gone; one with a
frozen backbone (an adapter) needs that where it lay, see frozen.py. What its
labels and ids mean is written down once, at its start; a run that goes on must
still mean the same.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import logging

from glue_jax.config import config as config_lib
from glue_jax.data.bundle import DataBundle
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Cut, Hub, Task, Tsv
from glue_jax.models import model as models
from glue_jax.reporting import files

FILE, TOKENIZER = 'inputs.json', 'model'
# What of a task decides the meaning of a model's outputs.
_MEANING = ('kind', 'labels', 'choices', 'no_labels')


@dataclasses.dataclass(frozen=True)
class Inputs:
  """What a run was given.

  Attributes:
    task: its task.
    sizes: arguments of `models.build` that fix the encoder.
    tokens: fingerprint of the tokenizer.
    rows: that of the training rows, tokens and all; '' of a run from before
      they had one.
    read: that of the rows as they were read, whatever the tokenizer; '' of a
      corpus, and of a run from before they had one.
    others: `Others.records` of the models and files that its methods read.
  """

  task: Task
  sizes: Mapping[str, Any]
  tokens: str
  rows: str = ''
  read: str = ''
  others: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def write(
  folder: pathlib.Path,
  bundle: DataBundle,
  module: Any,
  others: Mapping[str, Any],
) -> None:
  """Writes the inputs of a run into its folder, on process 0.

  Args:
    folder: of this one run.
    bundle: its data, for task and tokenizer.
    module: its `Model`.
    others: see `Inputs`.
  """
  if not files.is_first_process():
    return
  with files.whole_folder(folder / TOKENIZER) as part:
    bundle.tokenizer.save(part)
  record = {
    'task': task_record(bundle.task),
    'family': module.family,
    'config': dataclasses.asdict(module.config),
    'tokenizer_sha256': bundle.tokenizer.fingerprint,
    'rows_sha256': bundle.train.examples.fingerprint() if bundle.train else '',
    'read_sha256': _as_read(bundle),
    'others': others,
  }
  text = json.dumps(config_lib.plain(record), indent=2, ensure_ascii=False)
  files.replace_text(folder / FILE, text + '\n')


def read(folder: pathlib.Path) -> Inputs | None:
  """Returns the inputs of a run; None of one before version 0.2.0."""
  path = folder / FILE
  if not path.is_file():
    return None
  record = json.loads(path.read_text(encoding='utf-8'))
  fields = {k: models.freeze(v) for k, v in record['config'].items()}
  return Inputs(
    task_of(record['task']),
    {'name': record['family'], 'config': models.EncoderConfig(**fields)},
    record['tokenizer_sha256'],
    record.get('rows_sha256', ''),
    record.get('read_sha256', ''),
    record.get('others', {}),  # runs of before have none
  )


def check(
  folder: pathlib.Path, bundle: DataBundle, other_rows: bool = False
) -> tuple[str, ...]:
  """Refuses to go on where labels, ids or rows are others by now.

  Args:
    folder: of the run.
    bundle: its data, read anew.
    other_rows: go on with other training rows.

  Returns:
    A note for the log and the run record, where it goes on with other rows.

  Raises:
    ValueError: the task's file, the rows or the tokenizer have changed.
  """
  begun = read(folder)
  if begun is None:
    return ()
  for field in _MEANING:
    old, new = (getattr(t, field) for t in (begun.task, bundle.task))
    if old != new:
      raise ValueError(
        f'{folder} was begun with {field}={old!r} of task {begun.task.name}, '
        f'now it is {new!r}; put the task back, or give another workdir'
      )
  same_ids = begun.tokens == bundle.tokenizer.fingerprint
  other = _other_rows(begun, bundle, same_ids)
  kept = f'--config.data.tokenizer={folder / TOKENIZER} --allow_config_change'
  what = f'{folder} was begun with other training rows of {bundle.task.name}'
  if other and not other_rows:
    # A vocabulary that is trained on the rows changes with them.
    way = '--allow_config_change' if same_ids else kept
    raise ValueError(
      f'{what}; put them back, go on with the new ones ({way}), or give '
      'another workdir'
    )
  if not same_ids:
    trained = '' if begun.read else ' (one trained on texts changes with them)'
    raise ValueError(
      f'{folder} was begun with another tokenizer{trained}; it lies in '
      f'{folder / TOKENIZER}: go on with {kept}, or give another workdir'
    )
  return (f'{what}, and goes on with those of today',) if other else ()


def _other_rows(begun: Inputs, bundle: DataBundle, same_ids: bool) -> bool:
  """Whether the training rows are known to be others by now."""
  now = _as_read(bundle)
  if begun.read and now and begun.read != now:
    return True
  if not (begun.rows and bundle.train and same_ids):
    return False  # with other tokens every row is another
  return begun.rows != bundle.train.examples.fingerprint()


def _as_read(bundle: DataBundle) -> str:
  """Fingerprint of the rows that are trained on, before any tokenizer."""
  table = bundle.tables.get(bundle.train_split)
  return table.fingerprint if table else ''


def current_task(section: Mapping[str, Any], begun: Task | None) -> Task:
  """The task of a finished run: as it was begun, its rows where they lie now.

  Args:
    section: the config's, as arguments of `by_name.make`.
    begun: what the run kept of it.

  Raises:
    ValueError, FileNotFoundError: the run kept nothing, and the task can't be
      read.
  """
  if begun is None:
    return by_name.make(**section)
  try:
    now = by_name.make(**section)
  except (ValueError, OSError) as error:
    logging.info('the task as the run kept it: %s', error)
    return begun
  return dataclasses.replace(now, **{f: getattr(begun, f) for f in _MEANING})


def task_record(task: Task) -> dict[str, Any]:
  """Returns a task as JSON has it."""
  return config_lib.plain(dataclasses.asdict(task))


def task_of(record: Mapping[str, Any]) -> Task:
  """Returns the task of a `task_record`, without keys of later versions."""
  known = {field.name for field in dataclasses.fields(Task)}
  fields = {k: _frozen(v) for k, v in record.items() if k in known}
  if fields['tsv']:
    fields['tsv'] = Tsv(**fields['tsv'])
  if fields.get('hub'):
    fields['hub'] = Hub(**fields['hub'])
  fields['cuts'] = {k: Cut(**cut) for k, cut in fields['cuts'].items()}
  return Task(**fields)


def _frozen(value: Any) -> Any:
  """Lists as tuples."""
  if isinstance(value, dict):
    return {k: _frozen(v) for k, v in value.items()}
  return tuple(map(_frozen, value)) if isinstance(value, list) else value
