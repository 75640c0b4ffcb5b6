"""The loop. It knows records of functions only: no method, no model, no task.

Stages, in this order: config, mesh, data, model, params, method, optimizer,
split, step (all in begin.py), restore, loop, export.
"""

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
from absl import logging

from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.data import vocabulary
from glue_jax.devices import sharding
from glue_jax.evaluation import decisions, evaluate, notes
from glue_jax.method import Host
from glue_jax.reporting import live_table, logger, run_record
from glue_jax.reporting.files import replace_text, whole_folder
from glue_jax.reporting.writers import Progress, Writer
from glue_jax.training import (
  begun,
  checkpoint,
  first_state,
  inputs,
  own_hooks,
  session,
  transductive,
)
from glue_jax.training.begin import begin
from glue_jax.training.budget import Budget
from glue_jax.training.monitor import Clock, Monitor, Signals
from glue_jax.training.parts import Parts
from glue_jax.training.profile import Profile, Window
from glue_jax.training.training import Training
from glue_jax.weights import saved_model


class Interrupted(RuntimeError):
  """The run was told to stop; it has saved and goes on when started again."""


def train(
  config: Any,
  workdir: str | os.PathLike,
  seed: int,
  *,
  allow_config_change: bool = False,
  part_of: Sequence[pathlib.Path] = (),
  profile: Window | None = None,
  commits: dict[str, str] | None = None,
) -> dict[str, Any]:
  """Trains one seed of one stage, or goes on where it was stopped.

  Whoever starts it holds the lock of the workdir, see lock.py.

  Args:
    config: completed config without stages.
    workdir: folder of this run; see README, 'What a run leaves'.
    seed: of initialisation, dropout and data order.
    allow_config_change: go on though the config is another than at the start.
    part_of: folders of the runs that have this one as a stage or a seed.
    profile: steps that are traced, see profile.py.
    commits: see `begin.build`.

  Returns:
    The content of `result.json`.

  Raises:
    ValueError: something in the config doesn't fit; before any training.
    Interrupted: SIGTERM, Ctrl-C or a preemption notice; everything is saved.
    NonFinite, CheckpointError: see there.
  """
  started = time.monotonic()
  workdir = pathlib.Path(workdir)
  trained_by = begun.compare(config, workdir, seed, allow_config_change)
  if trained_by.finished:
    logging.info('%s is finished already', workdir)
    return run_record.read_json(workdir / 'result.json')

  # All that stands before the first step.
  hooks = own_hooks.make(config_lib.plain(config.hooks))
  loggers = logger.make(config_lib.plain(config.loggers))
  budget = Budget(workdir, config.train.get('minutes'))
  length, bundle = budget.steps, None
  if budget.open:
    # Own hooks have no part in it: they see the run once.
    trial = begin(config, seed, commits=commits)
    length, bundle = budget.choose(trial), trial.parts.bundle
    del trial  # two of them at a time may be too large
  run = begin(
    config, seed, total=length, hooks=hooks, commits=commits, bundle=bundle
  )
  parts, host, schedule = run.parts, run.host, run.parts.sections.train
  data = parts.train_data()
  for note in inputs.check(workdir, parts.bundle, allow_config_change):
    logging.warning('%s', note)
    parts.notes += (note,)
    trained_by.changes.append('training rows: others')

  with (
    sharding.enter(parts.mesh),
    Signals() as signals,
    contextlib.ExitStack() as opened,
  ):
    # Restore.
    saved = checkpoint.Checkpoints(
      workdir / 'checkpoints',
      schedule.keep,
      begun=host.state,
      origins=parts.origins,
    )
    opened.callback(saved.close)
    kept = session.restore(saved, parts, run.tx, host)
    if parts.method.calibrate and not kept:
      first_state.calibrate(parts, host.state)
      host.state = run.new_host().state
    best, start, total = kept.get('best', {}), host.step, run.end()
    trained_by.goes_on(start, total, host.stop)
    monitor = Monitor(schedule.nonfinite == 'stop', kept.get('monitor', {}))
    told = about(config, workdir, seed, part_of)
    writer = Writer(workdir, start or None, loggers=loggers, about=told)
    opened.enter_context(writer)
    trace = opened.enter_context(Profile(profile, workdir, start))
    bar = Progress(total, start)
    bar.message(beginning(run))
    clock = Clock(started)

    # Loop.
    eval_every = schedule.eval_every
    save_every = schedule.save_every or eval_every
    batches = iter(data.iterate(host.step))
    while host.step < total and not host.stop:
      run.prepare()
      total = run.end()  # hooks give epochs other lengths
      bar.ends(total)
      rows = next(batches)
      with trace.step(host.step + 1):
        metrics = run.step(rows)
      trace.taken(host.step, metrics)
      monitor.push(host.step, metrics, rows['idx'])
      monitor.compiled(run.programs.traces, schedule.max_programs)
      clock.step(data.batch_size)
      if host.step == start + 1:
        monitor.check()
        module, others = parts.plain.model, parts.others
        inputs.write(workdir, parts.bundle, module, others)
        trained_by.write(part_of)
        budget.write()

      due = _due(eval_every, host)
      host.stop |= budget.over(host.step, schedule.log_every, due)
      ends = host.stop or host.step == total
      if host.step % schedule.log_every == 0 or ends:
        means = monitor.drain()
        lrs = {n: float(rate(host.step - 1)) for n, rate in run.rates.items()}
        named = {f'train/{name}': value for name, value in means.items()}
        writer.scalars(host.step, named | lrs)
        writer.timings(host.step, {'examples_per_s': clock.rate()})
        bar.update(host.step, means)
      else:
        bar.update(host.step)
      stop = signals.stop or saved.preempted(host.step)
      if due or ends:
        monitor.check()
        host.metrics = host.evaluate()
        for split_name, values in host.metrics.items():
          named = {f'{split_name}/{name}': v for name, v in values.items()}
          writer.scalars(host.step, named)
        bar.evaluated(host.step, host.metrics)
        run.call('after_eval')
        ends |= host.stop
        best = session.save_best(saved, run.best, host, best, monitor.state())
        clock.pause()
      if _due(save_every, host) or ends or stop:
        monitor.check()
        kept = session.notes(host, best, monitor.state())
        saved.save('last', host.step, host.state, kept)
        budget.write()
        clock.pause()
      if stop and not ends:
        bar.close()
        saved.close()
        raise Interrupted(
          f'stopped at step {host.step} of {total}; saved in {workdir}. Start '
          'the same command again to go on'
        )
    bar.close()

    # Export.
    trained_by.write(part_of)
    if schedule.select == 'best' and best:
      session.restore_step(saved, 'best', best['step'], parts, run.tx, host)
    facts = clock.facts() | {
      'programs_compiled': run.programs.traces,
      'seconds_compiling': round(run.programs.seconds, 2),
      'seconds_waiting_for_device': monitor.waited,
      'steps_skipped': monitor.skipped,
      'parameters': tree.size(host.state.all_params()),
      'parameters_trained': tree.size(host.state.params),
      'parameters_trained_by': parts.trained,
      'adapter': parts.adapter,
      'hub_commits': parts.others['commits'],
      'objective': dict(parts.objective.facts),
    }
    if budget.facts():
      facts['budget'] = budget.facts()
    if 'earlier' in trained_by.content:
      facts['trained_earlier_by'] = trained_by.content['earlier']
    chosen = {}
    if schedule.select == 'best' and best:
      chosen = {'by': run.best.name, 'direction': run.best.direction} | best
    result = export(config, workdir, parts, host, seed, facts, chosen)
    saved.close()
    writer.close(result)
  if jax.process_index() == 0:
    replace_text(workdir / begun.DONE, json.dumps({'step': host.step}) + '\n')
  return result


