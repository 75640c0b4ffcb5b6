"""The state of a run: restored, saved, evaluated.

These are the pieces of the loop in train.py that evaluation, prediction and
export of a finished run use as well.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from absl import logging

from glue_jax import tree
from glue_jax.data.tasks.task import CORPUS_KINDS
from glue_jax.devices import cpu, sharding
from glue_jax.evaluation import evaluate
from glue_jax.evaluation.predictions import Predictions
from glue_jax.evaluation.selection import Criterion
from glue_jax.method import Host
from glue_jax.plugs import Apply
from glue_jax.training import checkpoint, learning
from glue_jax.training.parts import Parts
from glue_jax.training.state import TrainState
from glue_jax.training.step import USES

KEPT = 16  # compiled predictions and programs of hooks; the newest stay


def make_host(parts: Parts, state: TrainState, key: jax.Array) -> Host:
  """Returns what hooks see of a run before its first step.

  Args:
    parts, state: of the run.
    key: of the run.
  """
  bundle = parts.bundle
  per_epoch = bundle.train.steps_per_epoch if bundle.train else 1
  host = Host(bundle.train, per_epoch, parts.total_steps, state)
  host.tokenizer = bundle.tokenizer
  host.evaluate = lambda: evaluate_splits(parts, host)[0]
  host.predict = lambda split: predict_split(parts, host, split)
  host.program = lambda name, fn: program(parts, host, name, fn)
  host.key = lambda: jax.random.fold_in(
    jax.random.fold_in(key, host.step), USES['collect']
  )
  return host


def restore(
  saved: checkpoint.Checkpoints, parts: Parts, tx: Any, host: Host
) -> dict[str, Any]:
  """Restores the newest whole checkpoint into `host`; returns its notes.

  {} where there is none.
  """
  saved.newest('best')  # moves aside what a kill left half written
  step = saved.newest('last')
  if step is None:
    return {}
  record = restore_step(saved, 'last', step, parts, tx, host)
  logging.info('goes on from step %d', step)
  return record


def restore_step(
  saved: checkpoint.Checkpoints,
  kind: str,
  step: int,
  parts: Parts,
  tx: Any,
  host: Host,
) -> dict[str, Any]:
  """Restores one checkpoint into `host`; returns its notes."""
  record = saved.host(kind, step)
  host.step, host.epoch = record['step'], record['epoch']
  host.variant = dict(record['variant'])
  host.memory = dict(record['memory'])
  host.metrics = record['metrics']
  # Older checkpoints say only in the notes that the run ended early.
  ended = host.memory.get('patience', {}).get('finished', False)
  host.stop = record.get('stop', ended)
  if host.train_data is not None:
    host.train_data.restore(record['data'])
  state = learning.relabel(host, parts.method, tx, parts.rules, parts.mesh)
  host.state = saved.state(kind, step, state, parts.readers, parts.opened)
  return record


def notes(
  host: Host, best: dict[str, Any], monitor: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns what a checkpoint holds beside the state.

  Args:
    host: of the run.
    best: 'step' and 'value' of the best evaluation, 'by' what if the config
      says; or nothing yet.
    monitor: `Monitor.state()`.
  """
  return {
    'step': host.step,
    'epoch': host.epoch,
    'variant': host.variant,
    'memory': host.memory,
    'metrics': host.metrics,
    'stop': host.stop,
    'data': host.train_data.state(),
    'best': best,
    'monitor': monitor,
  }


def save_best(
  saved: checkpoint.Checkpoints,
  criterion: Criterion,
  host: Host,
  best: dict[str, Any],
  monitor: Mapping[str, Any],
) -> dict[str, Any]:
  """Saves the state as `best` if it is; returns the best so far.

  One that was chosen by another criterion is replaced.

  Raises:
    ValueError: the criterion of the config isn't among the metrics.
  """
  value = criterion.value(host.metrics)
  if value is None and criterion.given:
    there = {split: sorted(values) for split, values in host.metrics.items()}
    raise ValueError(
      f'config.train.select_metric={criterion.name!r} was not measured; the '
      f'evaluation has {there}'
    )
  by = {'by': criterion.name} if criterion.given else {}
  same = best.get('by') == by.get('by')
  if value is None or not criterion.better(
    value, best.get('value') if same else None
  ):
    return best
  best = {'step': host.step, 'value': value} | by
  saved.save('best', host.step, host.state, notes(host, best, monitor))
  return best


