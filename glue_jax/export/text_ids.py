"""Tokens that begin and end a text, for who writes texts with an export.

Without them `transformers` doesn't know where a text ends. A decoder's are
those of the folder or GGUF file it was tuned from, if they stand for the
tokens that the run's tokenizer has there, else those of its tokenizer.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from glue_jax.data import vocabulary
from glue_jax.data.readers import gguf
from glue_jax.data.tokenizer import Tokenizer
from glue_jax.data.tokenizers import settings
from glue_jax.reporting import files
from glue_jax.weights import huggingface

GENERATION = 'generation_config.json'
_KEYS = ('bos_token_id', 'eos_token_id')


def of_config(run: Any) -> dict[str, Any]:
  """Returns `bos_token_id` and `eos_token_id` for a decoder's config.json.

  Those of an encoder-decoder are part of its own config.

  Args:
    run: `inference.run.Run`.
  """
  if run.model.shape != 'decoder':
    return {}
  source = _source(run)
  given = huggingface.read_config(source) if source else {}
  if not _same_tokens(given, source, run.tokenizer):
    given = {}
  return _completed(given, run.tokenizer)


def copy_generation(run: Any, folder: str | os.PathLike) -> None:
  """Takes a decoder's generation_config.json over from its source.

  Left out where the source has none, or its ids are those of other tokens.

  Args:
    run: `inference.run.Run`.
    folder: that the file is written to.
  """
  source = _source(run)
  path = pathlib.Path(source or '') / GENERATION
  if run.model.kind != 'causal_lm' or not source or not path.is_file():
    return
  given = settings.load(path)
  if _same_tokens(given, source, run.tokenizer):
    given |= _completed(given, run.tokenizer)
    text = json.dumps(given, indent=2, sort_keys=True) + '\n'
    files.replace_text(pathlib.Path(folder) / GENERATION, text)


def _source(run: Any) -> pathlib.Path | None:
  """The folder, or GGUF file, of the weights that the run began with."""
  weights = run.begun.model.get('weights')
  path = pathlib.Path(weights or '').expanduser()
  if not weights or not path.exists():  # as a name of the hub
    return None
  known = gguf.find(path) or (path / huggingface.CONFIG).is_file()
  return path if known else None


def _same_tokens(
  given: Mapping[str, Any], source: pathlib.Path | None, tokenizer: Tokenizer
) -> bool:
  """Says whether the ids of a source stand for the run's tokens."""
  ids = {i for key in _KEYS for i in _several(given.get(key))}
  if not source or not ids:
    return True
  names = {i: token for token, i in (vocabulary.read(source) or {}).items()}
  return all(tokenizer.vocab.get(names.get(i, '')) == i for i in ids)


def _completed(
  given: Mapping[str, Any], tokenizer: Tokenizer
) -> dict[str, Any]:
  """The ids that are given, with what they lack of the tokenizer's.

  A text that was learnt ends with the tokenizer's token, so that is one of
  the ends.
  """
  found = {key: given[key] for key in _KEYS if given.get(key) is not None}
  for role, key in zip(('bos', 'eos'), _KEYS, strict=True):
    token = tokenizer.tokens.get(role, tokenizer.settings.get(f'{role}_token'))
    own = tokenizer.vocab.get(token) if isinstance(token, str) else None
    if own is not None and key not in found:
      found[key] = own
    elif role == 'eos' and own is not None and own not in _several(found[key]):
      found[key] = [*_several(found[key]), own]
  return found


def _several(ids: Any) -> list[int]:
  """The ids of a key that has one, several or none."""
  if ids is None:
    return []
  return list(ids) if isinstance(ids, list) else [ids]
