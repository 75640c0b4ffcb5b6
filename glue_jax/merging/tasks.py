"""A model on its own task: scores of a merged body, and the data's statistics.

Three disjoint sets of rows belong to each model. Hyper-parameters of a merge
are selected on rows held out from the training split, Fisher information and
RegMean's inputs come from other rows of the training split, and results are
reported on the development split. (The official code selects on the split that
it reports.) A run that was trained on the whole training split has seen the
rows that are held out here; only the merge hasn't.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging

from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.data import (
  batching,
  features,
  label_names,
  load,
  pipeline,
  tokenizing,
)
from glue_jax.data.table import Table
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Task
from glue_jax.devices import cpu
from glue_jax.evaluation import evaluate
from glue_jax.merging import fisher, regmean, stream
from glue_jax.merging.settings import Settings
from glue_jax.merging.sources import Source, layout_of
from glue_jax.models import model as models_lib
from glue_jax.plugs import Apply, Plug
from glue_jax.training import inputs, schema
from glue_jax.weights import head, huggingface, run_folder, saved_model

KINDS = ('classification', 'regression', 'multiple_choice')


@dataclasses.dataclass(frozen=True)
class Rows:
  """How many rows of a task are used, drawn at random by the seed.

  Attributes:
    select: held out from the training split, for hyper-parameters.
    statistics: at most so many others, for Fisher and RegMean.
    report: of the development split; None = all.
    batch: rows of a batch of statistics.
    seed: of the draw.
  """

  select: int = 400
  statistics: int = 2048
  report: int | None = None
  batch: int = 16
  seed: int = 0


@dataclasses.dataclass(eq=False)
class TaskModel:
  """One of the merged models, its task and its data.

  Attributes:
    source: where the model comes from.
    task: its task.
    model: module with the task's head.
    params: {our name: array}, head included, its rows as they lie there.
    order: for each label of the task its row of that head.
    tables: rows by 'select' and 'report'.
    batches: their batches.
    statistics: batches for Fisher and RegMean.
  """

  source: Source
  task: Task
  model: Any
  params: dict[str, np.ndarray]
  order: tuple[int, ...]
  tables: dict[str, Table]
  batches: dict[str, batching.EvalBatches]
  statistics: Iterable[Mapping[str, np.ndarray]]

  def with_body(self, body: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the parameters with merged tensors in place of the own ones.

    The rows of the head are in the order of the task's labels.

    Args:
      body: {name in the source's layout: array}.
    """
    params = dict(self.params)
    for name, (theirs, flipped) in layout_of(self.source, self.model).items():
      if theirs in body and name in params:
        value = body[theirs]
        params[name] = np.ascontiguousarray(value.T) if flipped else value
    return head.in_order(params, self.order)

  def score(
    self, body: Mapping[str, np.ndarray], rows: str = 'report'
  ) -> dict[str, float]:
    """Returns the metrics of a body with this model's head, primary first.

    Args:
      body: see `with_body`.
      rows: 'select' or 'report'.
    """
    params = jax.device_put(self.with_body(body))
    program = _program(self.model)

    def predict(batch):
      return program(params, batch)

    metrics, _ = evaluate.evaluate(
      predict, self.batches[rows], self.task, self.tables[rows]
    )
    return metrics

  def value(
    self, body: Mapping[str, np.ndarray], rows: str = 'report'
  ) -> float:
    """The primary metric of `score`; larger is better."""
    value = next(iter(self.score(body, rows).values()))
    return value if self.task.direction == 'max' else -value

  def gather(
    self, body: Mapping[str, np.ndarray], settings: Settings
  ) -> dict[str, np.ndarray]:
    """Returns the statistics that a method needs, in the source's layout.

    Args:
      body: see `with_body`; the statistics are those of the model with it, so
        of the model after dropping.
      settings: says which.

    Returns:
      Fisher information of each merged tensor, or the Gram matrix of each
      merged kernel, by the tensor's name.

    Raises:
      ValueError: the data has fewer than `settings.examples` rows left.
    """
    params = self.with_body(body)
    options = cpu.compiler_options()
    wanted = settings.examples
    if settings.method == 'fisher':
      arrays = fisher.gather(
        _logits_fn(self.model),
        params,
        self.statistics,
        wanted,
        settings.fisher,
        options,
      )
    else:
      # All positions of all layers are inputs, whatever the head reads.
      model = self.model.clone(
        config=dataclasses.replace(self.model.config, stack='plain')
      )
      arrays = regmean.gather(
        _grams_fn(model, frozenset(params)),
        tree.unflatten(params),
        self.statistics,
        wanted,
        options,
      )
    return self._in_layout(arrays, body, settings.method == 'fisher')

  def _in_layout(self, arrays, body, elementwise) -> dict[str, np.ndarray]:
    if elementwise:
      arrays = head.in_order(arrays, np.argsort(self.order).tolist())
    named = {}
    for name, (theirs, flipped) in layout_of(self.source, self.model).items():
      if theirs in body and name in arrays:
        turn = flipped and elementwise
        named[theirs] = arrays[name].T if turn else arrays[name]
    return named


@functools.cache
def _program(model: Any) -> Callable:
  """The compiled prediction; models of one architecture share it."""

  logits_fn = _logits_fn(model)
  return jax.jit(
    lambda params, batch: {'logits': logits_fn(params, batch)},
    compiler_options=cpu.compiler_options(),
  )


@functools.cache
def _logits_fn(model: Any) -> Callable:
  return lambda params, batch: model.apply(
    {'params': tree.unflatten(params)}, batch
  )['logits']