class _Row(dict):
  """A row that says whose field is missing."""

  def __missing__(self, field):
    raise ValueError(
      f'config.objective reads {field!r} of each row, and rows of this task '
      f'have {sorted(self)}; take an objective for the task, or the task '
      "'corpus' with the objective"
    )


def check_objective(parts: Parts, host: Host, batch: Mapping[str, Any]) -> None:
  """Refuses an objective that can't read the rows, or passes over their pairs.

  Else the first step would find out, or the first evaluation. What the
  objective predicts is traced, and nothing computed; not where the task has
  chosen the head, whose kind objectives check, or the rows are plain text.

  Args:
    parts, host: of the run, before its first step.
    batch: one row, for its shapes.

  Raises:
    ValueError: a field is missing, or a column is there that it doesn't read;
      see `evaluate.check_corpus` too.
  """
  task, paired = parts.bundle.task, parts.bundle.task.kind in CORPUS_KINDS
  rows = parts.bundle.train.examples
  unread = {*rows.columns, *rows.token_columns} - {*parts.objective.columns}
  if unread:
    raise ValueError(
      f'the training rows have the columns {sorted(unread)}, which the '
      f'objective {parts.sections.objective.name!r} does not read; leave out '
      'what brings them (data.hard_tokens), or take another objective'
    )
  if task.kind == 'language_modeling':
    return
  if not paired and not parts.sections.model.head:
    return

  def call(state, batch):
    apply, params = bound(parts, state, host.variant)
    return parts.objective.predict(apply, params, _Row(batch))

  outputs = jax.eval_shape(call, host.state.replace(opt_state=()), batch)
  if paired:
    evaluate.check_corpus(task, outputs)


def predict_fn(parts: Parts, state: TrainState, variant: Any) -> Callable:
  """Returns batch -> outputs with the parameters of the state, compiled."""
  state = settled(parts, state)
  return _compiled(
    parts, state, variant, '', parts.objective.predict, out_shardings=None
  )


def program(parts: Parts, host: Host, name: str, fn: Callable) -> Callable:
  """Returns (batch, ...) -> this process's rows, see `Host.program`."""
  state = host.state.replace(opt_state=())
  rows = sharding.batch_sharding(parts.mesh)
  run = _compiled(parts, state, host.variant, name, fn, out_shardings=rows)
  return lambda *given: jax.tree.map(sharding.local_rows, run(*given))


def _compiled(parts, state, variant, name, fn, out_shardings) -> Callable:
  """(local batch, ...) -> `fn(apply, params, batch, ...)`, compiled once."""

  def call(state, *given):
    return fn(*bound(parts, state, variant), *given)

  lean, key = state.replace(opt_state=()), (name, *sorted(variant.items()))
  program = parts.programs.pop(key, None) or jax.jit(
    call, out_shardings=out_shardings, compiler_options=cpu.compiler_options()
  )
  parts.programs[key] = program
  if len(parts.programs) > KEPT:
    del parts.programs[next(iter(parts.programs))]
  return lambda batch, *given: program(
    lean, sharding.put_batch(batch, parts.mesh), *given
  )


