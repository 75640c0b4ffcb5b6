"""Reads SentencePiece's own files (spm.model and the like), by hand.

The file is one protobuf message; the numbers of its fields are those of
sentencepiece_model.proto (Kudo and Richardson 2018, arXiv 1808.06226). Only
what decides the pieces of a text is kept.
"""

import dataclasses
import os
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

UNIGRAM, BPE = 1, 2
KINDS = {UNIGRAM: 'unigram', BPE: 'bpe', 3: 'word', 4: 'char'}
CONTROL, USER_DEFINED = 3, 4

# Numbers of fields: of the message, a piece, TrainerSpec and NormalizerSpec.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_TEXT, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _SUFFIX, _BYTE_FALLBACK, _UNK_ID = 3, 24, 35, 40
_CHARSMAP, _DUMMY_PREFIX = 2, 3
_NORMAL = 1


@dataclasses.dataclass(frozen=True)
class Piece:
  """An entry of the vocabulary: its text, log probability and type."""

  text: str
  score: float
  type: int


@dataclasses.dataclass(frozen=True)
class SentencePieceModel:
  """What a file says.

  Attributes:
    pieces: in the order of their ids.
    kind: one of KINDS.
    unk_id: id of the unknown piece.
    byte_fallback: unknown characters become pieces of their UTF-8 bytes.
    whitespace_as_suffix: a blank belongs to the word before it.
    dummy_prefix: a text begins with a blank.
    charsmap: the normaliser's table, as `tokenizers` reads it; b'' for none.
  """

  pieces: tuple[Piece, ...]
  kind: int
  unk_id: int
  byte_fallback: bool
  whitespace_as_suffix: bool
  dummy_prefix: bool
  charsmap: bytes


def read(path: str | os.PathLike) -> SentencePieceModel:
  """Reads a file.

  Raises:
    ValueError: it isn't a SentencePiece model.
  """
  data = pathlib.Path(path).read_bytes()
  try:
    pieces: list[Piece] = []
    trainer: dict[int, Any] | None = None
    normalizer: dict[int, Any] = {}
    for number, value in _fields(data):
      if number == _PIECES:
        pieces.append(_piece(dict(_fields(value))))
      elif number == _TRAINER:
        trainer = dict(_fields(value))
      elif number == _NORMALIZER:
        normalizer = dict(_fields(value))
    if not pieces or trainer is None:
      raise ValueError('no pieces, or cut behind one')
    kind = trainer.get(_MODEL_TYPE, UNIGRAM)
    if kind not in KINDS:
      raise ValueError(f'model_type {kind}')
    charsmap = bytes(normalizer.get(_CHARSMAP, b''))
  except (ValueError, IndexError, TypeError, struct.error) as error:
    raise ValueError(
      f'{path} ({len(data)} bytes) is not a SentencePiece model, or is damaged '
      f'({error}); fetch it again'
    ) from None
  return SentencePieceModel(
    pieces=tuple(pieces),
    kind=kind,
    unk_id=trainer.get(_UNK_ID, 0),
    byte_fallback=bool(trainer.get(_BYTE_FALLBACK, False)),
    whitespace_as_suffix=bool(trainer.get(_SUFFIX, False)),
    dummy_prefix=bool(normalizer.get(_DUMMY_PREFIX, True)),
    charsmap=charsmap,
  )


def _piece(fields: dict) -> Piece:
  text = bytes(fields[_TEXT]).decode('utf-8') if _TEXT in fields else ''
  score = struct.unpack('<f', fields.get(_SCORE, bytes(4)))[0]
  # Nine digits name a float32, and tokenizer.json gives them back exactly.
  return Piece(text, float(f'{score:.9g}'), fields.get(_TYPE, _NORMAL))


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
  """Yields (number, value) of a message: varints as int, the rest as bytes."""
  at = 0
  while at < len(data):
    tag, at = _varint(data, at)
    number, wire = tag >> 3, tag & 7
    if wire == 0:
      value, at = _varint(data, at)
      yield number, value
      continue
    if wire == 2:
      size, at = _varint(data, at)
    elif wire in (1, 5):
      size = 8 if wire == 1 else 4
    else:
      raise ValueError(f'wire type {wire} at byte {at}')
    if at + size > len(data):
      raise ValueError(f'cut at byte {at}')
    yield number, data[at : at + size]
    at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
  value = shift = 0
  while True:
    byte = data[at]
    value |= (byte & 127) << shift
    at, shift = at + 1, shift + 7
    if byte < 128:
      return value, at
    if shift > 63:
      raise ValueError(f'a number without an end at byte {at}')
