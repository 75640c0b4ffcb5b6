"""The loop. It knows records of functions only: no method, no model, no task.

Stages, in this order: config, mesh + data + model + params + method (all in
build.py), split, optimizer, step, restore, loop, export.
"""

import dataclasses
import json
import math
import os
import pathlib
import signal
import time
from collections.abc import Callable
from typing import Any

import jax
from absl import logging

from glue_jax import (
  build,
  checkpoint,
  evaluate,
  report,
  saved_model,
  sharding,
  tree,
)
from glue_jax import config as config_lib
from glue_jax.method import Host
from glue_jax.monitor import Monitor
from glue_jax.optim import build as optim
from glue_jax.state import TrainState, resplit, split
from glue_jax.step import Programs, make_step
from glue_jax.writers import Progress, Writer, replace_text


class Interrupted(RuntimeError):
  """The run was told to stop; it has saved and goes on when started again."""


@dataclasses.dataclass(frozen=True)
class Schedule:
  """The config's section `train`.

  Attributes:
    epochs, steps: length of the run; one of them.
    accumulate: micro-batches a step.
    log_every: steps between two lines of metrics.
    eval_every: steps between two evaluations; None = once an epoch; the end
      is always evaluated.
    save_every: steps between two checkpoints; None = with every evaluation.
    keep: how many of the last checkpoints are kept.
    select: 'last' or 'best': which checkpoint the run's result is.
    nonfinite: 'stop' or 'skip'.
    max_programs: warn when more programs than this were compiled.
  """

  epochs: float | None = None
  steps: int | None = None
  accumulate: int = 1
  log_every: int = 20
  eval_every: int | None = None
  save_every: int | None = None
  keep: int = 2
  select: str = 'last'
  nonfinite: str = 'stop'
  max_programs: int = 16

  def __post_init__(self):
    if (self.epochs is None) == (self.steps is None):
      raise ValueError('config.train: give either `epochs` or `steps`')
    for field, values in (
      ('select', ('last', 'best')),
      ('nonfinite', ('stop', 'skip')),
    ):
      if getattr(self, field) not in values:
        raise ValueError(
          f'config.train.{field}={getattr(self, field)!r}: expected {values}'
        )
    for field in ('accumulate', 'log_every', 'keep', 'max_programs'):
      if getattr(self, field) < 1:
        raise ValueError(f'config.train.{field} must be 1 or more')

  def total_steps(self, steps_per_epoch: int) -> int:
    total = self.steps or math.ceil(self.epochs * steps_per_epoch)
    if total < 1:
      raise ValueError(f'config.train asks for {total} steps')
    return total


