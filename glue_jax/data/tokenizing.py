"""Tokenizers: folders, hub names, and WordPiece training.

Folders are read by the `tokenizers` library alone; only a hub name needs
`transformers`, which is slow to import and may use the network.
"""

import collections
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tokenizers as hf

_ROLES = {
  'pad': ('[PAD]', '<pad>'),
  'unk': ('[UNK]', '<unk>'),
  'cls': ('[CLS]', '<s>'),
  'sep': ('[SEP]', '</s>'),
  'mask': ('[MASK]', '<mask>'),
}
_BERT = tuple(names[0] for names in _ROLES.values())
_FILES = (
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
)
_CHUNK = 4096  # texts encoded at a time: bounds the memory of Encodings


@dataclasses.dataclass
class Encoded:
  """Token arrays of n texts or pairs; sequence i is bounds[i]:bounds[i + 1].

  Attributes:
    ids, type_ids: (T,) int32.
    bounds: (n + 1,) int64.
    truncated: how many sequences lost tokens.
    offsets: (T, 2) characters in the token's own text, (0, 0) for special
      tokens; None unless asked for (also the next two).
    word_ids: (T,) word in the token's own text, -1 for special tokens.
    sequence_ids: (T,) 0 first text, 1 second, -1 special.
    source: (n,) which input a sequence is a window of.
  """

  ids: np.ndarray
  type_ids: np.ndarray
  bounds: np.ndarray
  truncated: int
  offsets: np.ndarray | None = None
  word_ids: np.ndarray | None = None
  sequence_ids: np.ndarray | None = None
  source: np.ndarray | None = None

  @property
  def lengths(self) -> np.ndarray:
    return np.diff(self.bounds)


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
    self.tokens = _special_tokens(backend, source)
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
    found, source, cut = [], [], 0
    for number, encoding in enumerate(encodings, start):
      full = len(encoding.ids) >= max_length
      windows = encoding.overflowing if full else []
      cut += bool(windows)
      group = [encoding, *windows] if whole else [encoding]
      found += group
      source += [number] * len(group)
    part = {
      'ids': _flat(e.ids for e in found),
      'type_ids': _flat(e.type_ids for e in found),
      'lengths': np.array([len(e.ids) for e in found], np.int64),
      'truncated': cut,
    }
    for name in extras:
      part[name] = _EXTRAS[name](found, source)
    return part

  def save(self, folder: str | os.PathLike) -> None:
    """Writes the tokenizer as a Hugging Face folder holds it."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if self.source is not None:
      for name in _FILES:
        if (self.source / name).is_file():
          shutil.copyfile(self.source / name, folder / name)
    if not (folder / 'tokenizer.json').exists():
      self.backend.save(str(folder / 'tokenizer.json'))
    names = {f'{role}_token': token for role, token in self.tokens.items()}
    if not (folder / 'tokenizer_config.json').exists():
      config: dict[str, Any] = {
        'tokenizer_class': 'PreTrainedTokenizerFast',
        **names,
      }
      if isinstance(self.backend.model, hf.models.WordPiece):
        lower = getattr(self.backend.normalizer, 'lowercase', True)
        config |= {'tokenizer_class': 'BertTokenizer', 'do_lower_case': lower}
        (folder / 'vocab.txt').write_text(
          ''.join(f'{t}\n' for t in sorted(self.vocab, key=self.vocab.get)),
          encoding='utf-8',
        )
      text = json.dumps(config, indent=2, sort_keys=True)
      (folder / 'tokenizer_config.json').write_text(text + '\n')


def _minus_one(value: int | None) -> int:
  return -1 if value is None else value


def _flat(parts: Iterable[Iterable[int]]) -> np.ndarray:
  return np.fromiter(itertools.chain.from_iterable(parts), np.int32)


def _offsets(found: list, _source: list) -> np.ndarray:
  pairs = (itertools.chain.from_iterable(e.offsets) for e in found)
  return _flat(pairs).reshape(-1, 2)


_EXTRAS = {
  'offsets': _offsets,
  'word_ids': lambda found, _: _flat(
    map(_minus_one, e.word_ids) for e in found
  ),
  'sequence_ids': lambda found, _: _flat(
    map(_minus_one, e.sequence_ids) for e in found
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


def _special_tokens(backend, source) -> dict[str, str]:
  named = {}
  for name in ('special_tokens_map.json', 'tokenizer_config.json'):
    path = source / name if source else None
    if path and path.is_file():
      for role in _ROLES:
        value = json.loads(path.read_text()).get(f'{role}_token')
        text = value.get('content') if isinstance(value, dict) else value
        named[role] = named.get(role) or text
  tokens = {}
  for role, usual in _ROLES.items():
    fitting = (named.get(role), *usual)
    known = [t for t in fitting if t and backend.token_to_id(t) is not None]
    if not known:
      raise ValueError(
        f'tokenizer {source or ""} has no {role} token; expected one of '
        f'{usual} or an entry in tokenizer_config.json'
      )
    tokens[role] = known[0]
  return tokens


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
    return Tokenizer(_from_folder(folder), folder)
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


def _from_folder(folder: pathlib.Path) -> hf.Tokenizer:
  if (folder / 'tokenizer.json').is_file():
    return hf.Tokenizer.from_file(str(folder / 'tokenizer.json'))
  if (folder / 'vocab.txt').is_file():
    words = (folder / 'vocab.txt').read_text(encoding='utf-8').split('\n')
    vocab = {word: i for i, word in enumerate(words) if word}
    config = folder / 'tokenizer_config.json'
    settings = json.loads(config.read_text()) if config.is_file() else {}
    return _wordpiece(vocab, settings.get('do_lower_case', True))
  if (folder / 'merges.txt').is_file():
    backend = hf.Tokenizer(
      hf.models.BPE.from_file(
        str(folder / 'vocab.json'), str(folder / 'merges.txt')
      )
    )
    backend.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = hf.decoders.ByteLevel()
    names = [names[1] for names in _ROLES.values()]
    backend.add_special_tokens(
      [hf.AddedToken(n, lstrip=n == '<mask>', special=True) for n in names]
    )
    sep, cls = (backend.token_to_id(t) for t in ('</s>', '<s>'))
    backend.post_processor = hf.processors.RobertaProcessing(
      ('</s>', sep), ('<s>', cls), add_prefix_space=False
    )
    return backend
  raise ValueError(
    f'{folder} has no tokenizer: expected tokenizer.json, vocab.txt, or '
    f'vocab.json with merges.txt'
  )


def _wordpiece(vocab: dict[str, int], lowercase: bool) -> hf.Tokenizer:
  backend = hf.Tokenizer(hf.models.WordPiece(vocab, unk_token='[UNK]'))
  backend.normalizer = hf.normalizers.BertNormalizer(lowercase=lowercase)
  backend.pre_tokenizer = hf.pre_tokenizers.BertPreTokenizer()
  backend.decoder = hf.decoders.WordPiece()
  present = [token for token in _BERT if token in vocab]
  backend.add_special_tokens(present)
  return backend


def train_wordpiece(
  texts: Iterable[str],
  vocab_size: int,
  folder: str | os.PathLike | None = None,
  lowercase: bool = True,
) -> Tokenizer:
  """Trains WordPiece on texts; equal texts give an equal vocabulary.

  Args:
    texts: lines of text (use readers.texts.read_lines for files).
    vocab_size: most entries; fewer when the texts have no more pieces.
    folder: where to save it.
    lowercase: lower case and strip accents, as the uncased BERT does.
  """
  base = _wordpiece({'[UNK]': 0}, lowercase)
  counts = collections.Counter()
  for text in texts:
    text = base.normalizer.normalize_str(text)
    pieces = base.pre_tokenizer.pre_tokenize_str(text)
    counts.update(word for word, _ in pieces)
  letters = sorted({letter for word in counts for letter in word})
  # The trainer numbers pieces in the order of a hash map; naming every
  # letter beforehand and sorting the rest makes the ids repeatable.
  first = [*_BERT, *letters, *(f'##{letter}' for letter in letters)]
  trainer = hf.trainers.WordPieceTrainer(
    vocab_size=max(vocab_size, len(first)),
    special_tokens=first,
    show_progress=False,
  )
  backend = hf.Tokenizer(hf.models.WordPiece(unk_token='[UNK]'))
  backend.pre_tokenizer = hf.pre_tokenizers.WhitespaceSplit()
  ordered = sorted(counts)
  backend.train_from_iterator(
    (f'{word} ' * counts[word] for word in ordered), trainer
  )
  learnt = sorted(backend.get_vocab(), key=backend.get_vocab().get)
  vocab = {piece: i for i, piece in enumerate(learnt)}
  tokenizer = Tokenizer(_wordpiece(vocab, lowercase))
  if folder is not None:
    tokenizer.save(folder)
  return tokenizer
