"""A run as a Hugging Face folder, with its model card."""

import os
import pathlib
from typing import Any

from glue_jax import tree
from glue_jax.export import model_card, text_ids
from glue_jax.models import model as models
from glue_jax.reporting import files, run_record
from glue_jax.training import transductive
from glue_jax.weights import huggingface

# Ends every refusal of a form that holds only what others know.
WAY_OUT = 'export it with --format=stablehlo, which keeps the whole model'


def save_hf(run: Any, folder: str | os.PathLike, card: str) -> None:
  """Writes a folder that `transformers` loads, with a model card.

  Args:
    run: `inference.run.Run`; its parameters are merged.
    folder: made if needed.
    card: text of README.md.

  Raises:
    ValueError: the model has no such form, or a method left parameters in it
      that could not be merged.
  """
  gap = left_over(run)
  if gap:
    raise ValueError(
      'a method of this run has parameters that are not merged into the model, '
      f'for which Hugging Face has no place; {WAY_OUT} (- missing, + left '
      f'over):\n{gap}'
    )
  labels = run.task.labels or None
  further = text_ids.of_config(run)
  if transductive.of_run(run):
    further[transductive.MARK] = True
  if run.task.kind == 'multilabel':
    further['problem_type'] = 'multi_label_classification'
  try:
    huggingface.save_hf(
      folder,
      run.model,
      run.params,
      run.tokenizer,
      labels,
      further=further,
    )
  except ValueError as error:
    raise ValueError(f'{error}; {WAY_OUT}') from error
  text_ids.copy_generation(run, folder)
  if run.decisions:
    run.decisions.save(pathlib.Path(folder))
  files.replace_text(pathlib.Path(folder) / 'README.md', card)


def card(
  run: Any,
  workdir: str | os.PathLike | None,
  library: str = 'transformers',
) -> str:
  """The model card of a run, with what its folder says of scores and origin.

  Args:
    run: `inference.run.Run`.
    workdir: the run's own folder (that of the seed); None of a model folder
      that was opened, of whose training nothing is known.
    library: what loads the model.
  """
  if workdir is None:
    weights = pathlib.Path(run.config.model['weights']).name
    return model_card.copied(run.task, weights, library)
  workdir = pathlib.Path(workdir)
  contents = {}
  for name in ('config', 'result', 'run'):
    path = workdir / f'{name}.json'
    contents[name] = run_record.read_json(path) if path.is_file() else {}
  config = contents['config'].get('config', {})
  weights = config.get('model', {}).get('weights') or ''
  results = contents['result'].get('metrics', {})
  # A result belongs to the checkpoint and the variant it was measured on.
  if contents['result'].get('step') != run.step or run.variant:
    results = {}
  return model_card.model_card(
    run.task,
    config,
    results,
    record=contents['run'],
    weights=str(weights),
    library=library,
    variant=run.variant,
    commit=contents['run'].get('hub_commits', {}).get(weights, ''),
    decisions=run.decisions.said(run.task) if run.decisions else '',
    seen=transductive.of_run(run),
  )


def left_over(run: Any) -> str:
  """Says where a run's merged parameters depart from its plain model's.

  Args:
    run: `inference.run.Run`.

  Returns:
    A line for each leaf that is missing (-) or left over (+); '' for none.
  """
  return tree.diff(tree.unflatten(models.shapes(run.model)), run.params)
