"""Reads tokenizers, from folders here or on the hub.

The `tokenizers` library alone reads them. What a folder says is done, or
refused by name.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import tokenizers as hf

from glue_jax.data import hub
from glue_jax.data.readers import gguf
from glue_jax.data.tokenizer import Tokenizer
from glue_jax.data.tokenizer_files import FILES, ROLES, TOKENIZER
from glue_jax.data.tokenizers import agreement
from glue_jax.data.tokenizers import build as build_lib
from glue_jax.data.tokenizers import gguf as of_gguf
from glue_jax.data.tokenizers import settings as settings_lib
from glue_jax.data.tokenizers.families import BERT, FAMILIES, ROBERTA, Family
from glue_jax.data.tokenizers.settings import Settings


def get_tokenizer(path_or_name: str | os.PathLike) -> Tokenizer:
  """Reads the tokenizer of a folder, or of a name of the hub.

  Args:
    path_or_name: folder with tokenizer.json, or the vocabulary files of a
      class that is built here (tokenizers/families.py); the workdir of a run,
      which has one in its folder model/; a GGUF file; or a name of the hub, see
      hub.py.

  Raises:
    FileNotFoundError: no such folder, nor a name that the hub gives.
    ValueError: the folder has no tokenizer files, or asks for what isn't done
      here.
  """
  folder = pathlib.Path(hub.folder(path_or_name, weights=False))
  if not (folder.is_dir() or gguf.find(folder)):
    raise FileNotFoundError(
      f'tokenizer {str(path_or_name)!r} is no folder; expected one with '
      f'{TOKENIZER} or vocab.txt, or a name of the hub'
    )
  inner = folder / 'model'
  folder = inner if (inner / TOKENIZER).is_file() else folder
  return read(folder)


def read(folder: pathlib.Path) -> Tokenizer:
  """Reads tokenizer.json, or builds what the class of the folder describes.

  Args:
    folder: a folder, or a GGUF file.

  Raises:
    ValueError: the folder has no tokenizer, or one that isn't done here.
  """
  settings = read_settings(folder)
  family = _family(folder, settings)
  options: Mapping[str, Any] = {}
  file = gguf.find(folder)
  if file:
    backend, options = of_gguf.backend(file), settings.options
    build_lib.finish(backend, file, settings, family)
  elif (folder / TOKENIZER).is_file():
    backend = _from_json(folder, settings, family)
  elif family is None:
    raise ValueError(_unknown(folder, settings))
  else:
    lacking = [n for n in family.files if not (folder / n).is_file()]
    if lacking:
      raise ValueError(
        f'{folder}: {settings.name} is read from tokenizer.json or '
        f'{" with ".join(family.files)}; there are {_present(folder)}; give '
        'data.tokenizer another folder, or a name of the hub'
      )
    backend = build_lib.build(family, folder, settings)
  roles = _roles(backend, folder, settings, family)
  return Tokenizer(backend, folder, roles, options)


def read_settings(folder: pathlib.Path) -> Settings:
  """Returns what a folder or a GGUF file says of its tokenizer.

  Raises:
    ValueError: see `settings.read`, and `settings` of tokenizers/gguf.py.
  """
  file = gguf.find(folder)
  return of_gguf.settings(file) if file else settings_lib.read(folder)


def _from_json(
  folder: pathlib.Path, settings: Settings, family: Family | None
) -> hf.Tokenizer:
  path = folder / TOKENIZER
  try:
    backend = hf.Tokenizer.from_file(str(path))
  except Exception as error:  # the library raises nothing narrower
    raise ValueError(f'{path} cannot be read ({error})') from None
  if family is not None:
    agreement.check(backend, folder, settings, family)
  build_lib.finish(backend, folder, settings, family)
  return backend


def _family(folder: pathlib.Path, settings: Settings) -> Family | None:
  """The family of a folder: as named, or what its files are usually."""
  if settings.name or (folder / TOKENIZER).is_file():
    return FAMILIES.get(settings.name)
  for family in (BERT, ROBERTA):
    if all((folder / name).is_file() for name in family.files):
      return family
  return None


def _present(folder: pathlib.Path) -> list[str]:
  return [name for name in FILES if (folder / name).is_file()]


def _unknown(folder: pathlib.Path, settings: Settings) -> str:
  if settings.name:
    return (
      f'{folder}: tokenizer_class={settings.name} is not built here from '
      f'{_present(folder)}; load it with transformers and save a '
      f'tokenizer.json'
    )
  pieces = [n for n in _present(folder) if n.endswith('.model')]
  if pieces:
    fitting = [n for n, f in FAMILIES.items() if f.files == (pieces[0],)]
    return (
      f'{folder} has {pieces[0]} but names no tokenizer_class in '
      f'tokenizer_config.json; write the one it was made for, of '
      f'{fitting}'
    )
  return (
    f'{folder} has no tokenizer: expected tokenizer.json, vocab.txt, '
    f'vocab.json with merges.txt, or a SentencePiece file'
  )


def _roles(
  backend: hf.Tokenizer,
  folder: pathlib.Path,
  settings: Settings,
  family: Family | None,
) -> dict[str, str]:
  """Returns {role: token}: as folder or class name them, else the usual ones.

  A decoder has no [CLS], [SEP] and [MASK]; one without a token to pad with pads
  with the end of a text.

  Raises:
    ValueError: the vocabulary of an encoder has no token for a role.
  """
  options = family.values(settings.options, settings.tokens) if family else {}
  tokens = {}
  for role, names in (*ROLES.items(), ('eos', ())):
    usual = names if family is None or family.encoder else ()
    named = (settings.token(role), options.get(f'{role}_token'))
    known = [
      token
      for token in (*named, *usual)
      if token and backend.token_to_id(token) is not None
    ]
    if known:
      tokens[role] = known[0]
    elif family is not None and family.encoder and names:
      raise ValueError(
        f'tokenizer {folder} has no {role} token; expected one of '
        f'{usual} or an entry in tokenizer_config.json'
      )
  if 'eos' in tokens:
    tokens.setdefault('pad', tokens['eos'])
  return tokens
