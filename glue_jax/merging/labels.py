"""Heads that are merged are merged label by label, not row by row."""

import re
from typing import Any

from absl import logging

from glue_jax.data import label_names
from glue_jax.merging import stream

# Output layers in Hugging Face files, where labels are rows.
_OUTPUT = r'(classifier(\.out_proj)?|score)\.(weight|bias)'
_WAY_OUT = "let each model keep its head (--exclude='head/', or '.*classifier')"


def matched(
  first: Any, other: Any, weights: stream.Weights, split: bool
) -> tuple[stream.Weights, str]:
  """Puts the rows of a model's head in the order of another's labels.

  Args:
    first: the `Source` whose order counts.
    other: the `Source` of the model.
    weights: its tensors that are merged, in the layout of `first`.
    split: whether each model gets a folder of its own from the merge.

  Returns:
    (the tensors, a note if the rows were taken by position).

  Raises:
    ValueError: heads that tell other labels apart are merged; or the order is
      another, and the merged head would have to suit both folders.
  """
  axes = _axes(first.layout, weights)
  if other is first or not axes:
    return weights, ''
  kinds = [_kind(source) for source in (first, other)]
  if kinds[0] != kinds[1]:
    raise ValueError(
      f'{other.folder} has a head of {kinds[1]}, {first.folder} one of '
      f'{kinds[0]}; {_WAY_OUT}'
    )
  if first.layout == 'native' and kinds[0] not in label_names.KINDS:
    return weights, ''
  ours = first.labels
  if ours is None:
    return weights, _said(f'{first.folder} names no labels; taken by position')
  try:
    match = label_names.match(ours, other.labels, str(other.folder))
  except ValueError as error:
    raise ValueError(f'{error} in {first.folder}; {_WAY_OUT}') from None
  note = _said(match.note)
  if match.permuted and split:
    raise ValueError(
      f'{other.folder} has its labels in another order than {first.folder}, so '
      f'one merged head suits not both; {_WAY_OUT}'
    )
  if not match.permuted:
    return weights, note
  tensors = dict(weights.tensors)
  for name, axis in axes.items():
    tensors[name] = stream.in_order(tensors[name], match.order, axis)
  return stream.Weights(weights.name, weights.where, tensors), note


def _said(note: str) -> str:
  if note:
    logging.warning('%s', note)
  return note


def _axes(layout: str, weights: stream.Weights) -> dict[str, int]:
  """{tensor that has a part for each label: its axis}."""
  native = layout == 'native'
  axes = {
    name: len(tensor.shape) - 1 if native else 0
    for name, tensor in weights.tensors.items()
    if (name in label_names.LEAVES if native else re.fullmatch(_OUTPUT, name))
  }
  return {n: a for n, a in axes.items() if weights.tensors[n].shape[a] > 1}


def _kind(source: Any) -> Any:
  key = 'kind' if source.layout == 'native' else 'architectures'
  return source.config.get(key)
