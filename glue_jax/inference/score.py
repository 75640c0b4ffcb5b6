"""Scores of a finished run, with the files that belong to them."""

import json
import pathlib
from collections.abc import Sequence

from glue_jax.evaluation import evaluate
from glue_jax.inference import open_run
from glue_jax.reporting import files, plots, tables
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


def score_workdir(
  workdir: str,
  output: pathlib.Path,
  which: str | None = None,
  seed: int | None = None,
  splits: Sequence[str] = (),
  data_dir: str | None = None,
  ranks: Sequence[int] = (),
  stage: str | None = None,
) -> dict:
  """Scores a run, every stage and seed of it unless one is named.

  Args:
    workdir: of the run.
    output: folder to write to; several stages or seeds have folders in it.
    which: checkpoint; None = the one that the config selects.
    seed: of several; None = all.
    splits: to score; () = the task's evaluation splits.
    data_dir: data folder, if not that of the run.
    ranks: of the low-rank update; () = the whole.
    stage: of several; None = all.

  Returns:
    {split: {metric: value}}, of several stages {'<stage>, <split>': ...}; of
    several seeds the values are those of `tables.aggregate`.

  Raises:
    ValueError: no such run, stage or seed, or see `score_ranks`.
  """
  runs = run_folder.list_runs(workdir, stage, seed)
  stages = list(dict.fromkeys(run.stage for run in runs))
  table = {}
  for name in stages:
    seeds = [run for run in runs if run.stage == name]
    every = []
    for one in seeds:
      run = open_run.open_run(
        one.path, which, None, tuple(splits) or None, data_dir
      )
      folder = output / name if len(stages) > 1 else output
      folder = folder / f'seed_{one.seed}' if len(seeds) > 1 else folder
      every.append(score_ranks(run, one.seed, folder, ranks))
    for split in every[0]:
      key = f'{name}, {split}' if len(stages) > 1 else split
      table[key] = every[0][split]
      if len(every) > 1:
        table[key] = tables.aggregate([metrics[split] for metrics in every])
  return table


def score_ranks(
  run: open_run.Run,
  seed: int,
  output: pathlib.Path,
  ranks: Sequence[int] = (),
) -> Scores:
  """Scores one seed, at each rank if there are any, and writes the scores.

  Args:
    run: opened with the splits to score.
    seed: of the run, for the record.
    output: folder to write to; that of a rank is rank_<b> in it.
    ranks: of the low-rank update; () = the whole.

  Returns:
    {split: {metric: value}}, with ranks {'<split>, rank <b>': ...}.

  Raises:
    ValueError: the run has no split to score, or not such a rank.
  """
  if not run.bundle.evals:
    raise ValueError(
      f'task {run.task.name} has no evaluation split; name one with --split'
    )
  if not ranks:
    return score(run, seed, output)
  for rank in ranks:
    run.at_rank(rank)  # raises, before any work
  return {
    f'{split}, rank {rank}': values
    for rank in ranks
    for split, values in score(
      run.at_rank(rank), seed, output / f'rank_{rank}'
    ).items()
  }


def score(run: open_run.Run, seed: int, output: pathlib.Path) -> Scores:
  """Scores a run and writes metrics, predictions and their figures.

  Args:
    run: opened with the splits to score.
    seed: of the run, for the record.
    output: folder to write to.

  Returns:
    {split: {metric: value}}.
  """
  metrics = {}
  for split, batches in run.bundle.evals.items():
    metrics[split], predictions = evaluate.evaluate(
      run.predict_fn, batches, run.task, run.bundle.tables.get(split)
    )
    if predictions is not None:
      predictions.save(output / f'{split}.jsonl')
      if files.is_first_process():
        plots.plot_predictions(predictions, output / f'{split}.png')
  if files.is_first_process():
    content = {'step': run.step, 'seed': seed, 'metrics': metrics}
    if run.rank is not None:
      content['rank'] = run.rank
    text = json.dumps(content, indent=2) + '\n'
    files.replace_text(output / 'metrics.json', text)
  return metrics
