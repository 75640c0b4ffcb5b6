"""Model soups: averages of checkpoints.

Wortsman et al. 2022, arXiv 2203.05482.
The uniform soup is `average.average`; the greedy one (their recipe 1) takes a
checkpoint in only if the average gets no worse for it. The weighted one favours
those with the better scores; it is this project's reading of the course soups
of Chen et al. 2023 (arXiv 2305.03981), whose ingredients were pre-trained by
other courses from the same start.
"""

import dataclasses
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging

from glue_jax import tree
from glue_jax.data import tokenizer_files, vocabulary
from glue_jax.evaluation import decisions
from glue_jax.inference import open_run
from glue_jax.merging import average, merge, stream, tasks
from glue_jax.merging import sources as sources_lib
from glue_jax.models import model as models_lib
from glue_jax.reporting import files
from glue_jax.training import checkpoint
from glue_jax.weights import run_folder, saved_model


def greedy(
  scores: Sequence[float], evaluate: Callable[[tuple[int, ...]], float]
) -> tuple[tuple[int, ...], float, list[dict]]:
  """Chooses what goes into the soup.

  Args:
    scores: of each checkpoint on held-out data, larger is better.
    evaluate: checkpoints (their numbers) -> score of their average.

  Returns:
    the chosen numbers in the order of their scores; the soup's score; a row
    for each trial: its members, score, and whether it was taken.

  Raises:
    ValueError: there is nothing to choose from.
  """
  if not scores:
    raise ValueError('a soup needs at least one checkpoint')
  # Of equal scores the later checkpoint, which was trained for longer.
  order = sorted(range(len(scores)), key=lambda i: (-scores[i], -i))
  chosen, best = (order[0],), scores[order[0]]
  rows = [{'members': chosen, 'score': best, 'taken': True}]
  for i in order[1:]:
    trial = (*chosen, i)
    score = evaluate(trial)
    rows.append({'members': trial, 'score': score, 'taken': score >= best})
    if score >= best:
      chosen, best = trial, score
  return chosen, best, rows


def weighted(scores: Sequence[float], temperature: float) -> list[float]:
  """Returns each checkpoint's share of the soup: softmax(scores / T).

  Args:
    scores: on held-out data, larger is better.
    temperature: T; the larger, the more equal the shares.
  """
  odds = np.exp((np.asarray(scores, np.float64) - max(scores)) / temperature)
  return (odds / odds.sum()).tolist()


KINDS = ('uniform', 'greedy', 'weighted')


@dataclasses.dataclass(frozen=True)
class Soup:
  """A soup.

  Attributes:
    group: its ingredients.
    members: numbers of those that are in it.
    merged: their average.
    rows: scores, and what they decided, for the table.
    report: metrics of the development rows; None without data.
    shares: the members' weights in a weighted soup; None = equal ones.
  """

  group: sources_lib.Group
  members: tuple[int, ...]
  merged: stream.Weights
  rows: list[dict[str, Any]]
  report: dict[str, float] | None
  shares: list[float] | None = None


