"""A folder's vocabulary files and settings become a backend.

The ids are those of `transformers` (version 5); what a folder asks for beyond
that is refused by name.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers as hf
from tokenizers import processors

from glue_jax.data.tokenizers import sentencepiece
from glue_jax.data.tokenizers.families import ROBERTA, Family
from glue_jax.data.tokenizers.sentencepiece import SentencePieceModel
from glue_jax.data.tokenizers.settings import ROLES, Settings

Options = Mapping[str, Any]
_BESIDE = (sentencepiece.CONTROL, sentencepiece.USER_DEFINED)


def build(
  family: Family, folder: pathlib.Path, settings: Settings
) -> hf.Tokenizer:
  """Builds a family's tokenizer from a folder's vocabulary files.

  Raises:
    ValueError: a file is damaged, or asks for what the family doesn't do.
  """
  paths = [folder / name for name in family.files]
  options = family.values(settings.options, settings.tokens)
  _refuse(folder, settings)
  tokens = [hf.AddedToken(t, special=True) for t in family.extra(options)]
  inputs: tuple = tuple(map(str, paths))
  if family.of_sentencepiece:
    model = sentencepiece.read(paths[0])
    _check(paths[0], model, family, settings.name)
    scored = [(piece.text, piece.score) for piece in model.pieces]
    inputs = (scored, model.unk_id, model.charsmap)
    tokens = [_matched(p) for p in model.pieces if p.type in _BESIDE] + tokens
  try:
    backend = family.build(*inputs, options)
  except Exception as error:  # the library raises nothing narrower
    names = ', '.join(family.files)
    raise ValueError(f'{folder}: {names} cannot be read ({error})') from None
  finish(backend, folder, settings, family, tokens)
  return backend


def _matched(piece: sentencepiece.Piece) -> hf.AddedToken:
  """A control or user-defined piece, as it is matched in texts."""
  special = piece.type == sentencepiece.CONTROL
  return hf.AddedToken(piece.text, normalized=False, special=special)


def finish(
  backend: hf.Tokenizer,
  folder: pathlib.Path,
  settings: Settings,
  family: Family | None,
  further: Sequence[hf.AddedToken] = (),
) -> None:
  """Adds a folder's tokens to a backend, and sets what stands around a text.

  Args:
    family: None where the folder's class isn't known.
    further: special tokens that the settings don't name.

  Raises:
    ValueError: the folder gives a token another id than it gets.
  """
  here = backend.get_added_tokens_decoder().values()
  taken = {token.content for token in here}
  exact = {repr(token) for token in here}
  tokens = []
  for token in (settings.added[i] for i in sorted(settings.added)):
    # The config's own list wins over tokenizer.json, the old file doesn't.
    changed = settings.decoder and repr(token) not in exact
    if changed or token.content not in taken:
      tokens.append(token)
      taken.add(token.content)
  options = family.values(settings.options, settings.tokens) if family else {}
  roles = _of_roles(backend, settings, family, options)
  for token in (*roles, *settings.extra, *further):
    if token.content not in taken:
      tokens.append(token)
      taken.add(token.content)
  backend.add_tokens(tokens)
  for number, token in settings.added.items():
    found = backend.token_to_id(token.content)
    if found != number:
      raise ValueError(
        f'{folder}: added token {token.content!r} has the id {number} in its '
        f'settings, but {found} after the vocabulary; the two do not belong '
        f'together'
      )
  if backend.post_processor is None and family is not None:
    processor = _around(backend, family, options)
    if processor is not None:
      backend.post_processor = processor


def _of_roles(
  backend: hf.Tokenizer,
  settings: Settings,
  family: Family | None,
  options: Options,
) -> list[hf.AddedToken]:
  """Tokens of roles, as they are matched in texts.

  SentencePiece files leave tokens out that their class adds. A vocabulary of
  another kind without its usual tokens is another family's: they aren't added.
  """
  if family is None:
    return []
  added = {token.content: token for token in settings.added.values()}
  tokens = []
  for role in ROLES:
    text = options.get(f'{role}_token')
    lacks = text is None or backend.token_to_id(text) is None
    if text is None or (
      lacks and not family.of_sentencepiece and settings.token(role) is None
    ):
      continue
    own = settings.exact(role) or hf.AddedToken(
      text, lstrip=role in family.lstrip, special=True
    )
    tokens.append(added.get(text, own))
  return tokens


def _around(backend: hf.Tokenizer, family: Family, options: Options) -> Any:
  """What stands around a text; None where a token of it is missing."""
  names = {role: options.get(f'{role}_token') for role in ROLES}
  template = family.template
  if template is None:
    bos, eos = (
      options[f'add_{role}_token'] and names[role] for role in ('bos', 'eos')
    )
    first = ('{bos}:0 ' if bos else '') + '$A:0' + (' {eos}:0' if eos else '')
    then = first.replace('A', 'B').replace(':0', ':1')
    template = (first, f'{first} {then}')
  used = {
    text: backend.token_to_id(text)
    for role, text in names.items()
    if text and f'{{{role}}}' in template[1]
  }
  if any(number is None for number in used.values()):
    return None  # whoever needs the role names it
  if family is ROBERTA:
    sep, cls = names['sep'], names['cls']
    return processors.RobertaProcessing(
      (sep, used[sep]),
      (cls, used[cls]),
      add_prefix_space=bool(options['add_prefix_space']),
    )
  single, pair = (part.format(**names) for part in template)
  return processors.TemplateProcessing(
    single=single, pair=pair, special_tokens=list(used.items())
  )


def _refuse(folder: pathlib.Path, settings: Settings) -> None:
  """Refuses settings of the old Python classes that change the pieces."""
  known = {t.content for t in (*settings.added.values(), *settings.extra)}
  kept = settings.options.get('never_split') or ()
  refused = {
    'never_split': not set(kept) <= known,
    'do_basic_tokenize': settings.options.get('do_basic_tokenize') is False,
    'remove_space': settings.options.get('remove_space') is False,
    'sp_model_kwargs': bool(settings.options.get('sp_model_kwargs')),
  }
  for name in (name for name, wrong in refused.items() if wrong):
    raise ValueError(
      f'{folder}: {name}={settings.options[name]!r} in its tokenizer settings '
      f'is not done here; load it with transformers and save a tokenizer.json'
    )


def _check(
  path: pathlib.Path, model: SentencePieceModel, family: Family, name: str
) -> None:
  """Refuses what a SentencePiece file says and its class would not do."""
  kinds = sentencepiece.KINDS
  unigram = family.kind == sentencepiece.UNIGRAM
  bytes_of = model.byte_fallback and not unigram
  unk_id = model.unk_id if family.unk_id is None else family.unk_id
  for field, found, expected in (
    ('model_type', kinds[model.kind], kinds[family.kind]),
    ('byte_fallback', model.byte_fallback, bytes_of),
    ('treat_whitespace_as_suffix', model.whitespace_as_suffix, False),
    ('add_dummy_prefix', model.dummy_prefix, True),
    ('unk_id', model.unk_id, unk_id),
    ('a normaliser', bool(model.charsmap), bool(model.charsmap and unigram)),
  ):
    if found != expected:
      raise ValueError(
        f'{path} has {field}={found}, but {name} expects {expected}; name the '
        f'class that it was made for as tokenizer_class in '
        f'tokenizer_config.json, or save a tokenizer.json'
      )
