"""The files of a tokenizer's folder: their names, and how they are written."""

import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import tokenizers as hf

TOKENIZER, VOCABULARY = 'tokenizer.json', 'vocab.txt'
SETTINGS, ROLES_MAP = 'tokenizer_config.json', 'special_tokens_map.json'
ADDED = 'added_tokens.json'
FILES = (
  TOKENIZER,
  SETTINGS,
  ROLES_MAP,
  ADDED,
  VOCABULARY,
  'vocab.json',
  'merges.txt',
  'spiece.model',
  'spm.model',
  'sentencepiece.bpe.model',
  'tokenizer.model',
)
ROLES = {
  'pad': ('[PAD]', '<pad>'),
  'unk': ('[UNK]', '<unk>'),
  'cls': ('[CLS]', '<s>'),
  'sep': ('[SEP]', '</s>'),
  'mask': ('[MASK]', '<mask>'),
}
BERT = tuple(names[0] for names in ROLES.values())


def usual_tokens(backend: hf.Tokenizer) -> dict[str, str]:
  """Returns {role: token} under the usual names.

  Raises:
    ValueError: the vocabulary has no token for a role.
  """
  tokens = {}
  for role, usual in ROLES.items():
    known = [t for t in usual if backend.token_to_id(t) is not None]
    if not known:
      raise ValueError(
        f'the tokenizer has no {role} token; expected one of {usual}'
      )
    tokens[role] = known[0]
  return tokens


def write(
  folder: str | os.PathLike,
  backend: hf.Tokenizer,
  tokens: Mapping[str, str],
  source: pathlib.Path | None,
  further: Mapping[str, Any],
) -> None:
  """Writes a tokenizer as a Hugging Face folder holds it.

  Args:
    folder: made if missing.
    backend: what is written.
    tokens: {role: token}, see `Tokenizer`.
    source: folder that it was read from, whose files are copied.
    further: entries of tokenizer_config.json, where there is none to copy.
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
  settings |= further
  bert = isinstance(backend.normalizer, hf.normalizers.BertNormalizer)
  if isinstance(backend.model, hf.models.WordPiece) and bert:
    settings |= {
      'tokenizer_class': 'BertTokenizer',
      'do_lower_case': backend.normalizer.lowercase,
      'strip_accents': backend.normalizer.strip_accents,
      'tokenize_chinese_chars': backend.normalizer.handle_chinese_chars,
    }
    vocab = backend.get_vocab(with_added_tokens=True)
    lines = (f'{piece}\n' for piece in sorted(vocab, key=vocab.get))
    (folder / VOCABULARY).write_text(''.join(lines), encoding='utf-8')
  text = json.dumps(settings, indent=2, sort_keys=True)
  (folder / SETTINGS).write_text(text + '\n', encoding='utf-8')