def _due(every: int | None, host: Host) -> bool:
  """Whether a step is one of every so many; None: the last of its epoch."""
  if every:
    return host.step % every == 0
  return host.train_data.epoch_of(host.step)[1] == host.step


def about(
  config: Any, workdir: pathlib.Path, seed: int, part_of: Sequence[pathlib.Path]
) -> logger.Run:
  """What loggers are told of a run; see `train`."""
  whole = min((workdir, *part_of), key=lambda folder: len(folder.parts))
  name = workdir.absolute().relative_to(whole.absolute().parent).as_posix()
  return logger.Run(workdir, name, config_lib.plain(config), seed)


def beginning(run: Training) -> str:
  """What a run is, in one line: task, sizes, devices."""
  parts, state, data = run.parts, run.host.state, run.parts.train_data()
  devices = parts.mesh.devices
  kind = devices.flat[0].device_kind
  return live_table.beginning(
    parts.bundle.task.name,
    data.num_examples,
    parts.total_steps,
    data.batch_size,
    tree.size(state.params),
    tree.size(state.all_params()),
    f'{devices.size} {kind} device{"s" * (devices.size > 1)}',
  )


def export(
  config: Any,
  workdir: pathlib.Path,
  parts: Parts,
  host: Host,
  seed: int,
  facts: dict[str, Any],
  chosen: dict[str, Any],
) -> dict[str, Any]:
  """Evaluates and writes what a finished run leaves; returns the result.

  Args:
    config: completed.
    workdir, parts, host, seed: of the run.
    facts: for `run.json`.
    chosen: by what and where its checkpoint was chosen; {} if it is the last.
  """
  metrics, predictions = session.evaluate_splits(parts, host)
  task = parts.bundle.task
  flat = notes.degenerate(predictions)  # said with the result
  result = {
    'task': task.name,
    'seed': seed,
    'step': host.step,
    'metrics': metrics,
    'primary': evaluate.primary_record(task, metrics),
    'rows': notes.row_counts(parts.bundle.tables),
    # Of what was predicted, for those who read the predictions later.
    'inputs_sha256': {
      split: parts.bundle.tables[split].inputs
      for split in predictions
      if split in parts.bundle.tables
    },
    'notes': [*parts.notes, *flat],
  } | ({'selected': chosen} if chosen else {})
  result |= transductive.of(parts)
  params = session.exported(parts, host.state, unread=True)
  plain, rest = tree.partition(params, lambda name: name in parts.names)
  unmerged = tree.flatten(rest)
  run_record.write_run(config, workdir, task, result, predictions, facts)
  if jax.process_index() == 0:
    decisions.drop(workdir / 'model', host.step)
    with whole_folder(workdir / 'model') as part:
      parts.bundle.tokenizer.save(part)
      saved_model.save(
        part,
        parts.plain.model,
        plain,
        unmerged,
        task.labels,
        vocabulary.digest(parts.bundle.tokenizer.vocab),
      )
    replace_text(workdir / 'result.json', json.dumps(result, indent=2) + '\n')
  else:
    saved_model.read_along(plain, unmerged)
  return result
