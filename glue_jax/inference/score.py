"""Scores of a finished run, with the files that belong to them."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from glue_jax.evaluation import decisions, evaluate, notes
from glue_jax.inference import open_run
from glue_jax.inference.run import Run, label
from glue_jax.reporting import files, plots, tables
from glue_jax.training import transductive
from glue_jax.weights import run_folder

Scores = dict[str, dict[str, float]]


def parse_ranks(text: str) -> tuple[int, ...]:
  """Returns the ranks of '1..8' or '1,2,4'.

  Raises:
    ValueError: the text is neither, or names no rank.
  """
  first, dots, last = text.partition('..')
  try:
    if dots:
      ranks = tuple(range(int(first), int(last) + 1))
    else:
      ranks = tuple(int(part) for part in text.split(','))
  except ValueError:
    ranks = ()
  if not ranks:
    raise ValueError(f"--ranks={text}: expected '1..8' or '1,2,4'")
  return ranks


def parse_variant(text: str) -> dict[str, Any]:
  """Returns the variant of 'depth=2' or 'depth=2,heads=4'.

  Raises:
    ValueError: the text is none; values are numbers, true, false, null or text.
  """
  variant: dict[str, Any] = {}
  for part in text.split(','):
    name, equals, value = part.strip().partition('=')
    if not (name and equals and value) or name in variant:
      raise ValueError(
        f"--variant={text}: expected 'name=value', with commas between several"
      )
    try:
      variant[name] = json.loads(value)
    except json.JSONDecodeError:
      variant[name] = value
  return variant


def score_workdir(
  workdir: str,
  output: pathlib.Path,
  which: str | None = None,
  seed: int | None = None,
  stage: str | None = None,
  splits: Sequence[str] = (),
  data_dir: str | None = None,
  variants: Sequence[Mapping[str, Any]] = (),
  batch_size: int | None = None,
) -> tuple[dict, dict[str, dict[str, int]]]:
  """Scores a run, every stage and seed of it unless one is named.

  Args:
    workdir: of the run.
    output: folder to write to; several stages have a folder each in it, and
      several seeds one in that.
    which: checkpoint; None = the one that the config selects.
    seed: of several; None = all.
    stage: of several; None = all.
    splits: to score; () = the task's evaluation splits.
    data_dir: data folder, if not that of the run.
    variants: to score; () = that of the training. See `Run.at`.
    batch_size: rows of a batch; None = the run's own.

  Returns:
    {split: {metric: value}}, of several seeds see `tables.aggregate`; of
    several stages `{'<stage>: <split>': ...}`; and the rows, used and given, by
    the same names.

  Raises:
    ValueError: no such run, seed, stage, split or variant.
  """
  stages: dict[str, list[run_folder.RunFolder]] = {}
  for folder in run_folder.list_runs(workdir, stage, seed):
    stages.setdefault(folder.stage, []).append(folder)
  several = len(stages) > 1
  result, rows = {}, {}
  for name, folders in stages.items():
    every = []
    for folder in folders:
      run = open_run.open_run(
        folder.path,
        which,
        splits=tuple(splits) or None,
        data_dir=data_dir,
        batch_size=batch_size,
      )
      home = output / name if several else output
      home = home / f'seed_{folder.seed}' if len(folders) > 1 else home
      own = folder.seed if len(folders) > 1 or seed is not None else None
      every.append(score_variants(run, own, home, variants))
    if len({tuple(metrics) for metrics in every}) > 1:
      raise ValueError(
        f'some seeds of {workdir} have {decisions.FILE} and others not; tune '
        f'all with python -m launch.probe calibrate --workdir={workdir}'
      )
    counts = notes.row_counts(run.bundle.tables)
    for split in every[0]:
      key = f'{name}: {split}' if several else split
      if split.partition(',')[0] in counts:  # '<split>, rank 2'; untuned
        rows[key] = counts[split.partition(',')[0]]
      result[key] = (
        tables.aggregate([metrics[split] for metrics in every])
        if len(every) > 1
        else every[0][split]
      )
  return result, rows


def score_variants(
  run: Run,
  seed: int | None,
  output: pathlib.Path,
  variants: Sequence[Mapping[str, Any]] = (),
) -> Scores:
  """Scores one seed, in each variant if there are any, and writes the scores.

  Args:
    run: opened with the splits to score.
    seed: of several; None for the only one.
    output: folder to write to; that of a variant is `<key>_<value>` in it.
    variants: see `Run.at`; () = that of the training.

  Returns:
    {split: {metric: value}}, with variants `{'<split>, <key> <value>': ...}`.

  Raises:
    ValueError: the run has no split to score, or no such variant.
  """
  if not run.bundle.evals:
    raise ValueError(
      f'task {run.task.name} has no evaluation split; name one with --split'
    )
  if not variants:
    return score(run, seed, output)
  for variant in variants:
    run.at(**variant)  # raises, before any work
  scores = {}
  for variant in variants:
    name = label(variant)
    home = output / name.replace(', ', '_').replace(' ', '_')
    for split, values in score(run.at(**variant), seed, home).items():
      scores[f'{split}, {name}'] = values
  return scores


def score(run: Run, seed: int | None, output: pathlib.Path) -> Scores:
  """Scores a run and writes metrics, predictions and their figures.

  Args:
    run: opened with the splits to score.
    seed: of several, for the record.
    output: folder to write to.

  Returns:
    {split: {metric: value}}; of a run with decisions their scores, and
    `{'<split>, untuned': ...}` without them.
  """
  metrics, predictions, untuned = {}, {}, {}
  for split, batches in run.bundle.evals.items():
    table = run.bundle.tables.get(split)
    metrics[split], found = evaluate.evaluate(
      run.predict_fn, batches, run.task, table
    )
    if run.decisions and found is not None:
      untuned[split] = metrics[split]
      found = decisions.decided(run.decisions, found)
      metrics[split] = evaluate.score(found, table)
    if found is not None:
      predictions[split] = found
      found.save(output / f'{split}.jsonl')
      if files.is_first_process():
        plots.plot_predictions(found, output / f'{split}.png')
  flat = notes.degenerate(predictions)
  seen = transductive.of_run(run)
  if seen:
    flat.append(transductive.NOTE)
  if run.decisions and run.decisions.split in untuned:
    flat.append(run.decisions.optimistic())
  for text in flat:
    logging.warning('%s', text)
  if files.is_first_process():
    content = {
      'step': run.step,
      'seed': seed,
      'metrics': metrics,
      'rows': notes.row_counts(run.bundle.tables),
      'notes': [*run.parts.notes, *flat],
    }
    if run.decisions:
      content['untuned'] = untuned
      content['decisions'] = dataclasses.asdict(run.decisions)
    if seen:
      content[transductive.MARK] = True
    if run.variant:
      content['variant'] = dict(run.variant)
    text = json.dumps(content, indent=2) + '\n'
    files.replace_text(output / 'metrics.json', text)
  plain = {f'{split}, untuned': values for split, values in untuned.items()}
  return metrics | plain
