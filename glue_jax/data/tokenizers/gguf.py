"""The tokenizer that stands in the metadata of a GGUF file: byte-level BPE.

How a text is cut before the merges has a name there (its key ends in ggml.pre),
whose regular expressions llama.cpp keeps; here they are those of the models'
own tokenizer.json. Only `smollm` was compared on a file of a released model.
"""

import os
from collections.abc import Callable
from typing import Any

import tokenizers as hf
from tokenizers import decoders, normalizers, pre_tokenizers

from glue_jax.data.readers import gguf
from glue_jax.data.tokenizers import backends
from glue_jax.data.tokenizers.settings import Settings

_CONTROL, _USER_DEFINED = 3, 4  # types of tokens
# Role -> its key.
_ROLES = {
  'bos': 'bos',
  'eos': 'eos',
  'unk': 'unknown',
  'sep': 'seperator',  # as the format spells it
  'pad': 'padding',
  'cls': 'cls',
  'mask': 'mask',
}


def _words(blank: bool) -> list:
  return [pre_tokenizers.ByteLevel(add_prefix_space=blank)]


def _digits(blank: bool) -> list:
  return [pre_tokenizers.Digits(individual_digits=True), *_words(blank)]


def _split(pattern: str) -> Callable[[bool], list]:
  return lambda blank: [
    pre_tokenizers.Split(hf.Regex(pattern), behavior='isolated'),
    pre_tokenizers.ByteLevel(add_prefix_space=blank, use_regex=False),
  ]


_CUTS: dict[str, Callable[[bool], list]] = {
  'gpt-2': _words,
  'llama-bpe': _split(backends.QWEN2.replace(r'|\p{N}|', r'|\p{N}{1,3}|')),
  'qwen2': _split(backends.QWEN2),
  'smollm': _digits,
}


def settings(path: str | os.PathLike) -> Settings:
  """Returns what the settings of a folder would say.

  Raises:
    ValueError: another kind of tokenizer, or metadata that is missing.
  """
  file = gguf.read(path)
  kind = file.get('tokenizer.ggml.model')
  if kind != 'gpt2':
    raise ValueError(
      f'{path}: tokenizer.ggml.model={kind!r}; read here is byte-level BPE '
      "('gpt2'); give data.tokenizer the folder of the model's own"
    )
  tokens = file.get('tokenizer.ggml.tokens')
  types = file.metadata.get('tokenizer.ggml.token_type', ())
  options: dict[str, Any] = {
    'add_prefix_space': file.get('tokenizer.ggml.add_space_prefix', False),
    'extra_special_tokens': (),
  }
  for role, key in _ROLES.items():
    number = file.metadata.get(f'tokenizer.ggml.{key}_token_id')
    if number is not None:
      if not 0 <= number < len(tokens):
        raise ValueError(
          f'{path}: the {role} token is number {number} of {len(tokens)}'
        )
      options[f'{role}_token'] = tokens[number]
  for flag in ('add_bos_token', 'add_eos_token'):
    options[flag] = file.get(f'tokenizer.ggml.{flag}', False)
  family = file.metadata.get('general.architecture')
  written = {
    'chat_template': file.metadata.get('tokenizer.chat_template'),
    'model_max_length': file.metadata.get(f'{family}.context_length'),
  }
  added = {
    number: hf.AddedToken(
      tokens[number], special=kind == _CONTROL, normalized=False
    )
    for number, kind in enumerate(types)
    if kind in (_CONTROL, _USER_DEFINED)
  }
  options |= {key: value for key, value in written.items() if value is not None}
  return Settings('GPT2Tokenizer', options, added)


def backend(path: str | os.PathLike) -> hf.Tokenizer:
  """Returns the tokenizer without its special tokens.

  Raises:
    ValueError: a way of cutting texts that isn't known here, or vocabulary and
      merges that don't belong together.
  """
  file = gguf.read(path)
  name = file.get('tokenizer.ggml.pre')
  if name not in _CUTS:
    raise ValueError(
      f'{path}: tokenizer.ggml.pre={name!r} is not known here; there are '
      f'{sorted(_CUTS)}'
    )
  tokens = file.get('tokenizer.ggml.tokens')
  merges = [
    tuple(merge.split(' ')) for merge in file.get('tokenizer.ggml.merges')
  ]
  try:
    model = hf.models.BPE(
      {token: number for number, token in enumerate(tokens)},
      merges,
      ignore_merges=name == 'llama-bpe',
    )
  except Exception as error:  # the library raises nothing narrower
    raise ValueError(f'{path}: its merges cannot be read ({error})') from None
  made = hf.Tokenizer(model)
  blank = file.get('tokenizer.ggml.add_space_prefix', False)
  made.pre_tokenizer = pre_tokenizers.Sequence(_CUTS[name](blank))
  made.decoder = decoders.ByteLevel()
  if name == 'qwen2':
    made.normalizer = normalizers.NFC()
  return made