def train(
  config: Any,
  workdir: str | os.PathLike,
  seed: int,
  *,
  allow_config_change: bool = False,
) -> dict[str, Any]:
  """Trains one seed of one stage, or goes on where it was stopped.

  Args:
    config: completed config without stages.
    workdir: folder of this run; see README, 'What a run leaves'.
    seed: of initialisation, dropout and data order.
    allow_config_change: go on though the config is another than at the start.

  Returns:
    The content of `result.json`.

  Raises:
    ValueError: something in the config doesn't fit; before any training.
    Interrupted: SIGTERM or a preemption notice; everything is saved.
    NonFinite, CheckpointError: see there.
  """
  started = time.time()
  workdir = pathlib.Path(workdir)
  done = workdir / 'done.json'
  keep_config(config, workdir, seed, allow_config_change)
  if done.is_file():
    logging.info('%s is finished already', workdir)
    return json.loads((workdir / 'result.json').read_text())

  # Config, mesh, data, model, params, method.
  schedule = Schedule(**config_lib.bind(Schedule, config.train, 'train'))
  parts = build.build(config, seed, total_steps=schedule.total_steps)
  data, total = parts.bundle.train, parts.total_steps
  if data is None:
    raise ValueError(f'task {parts.bundle.task.name} has no split to train on')
  per_epoch = data.steps_per_epoch

  with sharding.enter(parts.mesh), Signals() as signals:
    # Split, optimizer.
    tx, rate = make_optimizer(config, parts)
    key = jax.random.key(seed)
    host = Host(data, per_epoch, total, initial_state(parts, tx, key))
    host.evaluate = lambda: evaluate_splits(parts, host)[0]

    # Step.
    programs = Programs(
      lambda variant: make_step(
        parts.apply.replace(variant=variant),
        parts.objective,
        parts.method,
        tx,
        accumulate=schedule.accumulate,
        nonfinite=schedule.nonfinite,
      )
    )

    # Restore.
    saved = checkpoint.Checkpoints(workdir / 'checkpoints', schedule.keep)
    best = restore(saved, parts, tx, host)
    start = host.step
    monitor = Monitor(stop=schedule.nonfinite == 'stop')
    writer = Writer(workdir, start if start else None)
    bar = Progress(total, start)
    clock = Clock(started)

    # Loop.
    eval_every = schedule.eval_every or per_epoch
    save_every = schedule.save_every or eval_every
    batches = iter(data.iterate(host.step, total))
    while host.step < total:
      host.epoch = host.step // per_epoch
      if host.step % per_epoch == 0:
        run_hooks(parts, 'before_epoch', host)
      run_hooks(parts, 'before_step', host)
      host.state = relabel(parts, host, tx)
      local = next(batches)
      batch = sharding.put_batch(local, parts.mesh)
      host.state, metrics = programs(host.variant, host.state, batch, key)
      host.step += 1
      monitor.push(host.step, metrics, local['idx'])
      clock.step(data.batch_size)

      ends = host.step == total
      if host.step % schedule.log_every == 0 or ends:
        means = monitor.drain()
        lr = float(rate(host.step - 1))
        named = {f'train/{name}': value for name, value in means.items()}
        writer.scalars(host.step, named | {'lr': lr})
        writer.timings(host.step, {'examples_per_s': clock.rate()})
        bar.update(host.step, means)
      else:
        bar.update(host.step)
      stop = signals.stop or saved.preempted(host.step)
      if host.step % eval_every == 0 or ends:
        monitor.check()
        host.metrics = host.evaluate()
        for split_name, values in host.metrics.items():
          named = {f'{split_name}/{name}': v for name, v in values.items()}
          writer.scalars(host.step, named)
        bar.message(report.metrics_line(host.step, host.metrics))
        run_hooks(parts, 'after_eval', host)
        best = save_best(saved, parts, host, best)
        clock.pause()
      if host.step % save_every == 0 or ends or stop:
        monitor.check()
        saved.save('last', host.step, host.state, notes(host, best))
        clock.pause()
      if stop and not ends:
        writer.close()
        bar.close()
        saved.close()
        raise Interrupted(
          f'stopped at step {host.step} of {total}; saved in {workdir}. Start '
          'the same command again to go on'
        )
    bar.close()
    writer.close()
    if programs.traces > schedule.max_programs:
      logging.warning(
        '%d programs were compiled, more than config.train.max_programs=%d; '
        'use fewer length buckets or variants',
        programs.traces,
        schedule.max_programs,
      )

    # Export.
    if schedule.select == 'best' and best:
      restore_step(saved, 'best', best['step'], parts, tx, host)
    facts = clock.facts() | {
      'programs_compiled': programs.traces,
      'seconds_waiting_for_device': monitor.waited,
      'steps_skipped': monitor.skipped,
      'parameters': tree.size(host.state.all_params()),
      'parameters_trained': tree.size(host.state.params),
    }
    result = export(config, workdir, parts, host, seed, facts)
    saved.close()
  if jax.process_index() == 0:
    replace_text(done, json.dumps({'step': host.step}) + '\n')
  return result


def keep_config(
  config: Any, workdir: pathlib.Path, seed: int, allow_change: bool
) -> None:
  """Writes the config, or compares it with the one the run began with.

  Raises:
    ValueError: it differs and that isn't allowed; the message is the diff.
  """
  path = workdir / 'config.json'
  record = {'config': config_lib.plain(config), 'seed': seed}
  if path.is_file():
    old = json.loads(path.read_text())
    lines = config_lib.changes(old, config_lib.plain(record))
    if lines and not allow_change:
      raise ValueError(
        f'{workdir} was begun with another config (begun -> now):\n  '
        + '\n  '.join(lines)
        + '\ngive another workdir, or --allow_config_change to go on with it'
      )
  if jax.process_index() == 0:
    try:
      workdir.mkdir(parents=True, exist_ok=True)
      replace_text(path, config_lib.dumps(record))
    except OSError as error:
      raise ValueError(f'workdir {workdir} cannot be written: {error}') from (
        error
      )


