"""Tokenizers: texts become token arrays.

Folders are read by the `tokenizers` library alone; only a hub name needs
`transformers`, which is slow to import and may use the network.
"""

import functools
import hashlib
import itertools
import os
import pathlib
from collections.abc import Iterable, Sequence

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

  Raises:
    ValueError: a special token is missing.
  """

  def __init__(self, backend: hf.Tokenizer, source: pathlib.Path | None = None):
    backend.no_padding()
    backend.no_truncation()
    self.backend = backend
    self.source = source
    self.tokens = tokenizer_files.special_tokens(backend, source)
    ids = {r: backend.token_to_id(t) for r, t in self.tokens.items()}
    self.pad_id, self.unk_id = ids['pad'], ids['unk']
    self.cls_id, self.sep_id = ids['cls'], ids['sep']
    self.mask_id = ids['mask']
    if backend.post_processor is None:
      backend.post_processor = hf.processors.BertProcessing(
        (self.tokens['sep'], self.sep_id), (self.tokens['cls'], self.cls_id)
      )
    self.fingerprint = hashlib.sha256(backend.to_str().encode()).hexdigest()

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
    ids = (self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id)
    return tuple(sorted(set(ids)))

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

  def save(self, folder: str | os.PathLike) -> None:
    """Writes the tokenizer as a Hugging Face folder holds it."""
    tokenizer_files.write(folder, self.backend, self.tokens, self.source)


def get_tokenizer(path_or_name: str | os.PathLike) -> Tokenizer:
  """Reads a tokenizer folder, or asks `transformers` for a hub name.

  Args:
    path_or_name: folder with tokenizer.json, or vocab.txt (WordPiece), or
      vocab.json and merges.txt (byte-level BPE); the workdir of a run, which
      has one in its folder model/; or a name on the hub.

  Raises:
    FileNotFoundError: neither a folder nor a name the hub gives.
    ValueError: the folder has no tokenizer files.
  """
  folder = pathlib.Path(path_or_name).expanduser()
  if folder.is_dir():
    inner = folder / 'model'
    folder = inner if (inner / 'tokenizer.json').is_file() else folder
    return Tokenizer(tokenizer_files.read(folder), folder)
  try:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(str(path_or_name))
  except (OSError, ValueError, ImportError) as error:
    raise FileNotFoundError(
      f'tokenizer {str(path_or_name)!r} is not a folder here and the hub did '
      f'not give it ({str(error).splitlines()[0]}); expected a folder with '
      f'tokenizer.json or vocab.txt'
    ) from error
  return Tokenizer(tokenizer.backend_tokenizer)


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
