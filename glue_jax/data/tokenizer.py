"""A tokenizer: texts become token arrays, with the ids that models ask for."""

import functools
import hashlib
import itertools
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers as hf

from glue_jax.data import tokenizer_files
from glue_jax.data.encoded import Encoded

_CHUNK = 4096  # texts encoded at a time: bounds the memory of Encodings


class Tokenizer:
  """A fast tokenizer with the ids that models and objectives ask for.

  Args:
    backend: the `tokenizers` object.
    source: folder that it was read from; its files are copied by `save`.
    tokens: {role: token}; None: the usual ones, of which none may be missing.
    settings: further entries of tokenizer_config.json, where `source` has no
      such file.

  Attributes:
    tokens, ids: {role: token}, {role: id} of those of pad, unk, cls, sep, mask
      and eos that there are; an encoder's tokenizer has the first five.

  Raises:
    ValueError: a usual token is missing.
  """

  def __init__(
    self,
    backend: hf.Tokenizer,
    source: pathlib.Path | None = None,
    tokens: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
  ):
    backend.no_padding()
    backend.no_truncation()
    self.backend = backend
    self.source = source
    self.settings = dict(settings or {})
    usual = tokenizer_files.usual_tokens
    self.tokens = dict(usual(backend) if tokens is None else tokens)
    self.ids = {r: backend.token_to_id(t) for r, t in self.tokens.items()}
    if backend.post_processor is None and {'cls', 'sep'} <= set(self.ids):
      backend.post_processor = hf.processors.BertProcessing(
        (self.tokens['sep'], self.sep_id), (self.tokens['cls'], self.cls_id)
      )
    self.fingerprint = hashlib.sha256(backend.to_str().encode()).hexdigest()

  def _id(self, role: str) -> int:
    if role in self.ids:
      return self.ids[role]
    raise ValueError(
      f'tokenizer {self.source or ""} has no {role} token, which an encoder '
      f"needs; take an encoder's tokenizer, or name the token in "
      f'tokenizer_config.json'
    )

  @property
  def pad_id(self) -> int:
    return self._id('pad')

  @property
  def cls_id(self) -> int:
    return self._id('cls')

  @property
  def sep_id(self) -> int:
    return self._id('sep')

  @property
  def end_id(self) -> int:
    """Id of the token that ends a text.

    Raises:
      ValueError: it has none.
    """
    end = self.ids.get('eos', self.ids.get('sep'))
    if end is None:
      raise ValueError(
        f'tokenizer {self.source or ""} has no token that ends a text; name it '
        f'in tokenizer_config.json (eos_token)'
      )
    return end

  @property
  def unk_id(self) -> int | None:
    return self.ids.get('unk')

  @property
  def mask_id(self) -> int | None:
    return self.ids.get('mask')

  @property
  def vocab_size(self) -> int:
    """Rows that an embedding table needs (1 + the largest id)."""
    return 1 + max(self.vocab.values())

  @functools.cached_property
  def vocab(self) -> dict[str, int]:
    return self.backend.get_vocab(with_added_tokens=True)

  @property
  def special_ids(self) -> tuple[int, ...]:
    """Ids that are never masked or scored."""
    return tuple(sorted(set(self.ids.values())))

  def decode(self, ids: Sequence[int]) -> str:
    """Text of token ids, special tokens left out."""
    return self.backend.decode([int(i) for i in ids])

  def encode(
    self,
    texts: Sequence,
    pairs: Sequence[str] | None = None,
    *,
    max_length: int,
    extras: Sequence[str] = (),
    stride: int | None = None,
  ) -> Encoded:
    """Encodes texts, or pairs of texts, with special tokens.

    Args:
      texts: n texts, or n lists of words (then word_ids are their indices).
      pairs: n second texts.
      max_length: longest sequence; the longer text of a pair is cut first.
      extras: which of offsets, word_ids, sequence_ids, source to give too.
      stride: give every window of the second text, with `stride` tokens
        shared by neighbours, instead of cutting.

    Raises:
      ValueError: max_length leaves no room.
    """
    specials = self.backend.num_special_tokens_to_add(pairs is not None)
    if max_length <= specials:
      raise ValueError(
        f'max_length={max_length} leaves no room beside {specials} special '
        f'tokens'
      )
    whole = stride is not None
    if len(texts) and isinstance(texts[0], list):
      texts = self._spaced(texts)
    self.backend.enable_truncation(
      max_length,
      stride=stride or 0,
      strategy='only_second' if whole else 'longest_first',
    )
    try:
      parts = [
        self._chunk(inputs, start, max_length, extras, whole)
        for start, inputs in _chunks(texts, pairs)
      ]
    finally:
      self.backend.no_truncation()
    return _join(parts, extras)

  def _chunk(self, inputs, start, max_length, extras, whole) -> dict:
    words = bool(inputs) and isinstance(inputs[0], list)
    encodings = self.backend.encode_batch(inputs, is_pretokenized=words)
    kept, source, cut = [], [], 0
    for number, encoding in enumerate(encodings, start):
      full = len(encoding.ids) >= max_length
      windows = encoding.overflowing if full else []
      cut += bool(windows)
      group = [encoding, *windows] if whole else [encoding]
      kept += group
      source += [number] * len(group)
    part = {
      'ids': _flat(e.ids for e in kept),
      'type_ids': _flat(e.type_ids for e in kept),
      'lengths': np.array([len(e.ids) for e in kept], np.int64),
      'truncated': cut,
    }
    for name in extras:
      part[name] = _EXTRAS[name](kept, source)
    return part

  @functools.cached_property
  def _before_word(self) -> str:
    """What stands before a word of a list, so that it is read as in a text.

    Byte-level vocabularies, and some others, have other pieces for a word
    after a blank than for one without; in a list the blank is lost.

    Raises:
      ValueError: neither way gives the pieces of a text.
    """
    letters = [t for t in self.vocab if len(t) == 1 and t.isalpha()]
    letter = min(letters, default='a')
    texts = [
      self.backend.encode(
        blank + f'{letter} {letter}', add_special_tokens=False
      )
      for blank in ('', ' ')
    ]
    for blank in ('', ' '):
      words = self.backend.encode(
        [blank + letter] * 2, is_pretokenized=True, add_special_tokens=False
      )
      if any(words.ids == text.ids for text in texts):
        return blank
    raise ValueError(
      f'tokenizer {self.source or ""} gives lists of words other tokens than '
      f'their text; tagging needs one that does not'
    )

  def _spaced(self, inputs: Sequence[list[str]]) -> Sequence[list[str]]:
    blank = self._before_word
    if not blank:
      return inputs
    added = {
      t.content for t in self.backend.get_added_tokens_decoder().values()
    }
    return [
      [w if w in added or w[:1].isspace() else blank + w for w in words]
      for words in inputs
    ]

  def save(self, folder: str | os.PathLike) -> None:
    """Writes the tokenizer as a Hugging Face folder holds it."""
    tokenizer_files.write(
      folder, self.backend, self.tokens, self.source, self.settings
    )


