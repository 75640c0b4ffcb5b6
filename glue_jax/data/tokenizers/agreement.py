"""Whether a tokenizer.json does what the settings beside it say."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import tokenizers as hf

from glue_jax.data.tokenizers.families import Family
from glue_jax.data.tokenizers.settings import ROLES, Settings


def check(
  backend: hf.Tokenizer,
  folder: pathlib.Path,
  settings: Settings,
  family: Family,
) -> None:
  """Holds a tokenizer.json to the settings beside it.

  Args:
    family: of the class that the settings name.

  Raises:
    ValueError: they say different things, so one of them isn't meant.
  """
  values = family.values(settings.options, settings.tokens)
  _check_around(backend, folder, settings, family, values)
  found = _done(backend)
  for name, wanted in values.items():
    stated = name in settings.options
    if name == 'strip_accents' and wanted is None:
      wanted = found.get('do_lower_case')
    if name not in found or wanted is None or found[name] == wanted:
      continue
    where = (
      'tokenizer_config.json says'
      if stated
      else f'the default of {settings.name} is'
    )
    raise ValueError(
      f'{folder}: tokenizer.json has {name}={found[name]}, but {where} '
      f'{wanted}; state {name} in tokenizer_config.json as the model was '
      f'trained, or remove tokenizer.json'
    )


def _check_around(
  backend: hf.Tokenizer,
  folder: pathlib.Path,
  settings: Settings,
  family: Family,
  values: Mapping[str, Any],
) -> None:
  """Refuses a token that the settings name and the post-processor lacks.

  One that puts no token around a text leaves it to the model's class.
  """
  found = _around(backend)
  used = {role for role in ROLES if values.get(f'add_{role}_token')}
  if family.template:
    used = {role for role in ROLES if f'{{{role}}}' in family.template[0]}
  for role in sorted(used):
    wanted = settings.token(role)
    if not found or wanted in (None, *found):
      continue
    raise ValueError(
      f'{folder}: tokenizer.json puts {" and ".join(found)} around a text, but '
      f'the settings beside it have {role}_token={wanted!r}; set {role}_token '
      'to the token that the model was trained with, or save a tokenizer.json '
      f'with {wanted!r} in its post_processor'
    )


def _around(backend: hf.Tokenizer) -> list[str]:
  """The tokens that a backend's post-processor puts around one text."""
  if backend.post_processor is None:
    return []
  state = json.loads(backend.post_processor.__getstate__())
  tokens = []
  for node in state.get('processors') or [state]:
    tokens += [node[key][0] for key in ('cls', 'sep') if key in node]
    parts = node.get('single') or []
    tokens += [p['SpecialToken']['id'] for p in parts if 'SpecialToken' in p]
  return list(dict.fromkeys(tokens))


def _done(backend: hf.Tokenizer) -> dict[str, bool]:
  """What a backend does, in the names of the families' settings."""
  parts = [backend.normalizer, backend.pre_tokenizer]
  # A part's pickled state is its JSON, without the vocabulary around it.
  states = [json.loads(p.__getstate__()) for p in parts if p is not None]
  nodes = {node['type']: node for state in states for node in _nodes(state)}
  done = {
    'do_lower_case': 'Lowercase' in nodes,
    'keep_accents': 'StripAccents' not in nodes,
    'split_by_punct': 'Punctuation' in nodes,
  }
  if 'BertNormalizer' in nodes:
    bert = nodes['BertNormalizer']
    lower, strip = bert['lowercase'], bert['strip_accents']
    done['do_lower_case'] = lower
    done['strip_accents'] = lower if strip is None else strip
    done['tokenize_chinese_chars'] = bert['handle_chinese_chars']
  if 'ByteLevel' in nodes:
    done['add_prefix_space'] = nodes['ByteLevel']['add_prefix_space']
  elif 'Metaspace' in nodes:
    done['add_prefix_space'] = nodes['Metaspace']['prepend_scheme'] != 'never'
  return done


def _nodes(state: dict) -> list[dict]:
  """A part of a tokenizer.json or, of a sequence, its own parts."""
  inner = state.get('normalizers') or state.get('pretokenizers')
  if inner is None:
    return [state]
  return [node for part in inner for node in _nodes(part)]
