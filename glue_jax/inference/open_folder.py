"""A model folder that is no run's workdir, opened as a run is.

A folder of Hugging Face (its architecture says which head it has), of
`sentence-transformers`, or the folder `model/` that a run leaves. Its task is
what the head says: kind and labels, without data; columns are `text` (and
`text_pair`), `words`, `question` and `context`, or those of the run that left
the folder. An encoder without a head gives hidden states alone.
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from glue_jax.config import config as config_lib
from glue_jax.config.ranges import Count
from glue_jax.data import pipeline, tokenizing
from glue_jax.data.bundle import DataBundle
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Task
from glue_jax.devices import sharding
from glue_jax.evaluation import decisions
from glue_jax.inference.run import Run
from glue_jax.method import Host, Method, Objective
from glue_jax.models import model as models
from glue_jax.objectives import task as task_objective
from glue_jax.plugs import Apply
from glue_jax.training import inputs
from glue_jax.training.parts import Parts
from glue_jax.training.state import TrainState
from glue_jax.weights import huggingface, saved_model

HEADLESS = 'encoder'
LONGEST = 512  # tokens, where neither the folder nor its positions say less
COLUMNS = {
  HEADLESS: ('text',),
  'classification': ('text',),
  'multilabel': ('text',),
  'regression': ('text',),
  'token_classification': ('words',),
  'span': ('question', 'context'),
  'multiple_choice': ('context', 'choice_0', 'choice_1'),
}
_BUCKETS = (16, 32, 64, 128, 256)


def open_folder(
  folder: str | os.PathLike,
  *,
  max_length: Count | None = None,
  batch_size: Count = 64,
) -> Run:
  """Opens a model folder.

  Args:
    folder: of Hugging Face, or a run's `model/`.
    max_length: longest text in tokens; None = what the folder says, at most
      what the model has positions for, or 512.
    batch_size: rows of a batch.

  Raises:
    FileNotFoundError, ValueError: it is no such folder, its weights don't fit
      what it says of them, or its head is missing.
  """
  folder = pathlib.Path(folder)
  module, params, task = _model(folder)
  tokenizer = tokenizing.read(saved_model.find(folder))
  config = module.config
  if tokenizer.vocab_size > config.vocab_size:
    raise ValueError(
      f'{folder}: its tokenizer has {tokenizer.vocab_size} tokens, its model '
      f'{config.vocab_size} rows; put the tokenizer of the weights there'
    )
  longest = max_length or _longest(folder, config)
  # Where padding changes the result, every batch is of one length.
  shorter = () if config.fixed_length else _BUCKETS
  buckets = pipeline.bucket_lengths(shorter, longest)
  config.check_lengths(buckets)
  bundle = DataBundle(task, tokenizer, None, {}, {}, buckets, ())
  completed = config_lib.complete(
    {
      'model': {'weights': str(folder)},
      'data': {'eval_batch_size': batch_size, 'max_length': buckets[-1]},
    }
  )
  mesh = sharding.make_mesh()
  with sharding.enter(mesh):
    specs = sharding.param_specs(params, module.rules, mesh)
    params = sharding.put(params, specs)
    apply = Apply(module)
    parts = Parts(
      sections=None,  # nothing is trained
      mesh=mesh,
      bundle=bundle,
      apply=apply,
      plain=apply,
      params=params,
      method=Method('none'),
      objective=Objective(_no_loss, task_objective.predict),
      total_steps=1,
      rules=module.rules,
      names=frozenset(),
    )
    state = TrainState(
      step=jnp.zeros((), jnp.int32),
      params={},
      frozen={'params': params},
      opt_state=(),
      extra={},
    )
  host = Host(None, 1, 1, state)
  home = saved_model.find(folder)
  return Run.of(
    parts,
    host,
    config=completed,
    begun=completed,
    decisions=decisions.of_step(home, _step(home), task),
  )


def _step(home: pathlib.Path) -> int | None:
  """The checkpoint that a run's finished model is; None of other folders."""
  result = home.parent / 'result.json'
  if home.name != 'model' or not result.is_file():
    return None
  return json.loads(result.read_text(encoding='utf-8')).get('step')


def _no_loss(*_: Any) -> Any:
  raise ValueError('a folder is opened to predict; train with a config')


def _model(folder: pathlib.Path) -> tuple[Any, Any, Task]:
  """(module, its tree, the task that its head says)."""
  record = saved_model.read_record(folder)
  if record:
    module, params = saved_model.load(folder)
    own = inputs.read(saved_model.find(folder).parent)
    if own and models.head_kind(module.family, own.task.kind) == module.kind:
      return module, params, own.task
    return module, params, _task(folder, module.kind, record['labels'])
  family, config, raw = huggingface.read_hf_config(folder)
  kind, labels = huggingface.head_of(raw, folder)
  task = _task(folder, kind, labels)
  outputs = 0 if kind == HEADLESS else by_name.num_outputs(task)
  module = models.build(family, kind=kind, num_outputs=outputs, config=config)
  params, missing = huggingface.load_hf(folder, module, cast=True)
  lost = [name for name in missing if name.startswith('head/')]
  if lost:
    raise ValueError(
      f'{folder}: its config.json says {raw["architectures"]}, but its weights '
      f'lack {lost[0]}; fine-tune it first, or take the folder of a tuned one'
    )
  if missing and kind != HEADLESS:
    raise ValueError(f'{folder}: its weights lack {missing[0]}')
  # What an encoder's pooler gives is read by nobody here.
  params = huggingface.fill_missing(params, missing, module, jax.random.key(0))
  return module, params, task


def _task(folder: pathlib.Path, kind: str, labels: Any) -> Task:
  """A task of a head: without data, whose columns a text may widen."""
  if kind not in COLUMNS:
    kind, labels = HEADLESS, ()
  columns = COLUMNS[kind]
  return Task(
    name=folder.resolve().name,
    kind='classification' if kind == HEADLESS else kind,
    columns=columns,
    labels=() if kind in ('regression', 'span') else tuple(labels or ()),
    metrics=(),
    choices=columns[1:] if kind == 'multiple_choice' else (),
    eval_splits=(),
    test_splits=(),
  )


def widened(task: Task, width: int) -> Task:
  """Returns the task of a folder for texts of so many parts.

  A head of sentences reads one text or two; one of choices a context and any
  number of them. Tasks of runs stay as they are.
  """
  if task.columns == ('text',) and width == 2:
    return dataclasses.replace(task, columns=('text', 'text_pair'))
  if task.columns[:2] == COLUMNS['multiple_choice'][:2] and width > 2:
    choices = tuple(f'choice_{i}' for i in range(width - 1))
    return dataclasses.replace(
      task, columns=('context', *choices), choices=choices
    )
  return task


def _longest(folder: pathlib.Path, config: Any) -> int:
  """The longest text in tokens, by the folder's word and its positions."""
  options = tokenizing.read_settings(saved_model.find(folder)).options
  said = options.get('model_max_length')
  rows = config.max_positions and config.max_positions - config.position_offset
  return min(x for x in (said, rows, LONGEST) if x)
