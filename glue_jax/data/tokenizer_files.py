"""The files of a tokenizer: a Hugging Face folder becomes a backend, and back.

Read are tokenizer.json, or vocab.txt (WordPiece), or vocab.json and merges.txt
(byte-level BPE). Another kind of vocabulary is one more case of `read`.
"""

import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import tokenizers as hf

TOKENIZER, SETTINGS = 'tokenizer.json', 'tokenizer_config.json'
VOCABULARY = 'vocab.txt'
FILES = (
  TOKENIZER,
  SETTINGS,
  'special_tokens_map.json',
  'added_tokens.json',
  VOCABULARY,
  'vocab.json',
  'merges.txt',
  'spiece.model',
)
ROLES = {
  'pad': ('[PAD]', '<pad>'),
  'unk': ('[UNK]', '<unk>'),
  'cls': ('[CLS]', '<s>'),
  'sep': ('[SEP]', '</s>'),
  'mask': ('[MASK]', '<mask>'),
}
BERT = tuple(names[0] for names in ROLES.values())


def read(folder: pathlib.Path) -> hf.Tokenizer:
  """Reads tokenizer.json, or builds what vocab.txt or merges.txt describe.

  Raises:
    ValueError: the folder has none of them.
  """
  if (folder / TOKENIZER).is_file():
    return hf.Tokenizer.from_file(str(folder / TOKENIZER))
  if (folder / VOCABULARY).is_file():
    words = (folder / VOCABULARY).read_text(encoding='utf-8').split('\n')
    vocab = {word: i for i, word in enumerate(words) if word}
    config = folder / SETTINGS
    settings = json.loads(config.read_text()) if config.is_file() else {}
    return wordpiece(vocab, settings.get('do_lower_case', True))
  if (folder / 'merges.txt').is_file():
    backend = hf.Tokenizer(
      hf.models.BPE.from_file(
        str(folder / 'vocab.json'), str(folder / 'merges.txt')
      )
    )
    backend.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = hf.decoders.ByteLevel()
    names = [names[1] for names in ROLES.values()]
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


def write(
  folder: str | os.PathLike,
  backend: hf.Tokenizer,
  tokens: Mapping[str, str],
  source: pathlib.Path | None,
) -> None:
  """Writes a tokenizer as a Hugging Face folder holds it.

  Args:
    folder: made if missing.
    backend: what is written.
    tokens: {role: token}, see `special_tokens`.
    source: folder that it was read from, whose files are copied.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  for name in FILES if source is not None else ():
    if (source / name).is_file():
      shutil.copyfile(source / name, folder / name)
  if not (folder / TOKENIZER).exists():
    backend.save(str(folder / TOKENIZER))
  if (folder / SETTINGS).exists():
    return
  settings: dict[str, Any] = {'tokenizer_class': 'PreTrainedTokenizerFast'}
  settings |= {f'{role}_token': token for role, token in tokens.items()}
  if isinstance(backend.model, hf.models.WordPiece):
    lower = getattr(backend.normalizer, 'lowercase', True)
    settings |= {'tokenizer_class': 'BertTokenizer', 'do_lower_case': lower}
    vocab = backend.get_vocab(with_added_tokens=True)
    lines = (f'{piece}\n' for piece in sorted(vocab, key=vocab.get))
    (folder / VOCABULARY).write_text(''.join(lines), encoding='utf-8')
  text = json.dumps(settings, indent=2, sort_keys=True)
  (folder / SETTINGS).write_text(text + '\n', encoding='utf-8')


def special_tokens(
  backend: hf.Tokenizer, source: pathlib.Path | None
) -> dict[str, str]:
  """Returns {role: token}: as the folder names them, else the usual ones.

  Raises:
    ValueError: the vocabulary has no token for a role.
  """
  named = {}
  for name in ('special_tokens_map.json', SETTINGS):
    path = source / name if source else None
    if path and path.is_file():
      for role in ROLES:
        value = json.loads(path.read_text()).get(f'{role}_token')
        text = value.get('content') if isinstance(value, dict) else value
        named[role] = named.get(role) or text
  tokens = {}
  for role, usual in ROLES.items():
    fitting = (named.get(role), *usual)
    known = [t for t in fitting if t and backend.token_to_id(t) is not None]
    if not known:
      raise ValueError(
        f'tokenizer {source or ""} has no {role} token; expected one of '
        f'{usual} or an entry in tokenizer_config.json'
      )
    tokens[role] = known[0]
  return tokens


def wordpiece(vocab: dict[str, int], lowercase: bool) -> hf.Tokenizer:
  """Returns BERT's tokenizer of a vocabulary {piece: id}."""
  backend = hf.Tokenizer(hf.models.WordPiece(vocab, unk_token='[UNK]'))
  backend.normalizer = hf.normalizers.BertNormalizer(lowercase=lowercase)
  backend.pre_tokenizer = hf.pre_tokenizers.BertPreTokenizer()
  backend.decoder = hf.decoders.WordPiece()
  present = [token for token in BERT if token in vocab]
  backend.add_special_tokens(present)
  return backend