def make_optimizer(config: Any, parts: build.Parts) -> tuple[Any, Callable]:
  """Returns (transformation, schedule), wrapped by the method."""
  given = ('total_steps', 'names')
  kwargs = config_lib.bind(optim.make, config.optimizer, 'optimizer', *given)
  names = tree.flatten(parts.params)
  tx, rate = optim.make(total_steps=parts.total_steps, names=names, **kwargs)
  wrap = parts.method.wrap_tx
  return (wrap(tx) if wrap else tx), rate


def initial_state(parts: build.Parts, tx: Any, key: jax.Array) -> TrainState:
  """Returns the state before the first step, in place on the mesh."""
  method = parts.method
  labels = method.labels(parts.params, {})
  params, frozen = split(parts.params, labels)
  extras = {}
  if method.init_extra:
    extras = method.init_extra(jax.random.fold_in(key, 1), parts.params)
  others = {}
  if method.init_frozen:
    others = method.init_frozen(jax.random.fold_in(key, 2))
    if 'params' in others:
      raise ValueError(f"{method.name}: init_frozen may not use 'params'")
  state = TrainState(
    step=jax.numpy.zeros((), jax.numpy.int32),
    params=params,
    frozen={'params': frozen} | others,
    opt_state=jax.jit(tx.init)(params),
    extra=extras,
  )
  return sharding.put_state(state, parts.rules, parts.mesh)


def relabel(parts: build.Parts, host: Host, tx: Any) -> TrainState:
  """Moves leaves between learning and frozen if the variant changed."""
  chosen = tuple(sorted(host.variant.items()))
  if chosen == host.labelled:
    return host.state
  host.labelled = chosen
  labels = parts.method.labels(host.state.all_params(), host.variant)
  state = resplit(host.state, labels, tx)
  return sharding.put_state(state, parts.rules, parts.mesh)


def restore(
  saved: checkpoint.Checkpoints, parts: build.Parts, tx: Any, host: Host
) -> dict[str, Any]:
  """Restores the newest whole checkpoint into `host`; returns the best so far."""
  step = saved.newest('last')
  if step is None:
    return {}
  record = restore_step(saved, 'last', step, parts, tx, host)
  logging.info('goes on from step %d', step)
  return record['best']


def restore_step(saved, kind, step, parts, tx, host) -> dict[str, Any]:
  """Restores one checkpoint into `host`; returns its notes."""
  record = saved.host(kind, step)
  host.step, host.epoch = record['step'], record['epoch']
  host.variant = dict(record['variant'])
  host.memory = dict(record['memory'])
  host.metrics = record['metrics']
  if host.train_data is not None:
    host.train_data.restore(record['data'])
  state = relabel(parts, host, tx)
  like = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
  )
  host.state = saved.state(kind, step, like)
  return record


def notes(host: Host, best: dict[str, Any]) -> dict[str, Any]:
  """Returns what a checkpoint holds beside the state."""
  return {
    'step': host.step,
    'epoch': host.epoch,
    'variant': host.variant,
    'memory': host.memory,
    'metrics': host.metrics,
    'data': host.train_data.state(),
    'best': best,
  }


def save_best(saved, parts, host, best) -> dict[str, Any]:
  """Saves the state as `best` if it is; returns the best so far."""
  task = parts.bundle.task
  value = evaluate.primary(task, host.metrics)
  if value is None:
    return best
  sign = 1 if task.direction == 'max' else -1
  if best and sign * value <= sign * best['value']:
    return best
  best = {'step': host.step, 'value': value}
  saved.save('best', host.step, host.state, notes(host, best))
  return best


