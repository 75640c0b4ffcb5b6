"""The tokens of a corpus that a model is unsure of, found once and kept.

A file (.npz) that `launch.probe score-tokens` writes and `data.hard_tokens`
names: for every row of the training split the places of its hard tokens, the
hardest first, two bytes each; and the hashes of the rows and of the model that
scored them. So rows that were cut otherwise are refused here, another model
where a run begins (objectives/self_evolution.py).

In a batch, `hard` (B, L) has a token's rank in its row: 1 for the hardest, 0
for one that isn't hard.
"""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax.data.examples import Examples
from glue_jax.devices import sharding
from glue_jax.reporting import files

COLUMN = 'hard'
_MOST = np.iinfo(np.uint16).max


def write(
  path: str | os.PathLike,
  examples: Examples,
  places: Sequence[np.ndarray],
  model: str,
) -> None:
  """Writes a file.

  Args:
    path: .npz.
    examples: the training rows.
    places: of each row, its hard tokens' places, the hardest first.
    model: hash of the model that found them, see `digest`.

  Raises:
    ValueError: no row has a hard token.
  """
  counts = [len(row) for row in places]
  if not sum(counts):
    raise ValueError(
      f'no token of {len(counts)} rows is hard, so there is nothing to go on '
      'with; lower the threshold'
    )
  with files.whole(path) as part, part.open('wb') as file:
    np.savez(
      file,
      places=np.concatenate(places).astype(np.uint16),
      bounds=np.cumsum([0, *counts]),
      corpus=np.array(examples.fingerprint()),
      model=np.array(model),
    )


def read(path: str | os.PathLike, examples: Examples) -> Examples:
  """Returns the rows with the column `hard`.

  Args:
    path: of `write`; '' = none, and the rows stay as they are.
    examples: the training rows.

  Raises:
    ValueError: no such file, or one of other rows.
  """
  if not path:
    return examples
  try:
    with np.load(path, allow_pickle=False) as file:
      places, bounds = file['places'], file['bounds']
      corpus, model = (str(file[name]) for name in ('corpus', 'model'))
  except (OSError, ValueError, KeyError) as error:
    raise ValueError(
      f'config.data.hard_tokens={str(path)!r} cannot be read ({error}); '
      'expected a file of launch.probe score-tokens'
    ) from error
  ours = examples.fingerprint()
  if corpus != ours:
    raise ValueError(
      f'config.data.hard_tokens={str(path)!r} is of other rows (hash '
      f'{corpus[:12]}..., these {ours[:12]}...); the texts, the tokenizer, '
      'max_length and train_limit must be those that were scored: run '
      'launch.probe score-tokens on this config'
    )
  rank = np.arange(len(places)) - np.repeat(bounds[:-1], np.diff(bounds)) + 1
  starts = np.repeat(examples.bounds[:-1], np.diff(bounds))
  column = np.zeros(len(examples.ids), np.int32)
  column[starts + places] = rank
  columns = {**examples.token_columns, COLUMN: column}
  return dataclasses.replace(examples, token_columns=columns, scored_by=model)


def check_length(longest: int) -> None:
  """Refuses rows whose places don't fit two bytes.

  Raises:
    ValueError: a row is longer.
  """
  if longest > _MOST:
    raise ValueError(
      f'a row has {longest} tokens; hard tokens are kept of rows of up to '
      f'{_MOST}: lower data.max_length'
    )


def digest(leaves: Mapping[str, Any]) -> str:
  """Returns a hash of names and values of a model's leaves.

  Args:
    leaves: {name: array}; one at a time is on the host.
  """
  hasher = hashlib.sha256()
  for name in sorted(leaves):
    value = np.ascontiguousarray(sharding.whole(leaves[name]))
    hasher.update(f'{name} {value.dtype} {value.shape}\n'.encode())
    hasher.update(value.tobytes())
  return hasher.hexdigest()