def settled(parts: Parts, state: TrainState) -> TrainState:
  """Returns the state with the parameters that are evaluated and exported.

  Those are the state's own, unless a method says otherwise (an average); then
  the optimizer's state, which they are made of, is left out.
  """
  evaluates = parts.method.evaluates
  if not evaluates or not jax.tree.leaves(state.opt_state):
    return state

  def settle(state):
    slots: dict[str, Any] = {}
    for part in state.optimizer_state():
      slots |= tree.paths(part)
    flat = tree.flatten(evaluates(state.all_params(), slots))

    def pick(part):
      return tree.map_named(lambda name, _: flat[name], part)

    return pick(state.params), pick(state.frozen['params'])

  compiled = jax.jit(settle, compiler_options=cpu.compiler_options())
  program = parts.programs.setdefault('settled', compiled)
  params, frozen = program(state)
  others = {k: v for k, v in state.frozen.items() if k != 'opt_state'}
  return state.replace(
    params=params, frozen=others | {'params': frozen}, opt_state=()
  )


def bound(
  parts: Parts, state: TrainState, variant: Any
) -> tuple[Apply, tree.Tree]:
  """Returns what predicts: the model with its plugs, and its parameters."""
  state = settled(parts, state)
  params = state.all_params()
  if parts.method.reparam:
    params = parts.method.reparam(params, state.step, None)
  apply = parts.apply.replace(
    frozen=state.frozen, extra=state.extra, variant=variant, step=state.step
  )
  return apply, params


def evaluate_splits(parts: Parts, host: Host) -> tuple[dict, dict]:
  """Returns ({split: metrics}, {split: predictions}) of the current state."""
  predict = predict_fn(parts, host.state, host.variant)
  metrics, predictions = {}, {}
  for name, batches in parts.bundle.evals.items():
    task, table = parts.bundle.task, parts.bundle.tables.get(name)
    if table is None or table.labelled:
      metrics[name], predicted = evaluate.evaluate(
        predict, batches, task, table
      )
    else:
      predicted = evaluate.predict(predict, batches, task, table)
    if predicted is not None:
      predictions[name] = predicted
  return metrics, predictions


def predict_split(parts: Parts, host: Host, split: str) -> Predictions:
  """Returns the predictions of a split, that of training ('') included.

  Raises:
    ValueError: the run has no such split of labelled texts.
  """
  bundle = parts.bundle
  every = dict(bundle.evals)
  if bundle.train:
    named = parts.sections.data.get('train_split') or bundle.task.train_split
    every.setdefault(named, bundle.train.once())
    split = split or named
  if split not in every or split not in bundle.tables:
    there = sorted(every.keys() & bundle.tables.keys())
    raise ValueError(
      f'there is no split {split!r} to predict; there are {there}'
    )
  predict = predict_fn(parts, host.state, host.variant)
  return evaluate.predict(
    predict, every[split], bundle.task, bundle.tables[split]
  )


def truncated(parts: Parts, state: TrainState, rank: int) -> TrainState:
  """Returns the state with low-rank leaves cut to a smaller rank.

  Shapes stay, so compiled predictions serve every rank.

  Raises:
    ValueError: no method of the run has ranks, or not this one.
  """
  if not parts.method.truncate:
    raise ValueError(
      f'a run with {parts.method.name} has no low-rank leaves that can be cut '
      'to a smaller rank'
    )
  state = settled(parts, state)
  flat = tree.flatten(parts.method.truncate(state.all_params(), rank))

  def pick(part):
    return tree.map_named(
      lambda name, old: jax.device_put(flat[name], old.sharding), part
    )

  frozen = dict(state.frozen, params=pick(state.frozen['params']))
  return state.replace(params=pick(state.params), frozen=frozen)


def exported(
  parts: Parts, state: TrainState, unread: bool = False
) -> tree.Tree:
  """Returns the plain model's tree (merged, ...) on every host.

  Args:
    parts, state: of the run.
    unread: gather each leaf where it is used (`tree.Unread`), on all processes
      in the same order: of a model that is larger than a host's memory.
  """
  _, params = bound(parts, state, {})
  if parts.method.export:
    params = parts.method.export(params)
  if not unread:
    return sharding.gather(params, parts.mesh)

  def later(_, leaf):
    read = functools.partial(sharding.gather, leaf, parts.mesh)
    return tree.Unread(leaf.shape, leaf.dtype, read)

  return tree.map_named(later, params)
