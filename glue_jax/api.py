"""Train, load, predict: all that most users call, kept stable.

    from glue_jax import api

    result = api.train(config, 'runs/mine')
    model = api.load('runs/mine')
    model.predict(['a fine film', 'a dull one']).labels
    model.predict([('a dog barks', 'an animal is loud')]).probabilities
    model.evaluate('validation')
    model.embed(['a fine film'])
    model.export('mine_hf')

`config` is what a file of `configs/` returns from `get_config()`, or a dict of
the same sections. `tests/api_test.py` holds the signatures: what stands here
changes with a new major version only.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax.data import hub
from glue_jax.data.readers import gguf
from glue_jax.data.tasks.task import Task
from glue_jax.evaluation import decisions, evaluate
from glue_jax.evaluation.predictions import class_names, named
from glue_jax.export import write
from glue_jax.inference import (
  embed,
  given_texts,
  open_folder,
  open_run,
  predict,
)
from glue_jax.inference.run import Run
from glue_jax.training import runs
from glue_jax.weights import run_folder, sentence_folder
from glue_jax.weights.sentence_folder import Sentences

# Kinds whose predictions have a probability for each class.
_SHARES = ('classification', 'multilabel', 'multiple_choice')
# What an encoder reads, whatever its head is for.
_TEXT = Task('text', 'classification', ('text',))


def train(
  config: Mapping[str, Any],
  workdir: str | os.PathLike,
  *,
  allow_config_change: bool = False,
) -> dict[str, Any]:
  """Trains what a config says; goes on where a run in `workdir` was stopped.

  Args:
    config: sections as in `configs/`; its stages and seeds are all run.
    workdir: folder of the run, see README.md.
    allow_config_change: goes on with a run under a changed config.

  Returns:
    What result.json holds: 'metrics' by split, the 'primary' one and more; of
    stages and seeds see `runs.run`.

  Raises:
    ValueError: whatever in the config doesn't fit.
  """
  return runs.run(config, workdir, allow_config_change=allow_config_change)


def load(
  source: str | os.PathLike,
  *,
  stage: str | None = None,
  seed: int | None = None,
  checkpoint: str | None = None,
  batch_size: int | None = None,
) -> 'Model':
  """Loads a model.

  Args:
    source: the workdir of a run, its folder `model/`, or a folder of Hugging
      Face or `sentence-transformers`, or the name of one on the hub, or a GGUF
      file. A model without a head only embeds.
    stage, seed: which of several that the workdir has.
    checkpoint: of a run, 'last' or 'best'; None = what its config selects.
    batch_size: rows of a batch; None = the run's own, or 64.

  Raises:
    ValueError: the folder is none of these, or has several runs to choose from;
      the message lists them.
    FileNotFoundError: a file of the folder is missing.
  """
  path = pathlib.Path(hub.folder(source)).expanduser()
  if not (path.is_dir() or gguf.find(path)):
    raise FileNotFoundError(
      f'{source} is no folder; expected the workdir of a run or a model folder'
    )
  if run_folder.is_workdir(path):
    run = open_run.open_run(
      path, checkpoint, seed, stage=stage, batch_size=batch_size
    )
    return Model(run, Sentences(path), checkpoint)
  if (stage, seed, checkpoint) != (None, None, None):
    raise ValueError(
      f'{source} is no workdir of a run: it has no stage, seed or checkpoint '
      'to choose'
    )
  sentences = sentence_folder.read(path)
  run = open_folder.open_folder(
    sentences.model,
    max_length=sentences.max_length,
    batch_size=64 if batch_size is None else batch_size,
  )
  return Model(run, sentences)


@dataclasses.dataclass(frozen=True)
class Prediction:
  """What a model says of n texts, in their order.

  Attributes:
    labels: (n,) array: names of labels, numbers of a regression, answers of
      questions; of tagging a list of tags a text (None for a word beyond the
      longest length), of several labels a text a list of names.
    probabilities: (n, C) float64, of the classes in `names`; None for numbers,
      answers and tags.
    names: of the C classes.
    notes: what a person should know: blank texts, texts that were cut.
  """

  labels: np.ndarray
  probabilities: np.ndarray | None
  names: tuple[str, ...]
  notes: tuple[str, ...] = ()

  def __len__(self) -> int:
    return len(self.labels)


class Model:
  """A trained model; made by `load`.

  Texts are a list, tuple, generator, array or pandas Series of texts, or one
  text. For a task with two texts each is a tuple of two or a dict with the
  columns' names (or a DataFrame has them as columns); to tag words, a list of
  words. An empty list gives empty arrays, an empty text is predicted as such,
  a text longer than the model takes is cut: `notes` and the log say so.

  Attributes:
    run: what the rest of the package knows of it.
  """

  def __init__(
    self, run: Run, sentences: Sentences, checkpoint: str | None = None
  ):
    self.run = run
    self._checkpoint = checkpoint
    self._sentences = sentences
    self._embed: Callable | None = None

  @property
  def columns(self) -> tuple[str, ...]:
    """Names of the texts that a row of its task has."""
    return self.run.task.columns

  @property
  def labels(self) -> tuple[str, ...]:
    """Names of the labels in the order of the columns of `probabilities`."""
    return self.run.task.labels

  def __repr__(self) -> str:
    kind = self.run.task.kind if self._has_head else 'no head'
    return f'Model({self.run.task.name}, {self.run.model.family}, {kind})'

  def predict(self, texts: Any) -> Prediction:
    """Labels texts, in batches of like length.

    Args:
      texts: see `Model`.

    Raises:
      ValueError: a text is None or no text, with its number from 0; or the
        model has no head.
    """
    if not self._has_head:
      raise ValueError(
        f'{self.run.task.name} is an encoder without a head: it embeds, and '
        'predicts once it is tuned (config.model.weights)'
      )
    run, rows = self._asked(texts)
    names = class_names(run.task)
    if not rows:
      none = np.zeros((0, len(names))) if run.task.kind in _SHARES else None
      return Prediction(_array([], run.task), none, names)
    found = predict.predict_rows(run, rows, 'texts')
    values = [named(value, names) for value in found.values]
    return Prediction(
      _array(values, run.task), found.probabilities, names, found.notes
    )

  def evaluate(
    self, split: str = 'validation', data_dir: str | None = None
  ) -> dict[str, float]:
    """Scores a split of the run's task.

    Args:
      split: one with labels.
      data_dir: data folder, if not that of the run.

    Returns:
      {metric: value}, the task's own one first.

    Raises:
      ValueError: a model folder, which has no task; no such split, or one
        without labels.
    """
    if self.run.workdir is None:
      raise ValueError(
        f'{self.run.task.name} is a model folder, which has no data to score; '
        'load the workdir of a run'
      )
    run = open_run.open_run(
      self.run.workdir,
      self._checkpoint,
      splits=(split,),
      data_dir=data_dir,
      batch_size=self.run.config.data.get('eval_batch_size'),
    )
    batches, table = run.bundle.evals[split], run.bundle.tables.get(split)
    metrics, found = evaluate.evaluate(run.predict_fn, batches, run.task, table)
    if run.decisions and found is not None:
      found = decisions.decided(run.decisions, found)
      metrics = evaluate.score(found, table)
    return metrics

  def embed(self, texts: Any) -> np.ndarray:
    """Vectors of texts: the mean of the last hidden states of their tokens.

    What the folder says for `sentence-transformers` is done instead: another
    pooling, vectors of length 1, texts in lower case.

    Args:
      texts: see `Model`; single texts and pairs, whatever the task has.

    Returns:
      (n, D) float32.

    Raises:
      ValueError: a text is None or no text, with its number from 0.
    """
    if self._embed is None:
      self._embed = embed.embed_fn(self.run, self._sentences.pooling)
    if self.run.task.kind == 'token_classification':
      run, rows = self._asked(texts)
    else:
      run, rows = self._asked(texts, _TEXT)
    if not rows:
      return np.zeros((0, self.run.model.config.hidden_size), np.float32)
    if self._sentences.lower:
      rows = [{c: text.lower() for c, text in row.items()} for row in rows]
    return embed.embed_rows(run, rows, self._embed, self._sentences.normalize)

  def export(self, folder: str | os.PathLike, form: str = 'hf') -> pathlib.Path:
    """Writes the model for other programs, with a model card.

    Args:
      folder: to write.
      form: 'hf', a folder that `transformers` loads, or 'stablehlo', a program
        that jax alone runs.

    Returns:
      The folder.

    Raises:
      ValueError: the model has no such form; the message has a way out.
    """
    write.write(self.run, folder, form)
    return pathlib.Path(folder)

  @property
  def _has_head(self) -> bool:
    return self.run.model.kind != open_folder.HEADLESS

  def _asked(
    self, texts: Any, task: Task | None = None
  ) -> tuple[Run, list[dict[str, Any]]]:
    """(the run with the columns of these texts, the texts as its rows)."""
    texts = given_texts.several(texts)
    # A run's columns are known; a folder says nothing of them.
    fixed = task is None and self.run.workdir is not None
    task = task or self.run.task
    if texts and not fixed:
      task = open_folder.widened(task, given_texts.width(texts[0]))
    words = task.kind == 'token_classification'
    rows = given_texts.rows(texts, task.columns, words)
    bundle = dataclasses.replace(self.run.bundle, task=task)
    return dataclasses.replace(self.run, task=task, bundle=bundle), rows


def _array(values: Sequence[Any], task: Task) -> np.ndarray:
  """(n,) array of what was predicted; lists stay lists."""
  if task.kind == 'regression':
    return np.asarray(values, np.float64)
  array = np.empty(len(values), object)
  array[:] = values
  return array