def _minus_one(value: int | None) -> int:
  return -1 if value is None else value


def _flat(parts: Iterable[Iterable[int]]) -> np.ndarray:
  return np.fromiter(itertools.chain.from_iterable(parts), np.int32)


def _offsets(encodings: list, _source: list) -> np.ndarray:
  pairs = (itertools.chain.from_iterable(e.offsets) for e in encodings)
  return _flat(pairs).reshape(-1, 2)


_EXTRAS = {
  'offsets': _offsets,
  'word_ids': lambda encodings, _: _flat(
    map(_minus_one, e.word_ids) for e in encodings
  ),
  'sequence_ids': lambda encodings, _: _flat(
    map(_minus_one, e.sequence_ids) for e in encodings
  ),
  'source': lambda _, source: np.array(source, np.int64),
}


def _chunks(texts: Sequence, pairs: Sequence[str] | None):
  for start in range(0, len(texts), _CHUNK):
    part = list(texts[start : start + _CHUNK])
    if pairs is not None:
      part = list(zip(part, pairs[start : start + _CHUNK]))
    yield start, part


def _join(parts: list[dict], extras: Sequence[str]) -> Encoded:
  names = ('ids', 'type_ids', 'lengths', *extras)
  joined = {
    name: np.concatenate([part[name] for part in parts])
    if parts
    else np.zeros((0, 2) if name == 'offsets' else 0, np.int32)
    for name in names
  }
  bounds = np.concatenate([[0], np.cumsum(joined.pop('lengths'))])
  truncated = sum(part['truncated'] for part in parts)
  return Encoded(bounds=bounds.astype(np.int64), truncated=truncated, **joined)