def predict_fn(parts: build.Parts, state: TrainState, variant: Any) -> Callable:
  """Returns batch -> outputs with the parameters of the state, compiled."""

  def predict(state, batch):
    params = state.all_params()
    if parts.method.reparam:
      params = parts.method.reparam(params, state.step, None)
    apply = parts.apply.replace(
      frozen=state.frozen, extra=state.extra, variant=variant, step=state.step
    )
    return parts.objective.predict(apply, params, batch)

  key = tuple(sorted(variant.items()))
  program = parts.programs.setdefault(key, jax.jit(predict))
  lean = state.replace(opt_state=())
  return lambda batch: program(lean, sharding.put_batch(batch, parts.mesh))


def evaluate_splits(parts: build.Parts, host: Host) -> tuple[dict, dict]:
  """Returns ({split: metrics}, {split: predictions}) of the current state."""
  predict = predict_fn(parts, host.state, host.variant)
  metrics, predictions = {}, {}
  for name, batches in parts.bundle.evals.items():
    task, table = parts.bundle.task, parts.bundle.tables.get(name)
    if table is None or table.labelled:
      metrics[name], found = evaluate.evaluate(predict, batches, task, table)
    else:
      found = evaluate.predict(predict, batches, task, table)
    if found is not None:
      predictions[name] = found
  return metrics, predictions


def run_hooks(parts: build.Parts, moment: str, host: Host) -> None:
  for hook in parts.method.hooks:
    if getattr(hook, moment):
      getattr(hook, moment)(host)


def export(config, workdir, parts, host, seed, facts) -> dict[str, Any]:
  """Evaluates and writes what a finished run leaves; returns the result."""
  metrics, predictions = evaluate_splits(parts, host)
  task = parts.bundle.task
  result = {
    'task': task.name,
    'seed': seed,
    'step': host.step,
    'metrics': metrics,
    'primary': evaluate.primary_record(task, metrics),
  }
  params = exported(parts, host.state)
  report.write_run(config, workdir, task, result, predictions, facts)
  if jax.process_index() == 0:
    parts.bundle.tokenizer.save(workdir / 'model')
    plain, rest = tree.partition(params, lambda name: name in parts.names)
    saved_model.save(
      workdir / 'model', parts.plain.model, plain, tree.flatten(rest)
    )
    replace_text(workdir / 'result.json', json.dumps(result, indent=2) + '\n')
  return result


def exported(parts: build.Parts, state: TrainState) -> tree.Tree:
  """Returns the plain model's tree (merged, ...) on every host."""
  params = state.all_params()
  if parts.method.reparam:
    params = parts.method.reparam(params, state.step, None)
  if parts.method.export:
    params = parts.method.export(params)
  return sharding.gather(params, parts.mesh)


class Clock:
  """Wall time and rates of a run."""

  def __init__(self, started: float):
    self._started = started
    self._first = None
    self._mark = None
    self._examples = self._total = 0
    self._seconds = 0.0

  def step(self, examples: int) -> None:
    """Counts a finished dispatch; the first one (it compiles) isn't timed."""
    now = time.time()
    if self._first is None:
      self._first = now - self._started
    if self._mark is not None:
      self._seconds += now - self._mark
      self._examples += examples
    self._mark = now
    self._total += examples

  def pause(self) -> None:
    """Leaves the time until the next step out of the rate."""
    self._mark = None

  def rate(self) -> float:
    """Returns examples a second while training."""
    return self._examples / self._seconds if self._seconds else 0.0

  def facts(self) -> dict[str, float]:
    return {
      'seconds': time.time() - self._started,
      'seconds_to_first_step': self._first or 0.0,
      'examples_per_s': self.rate(),
    }


class Signals:
  """Notes SIGTERM instead of dying of it; only in the main thread."""

  def __init__(self):
    self.stop = False

  def __enter__(self) -> 'Signals':
    def handle(number, frame):
      del number, frame
      self.stop = True

    try:
      self._old = signal.signal(signal.SIGTERM, handle)
    except ValueError:  # not the main thread: the owner of the process decides
      self._old = None
    return self

  def __exit__(self, *exception) -> None:
    if self._old is not None:
      signal.signal(signal.SIGTERM, self._old)
