"""Merging models: methods with their settings, and writing the result.

The maths is in glue_jax/merging/, opening and checking in merging/sources.py.
Tensors that each model keeps (its head) go unchanged into a folder of its own.
"""

import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from glue_jax.data import tokenizer_files
from glue_jax.evaluation import decisions
from glue_jax.merging import average, dare, fisher, regmean, stream, ties
from glue_jax.merging.settings import NEED_BASE, Settings
from glue_jax.merging.sources import Group
from glue_jax.reporting import files
from glue_jax.training import transductive
from glue_jax.weights import huggingface_tensors, saved_model

BODY, RECORD = 'body.safetensors', 'merge.json'


def combine(
  settings: Settings,
  base: stream.Weights | None,
  models: Sequence[stream.Weights],
  statistics: Sequence[Mapping[str, np.ndarray]] | None = None,
  transpose: bool = False,
) -> stream.Weights:
  """Merges models that have been dropped already, see `drop`.

  Args:
    settings: the method and its hyper-parameters.
    base: pre-trained; needed by NEED_BASE.
    models: with the names of the base.
    statistics: of each model: Fisher information, or RegMean's Gram matrices;
      needed by NEED_DATA.
    transpose: kernels are stored (d_out, d_in).
  """
  method = settings.method
  if base is None and method in NEED_BASE:
    raise ValueError(f'{method} needs --base, the model before fine-tuning')
  if method == 'average':
    return average.average(models)
  if method == 'task_arithmetic':
    return average.task_arithmetic(base, models, settings.scale)
  if method == 'ties':
    return ties.ties(base, models, settings.mask_rate, settings.scale)
  if method == 'fisher':
    return fisher.fisher_merge(
      models, statistics, settings.coefficients, settings.normalize
    )
  return regmean.regmean(models, statistics, settings.alpha, transpose)


def drop(
  settings: Settings,
  base: stream.Weights | None,
  models: Sequence[stream.Weights],
) -> list[stream.Weights]:
  """Returns the models with what `settings.drop` leaves of their deltas."""
  if settings.drop is None:
    return list(models)
  if base is None:
    raise ValueError('--dare needs --base: deltas are differences to it')
  return [dare.sparsified(model, base, settings.drop) for model in models]


def write(
  out: str | os.PathLike, group: Group, merged: stream.Weights, record: Mapping
) -> list[pathlib.Path]:
  """Writes the merged model whole: what is read lies elsewhere until then.

  Args:
    out: folder. If each model keeps tensors: `body.safetensors`, and a folder
      for each model, with the merged tensors and its own. Else the folder is
      the one merged model.
    group: what was merged.
    merged: the merged tensors.
    record: what is written into merge.json, with the group's notes.

  Returns:
    the model folders.

  Raises:
    ValueError: `out` is the folder of a source.
    OSError: it can't be written; nothing is there then.
  """
  out = pathlib.Path(out)
  folders = [out / s.name for s in group.sources] if group.split else [out]
  taken = {s.folder.resolve() for s in group.sources}
  for folder in folders:
    if folder.resolve() in taken:
      raise ValueError(
        f'{folder} is a model that is merged; choose another out'
      )
  tensors = merged.tensors
  with files.whole_folder(out) as part:
    if group.split:
      stream.write(part / BODY, tensors)
      tensors = stream.open_files([part / BODY])
    for folder, source in zip(folders, group.sources, strict=False):
      stored = source.weights.tensors.items()
      own = {n: t for n, t in stored if n not in tensors}
      place = part / folder.relative_to(out)
      _write_model(place, source, {**tensors, **own})
    lost = [decisions.left_out(source.folder) for source in group.sources]
    notes = [*group.notes, *filter(None, lost)]
    record = {**record, 'notes': notes}
    if any(transductive.marked(source.folder) for source in group.sources):
      record[transductive.MARK] = True
    text = json.dumps(record, indent=2) + '\n'
    files.replace_text(part / RECORD, text)
    for folder in folders:
      decisions.drop(folder)
  for note in filter(None, lost):
    logging.warning(note)
  return folders


def _write_model(folder, source, tensors) -> None:
  hf = source.layout == 'hf'
  file = huggingface_tensors.WEIGHTS if hf else saved_model.PARAMS
  named = {source.files[n]: t for n, t in tensors.items()}
  stream.write(folder / file, named, {'format': 'pt'} if hf else None)
  config = 'config.json' if hf else saved_model.MODEL
  for name in (*tokenizer_files.FILES, 'generation_config.json', config):
    if (source.folder / name).is_file():
      shutil.copyfile(source.folder / name, folder / name)