def checkpoints(run: str, folder: pathlib.Path) -> list[str]:
  """Writes every kept checkpoint of a run as a model folder.

  That are the last ones, as many as `train.keep` of the run's config says, and
  the best.

  Args:
    run: workdir of one run.
    folder: gets a folder `step_<N>` for each.

  Returns:
    the folders, earliest first.

  Raises:
    ValueError: no run or several, or it has fewer than two checkpoints.
    CheckpointError: one can't be read.
  """
  workdir = run_folder.one(run).path
  saved = checkpoint.Checkpoints(workdir / 'checkpoints', create=False)
  kinds = dict.fromkeys(saved.steps('last'), 'last')
  kinds |= {step: 'best' for step in saved.steps('best') if step not in kinds}
  saved.close()
  if len(kinds) < 2:
    raise ValueError(
      f'{workdir} has {len(kinds)} checkpoint(s); a soup needs two or more: '
      'train with --config.train.keep=N'
    )
  if note := decisions.left_out(workdir / 'model'):
    logging.warning(note)
  folders = []
  for step, kind in sorted(kinds.items()):
    opened = open_run.load_run(workdir, kind, step=step)
    home = folder / f'step_{step}'
    names = models_lib.shapes(opened.model)
    plain, rest = tree.partition(opened.params, names.__contains__)
    with files.whole_folder(home) as part:
      saved_model.save(
        part,
        opened.model,
        plain,
        tree.flatten(rest),
        opened.task.labels,
        vocabulary.digest(opened.tokenizer.vocab),
      )
      for name in tokenizer_files.FILES:
        if (workdir / 'model' / name).is_file():
          shutil.copyfile(workdir / 'model' / name, part / name)
    folders.append(str(home))
  return folders


def make(
  paths: Sequence[str],
  kind: str,
  out: pathlib.Path,
  rows: tasks.Rows,
  data_dir: str | None = None,
  task: str | None = None,
  temperature: float = 0.05,
) -> Soup:
  """Makes a soup of a run's checkpoints, or of several models of one task.

  Heads are averaged too, label by label, in the order of the first model.

  Args:
    paths: one run, or several models.
    kind: 'uniform' takes all, 'greedy' those that don't make it worse on the
      rows held out for selection, 'weighted' all by their scores there.
    out: folder of the result; a run's checkpoints go into its `checkpoints`.
    rows: how many rows of the task are used where scores are.
    data_dir: data folder, if not that of the run.
    task: name of the task, for Hugging Face folders.
    temperature: of a weighted soup, see `weighted`.

  Raises:
    ValueError, FileNotFoundError: see `sources.open_group`, `checkpoints`
      and `tasks.open_task`.
  """
  if kind not in KINDS:
    raise ValueError(f'soup {kind!r}: expected one of {KINDS}')
  if not temperature > 0:
    raise ValueError(f'soup: temperature={temperature}; expected above 0')
  named, first = list(paths), paths[0]
  if len(paths) == 1:
    named = checkpoints(first, out / 'checkpoints')
  group = sources_lib.open_group(None, named, exclude=())
  members = tuple(range(len(named)))
  if kind == 'uniform':
    merged = average.average(group.models)
    return Soup(group, members, merged, [], None)
  judge = tasks.open_task(
    sources_lib.open_source(first, 'judge'), rows, data_dir, task
  )

  def value(numbers):
    mean = average.average([group.models[i] for i in numbers])
    return judge.value(stream.to_arrays(mean), 'select')

  def name(numbers):
    return ' + '.join(group.sources[i].name for i in numbers)

  scores, shares = [value((i,)) for i in members], None
  if kind == 'greedy':
    members, _, ranked = greedy(scores, value)
    trials = [
      {'members': name((i,)), 'score': score, 'taken': '-'}
      for i, score in enumerate(scores)
    ]
    trials += [row | {'members': name(row['members'])} for row in ranked[1:]]
  else:
    shares = weighted(scores, temperature)
    trials = [
      {'members': name((i,)), 'score': score, 'share': share}
      for i, (score, share) in enumerate(zip(scores, shares, strict=True))
    ]
  merged = average.average([group.models[i] for i in members], shares)
  report = judge.score(stream.to_arrays(merged), 'report')
  return Soup(group, members, merged, trials, report, shares)


def write(soup: Soup, out: pathlib.Path, record: dict[str, Any]) -> None:
  """Writes the soup as a model folder with its merge.json."""
  names = [source.name for source in soup.group.sources]
  record = {**record, 'members': [names[i] for i in soup.members]}
  if soup.shares is not None:
    record['shares'] = soup.shares
  if soup.report is not None:
    record['report'] = soup.report
  merge.write(out, soup.group, soup.merged, record)
