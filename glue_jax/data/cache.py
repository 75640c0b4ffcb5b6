"""Tokenised examples on disk: one file a split, without pickles.

A file's name is a hash of all that its contents depend on. So a changed text,
tokenizer or setting makes a new file, and old ones may be deleted at any time.
"""

import dataclasses
import hashlib
import json
import logging
import os
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from glue_jax.data.examples import COLUMNS, Examples
from glue_jax.reporting import files


def cached(
  make: Callable[[], Examples],
  key: object,
  cache_dir: str | os.PathLike | None,
) -> Examples:
  """`make()`, kept in a file of cache_dir under a hash of `key`.

  Without a folder (None or '') nothing is kept.

  A file that cannot be read is written anew, and one that cannot be written
  (a full disk, a folder of others) is done without, both with a warning.
  """
  if not cache_dir:
    return make()
  name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
  path = pathlib.Path(cache_dir).expanduser() / f'{name}.npz'
  if os.path.exists(path):  # False also where the folder may not be read
    try:
      return _read(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
      logging.warning('%s: damaged cache (%s); writing it anew', path, e)
  examples = make()
  try:
    _write(path, examples)
  except OSError as e:
    logging.warning('%s: not kept (%s); goes on without the cache', path, e)
  return examples


def _write(path: pathlib.Path, examples: Examples) -> None:
  arrays, plain = {}, {}
  for field in dataclasses.fields(Examples):
    value = getattr(examples, field.name)
    if field.name in COLUMNS:
      arrays |= {f'{field.name}/{name}': x for name, x in value.items()}
    else:
      (arrays if isinstance(value, np.ndarray) else plain)[field.name] = value
  text = np.frombuffer(json.dumps(plain).encode(), np.uint8)
  with files.whole(path) as part, part.open('wb') as file:
    np.savez(file, plain=text, **arrays)


def _read(path: pathlib.Path) -> Examples:
  with np.load(path, allow_pickle=False) as file:
    arrays = {name: file[name] for name in file.files}
  plain = json.loads(arrays.pop('plain').tobytes())
  fields: dict[str, Any] = {}
  for name, array in arrays.items():
    field, _, column = name.partition('/')
    if column:
      fields.setdefault(field, {})[column] = array
    else:
      fields[field] = array
  return Examples(**plain, **fields)