@functools.cache
def _grams_fn(model: Any, names: frozenset[str]) -> Callable:
  """(params, batch) -> {kernel's name: Gram matrix of its layer's inputs}."""
  layers = [n.removesuffix('/kernel') for n in sorted(names) if '/kernel' in n]

  def record(site, next_fn, x, *args, **kwargs):
    weight = jax.numpy.repeat(
      site.apply.extra['weight'],
      x.shape[0] // site.apply.extra['weight'].shape[0],
    )
    site.capture('kernel', regmean.gram(x, weight))
    return next_fn(x, *args, **kwargs)

  plug = Plug('|'.join(map(re.escape, layers)), record)

  def grams(params, batch):
    apply = Apply(model, (plug,), extra={'weight': batch['weight']})
    return apply(params, batch)['captured']

  return grams


def open_task(
  source: Source,
  rows: Rows,
  data_dir: str | None = None,
  task: str | None = None,
) -> TaskModel:
  """Opens a model's task and data.

  Args:
    source: the model.
    rows: how many rows of what.
    data_dir: data folder, if not that of the run.
    task: name of the task, for a Hugging Face folder; a run knows its own.

  Raises:
    ValueError, FileNotFoundError: no task, data, or tokenizer; a task without
      one prediction a row.
  """
  record, data = _task_of(source, task)
  if record.kind not in KINDS:
    raise ValueError(
      f'{source.folder}: a {record.kind} task; a search and the methods that '
      f'need data take {KINDS}'
    )
  model, params = _load(source, record)
  tokenizer = tokenizing.get_tokenizer(source.folder)
  lengths = pipeline.bucket_lengths(
    data.get('buckets', (32, 64, 128)),
    data.get('max_length') or record.max_length or 128,
  )
  model.config.check_lengths(lengths)
  where = data_dir or data.get('data_dir')
  known = {k: data[k] for k in ('files', 'bad_rows') if k in data}
  opened = {}
  for split in (record.train_split, record.eval_splits[0]):
    opened[split] = load.load(
      record, split, where, seed=data.get('data_seed', 0), **known
    )
  train, dev = opened.values()
  order = _permutation(len(train), rows.seed)
  held, rest = order[: rows.select], order[rows.select :][: rows.statistics]
  chosen = np.sort(_permutation(len(dev), rows.seed)[: rows.report])
  tables = {'select': train.take(np.sort(held)), 'report': dev.take(chosen)}
  read = functools.partial(
    features.tokenize,
    tokenizer=tokenizer,
    max_length=lengths[-1],
    segments=data.get('segments'),
  )
  batches = {
    name: batching.eval_batches(read(table), 64, lengths)
    for name, table in tables.items()
  }
  pool = read(train.take(rest)) if len(rest) else None
  statistics = _Statistics(pool, rows.batch, lengths)
  return TaskModel(
    source,
    record,
    model,
    params,
    _order(source, record),
    tables,
    batches,
    statistics,
  )


class _Statistics:
  """Batches in the order in which the rows were drawn, not by length."""

  def __init__(self, examples, batch, lengths):
    self._examples, self._batch, self._lengths = examples, batch, lengths

  def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
    count = len(self._examples) if self._examples else 0
    for start in range(0, count, self._batch):
      at = np.arange(start, min(start + self._batch, count))
      longest = self._examples.lengths[at].max()
      length = next(n for n in self._lengths if n >= longest)
      yield self._examples.batch(at, length, self._batch)


def _task_of(source: Source, name: str | None) -> tuple[Task, Mapping]:
  if source.layout == 'native':
    places = (source.folder.parent, source.folder)
    folder = next((p for p in places if run_folder.is_run(p)), None)
    if folder is not None:
      config = run_folder.read_config(folder)
      kept = inputs.read(folder)
      section = schema.bind_section('task', config)
      task = inputs.current_task(section, kept.task if kept else None)
      return task, config_lib.plain(config.data)
  if name is None:
    raise ValueError(
      f'{source.folder} does not say which task it is for; name one for each '
      'model with --tasks'
    )
  return by_name.get(name), {}


def _load(source: Source, task: Task) -> tuple[Any, dict[str, np.ndarray]]:
  if source.layout == 'native':
    model, params = saved_model.load(source.folder)
    return model, tree.flatten(params)
  layout_of(source)  # raises for a family not known here
  model = models_lib.build(
    source.encoder.family,
    kind=task.kind,
    num_outputs=by_name.num_outputs(task),
    config=source.encoder.config,
  )
  params, missing = huggingface.load_hf(source.folder, model, cast=True)
  if missing:
    raise ValueError(
      f'{source.folder} has no {missing[0]}: a model fine-tuned on '
      f'{task.name} is expected'
    )
  return model, tree.flatten(params)


def _order(source: Source, task: Task) -> tuple[int, ...]:
  """For each label of the task its row of the source's head."""
  if task.kind not in label_names.KINDS:
    return ()
  where = f'the head of {source.folder}'
  match = label_names.match(task.labels, source.labels, where)
  if match.note:
    logging.warning('%s', match.note)
  return match.order


def _permutation(count: int, seed: int) -> np.ndarray:
  rng = np.random.Generator(np.random.Philox(key=[seed, count]))
  return rng.permutation(count)


def statistics(
  tasks: Sequence[TaskModel],
  models: Sequence[stream.Weights],
  settings: Settings,
) -> list[dict[str, np.ndarray]]:
  """Gathers what Fisher or RegMean need, one model in memory at a time.

  Args:
    tasks: of the models.
    models: after dropping.
    settings: says which statistics.
  """
  return [
    task.gather(stream.to_arrays(model), settings)
    for task, model in zip(tasks, models, strict=True)
  ]
