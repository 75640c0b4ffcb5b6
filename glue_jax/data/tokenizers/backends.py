"""Backends of the `tokenizers` library, from what vocabulary files hold.

One function for each kind of tokenizer: the paths of its files, or the pieces,
the unknown piece's id and the normaliser's table of a SentencePiece file, and
`o`, the settings of its family, become a backend that has no special tokens
yet. Each follows the class of `transformers` (version 5) of that name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers as hf
from tokenizers import decoders, normalizers, pre_tokenizers

BLANK = '▁'  # how SentencePiece writes a blank
Options = Mapping[str, Any]
Pieces = Sequence[tuple[str, float]]  # text and log probability, in id order


def wordpiece(
  vocab: dict[str, int],
  lowercase: bool,
  strip_accents: bool | None = None,
  chinese: bool = True,
  unk: str = '[UNK]',
) -> hf.Tokenizer:
  """Returns BERT's tokenizer of a vocabulary {piece: id}.

  Args:
    lowercase: lower case; accents go with it unless strip_accents says else.
    chinese: a blank on both sides of each Chinese character.
    unk: what stands for an unknown word.
  """
  backend = hf.Tokenizer(hf.models.WordPiece(vocab, unk_token=unk))
  backend.normalizer = normalizers.BertNormalizer(
    clean_text=True,
    handle_chinese_chars=chinese,
    strip_accents=strip_accents,
    lowercase=lowercase,
  )
  backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  backend.decoder = decoders.WordPiece()
  return backend


def bert(path: str, o: Options) -> hf.Tokenizer:
  """WordPiece of vocab.txt, a piece a line."""
  vocab = hf.models.WordPiece.read_file(path)
  vocab.pop('', None)  # a blank last line is no piece
  return wordpiece(
    vocab,
    o['do_lower_case'],
    o['strip_accents'],
    o['tokenize_chinese_chars'],
    o['unk_token'],
  )


def byte_level(vocab: str, merges: str, o: Options) -> hf.Tokenizer:
  """Byte-level BPE as GPT-2, RoBERTa and GPT-NeoX have it."""
  backend = hf.Tokenizer(hf.models.BPE.from_file(vocab, merges))
  blank = bool(o['add_prefix_space'])
  backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=blank)
  backend.decoder = decoders.ByteLevel()
  if o.get('normalize'):
    backend.normalizer = normalizers.NFC()
  return backend


QWEN2 = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
  r' ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)


def qwen2(vocab: str, merges: str, o: Options) -> hf.Tokenizer:
  """Byte-level BPE with Qwen2's own cuts: each digit is a piece."""
  backend = byte_level(vocab, merges, {**o, 'normalize': True})
  backend.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Split(hf.Regex(QWEN2), behavior='isolated'),
      pre_tokenizers.ByteLevel(
        add_prefix_space=bool(o['add_prefix_space']), use_regex=False
      ),
    ]
  )
  return backend


def herbert(vocab: str, merges: str, o: Options) -> hf.Tokenizer:
  """BPE over whole words, whose last piece ends with `</w>`."""
  backend = hf.Tokenizer(
    hf.models.BPE.from_file(
      vocab, merges, unk_token=o['unk_token'], end_of_word_suffix='</w>'
    )
  )
  backend.normalizer = normalizers.BertNormalizer(
    clean_text=True,
    handle_chinese_chars=True,
    strip_accents=False,
    lowercase=False,
  )
  backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  backend.decoder = decoders.BPEDecoder(suffix='</w>')
  return backend


def _unigram(vocab: Pieces, unk_id: int, o: Options) -> hf.Tokenizer:
  backend = hf.Tokenizer(hf.models.Unigram(list(vocab), unk_id, False))
  scheme = 'always' if o.get('add_prefix_space', True) else 'never'
  backend.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.WhitespaceSplit(),
      pre_tokenizers.Metaspace(replacement=BLANK, prepend_scheme=scheme),
    ]
  )
  backend.decoder = decoders.Metaspace(replacement=BLANK, prepend_scheme=scheme)
  return backend


def albert(
  pieces: Pieces, unk_id: int, charsmap: bytes, o: Options
) -> hf.Tokenizer:
  """Unigram, without accents and in lower case unless told else."""
  backend = _unigram(pieces, unk_id, o)
  steps: list = [
    normalizers.Replace('``', '"'),
    normalizers.Replace("''", '"'),
  ]
  if not o['keep_accents']:
    steps += [normalizers.NFKD(), normalizers.StripAccents()]
  if o['do_lower_case']:
    steps.append(normalizers.Lowercase())
  if charsmap:
    steps.append(normalizers.Precompiled(charsmap))
  backend.normalizer = normalizers.Sequence(steps)
  return backend


def xlm_roberta(
  pieces: Pieces, _unk_id: int, charsmap: bytes, o: Options
) -> hf.Tokenizer:
  """Unigram, with fairseq's four special tokens before the pieces."""
  first = [(o[f'{role}_token'], 0.0) for role in ('bos', 'pad', 'eos', 'unk')]
  vocab = [*first, *pieces[3:], (o['mask_token'], 0.0)]
  return _charsmap(_unigram(vocab, 3, o), charsmap)


def camembert(
  pieces: Pieces, _unk_id: int, charsmap: bytes, o: Options
) -> hf.Tokenizer:
  """Unigram, with five entries for fairseq's before the pieces."""
  first = [
    ('<s>NOTUSED', 0.0),
    (o['pad_token'], 0.0),
    ('</s>NOTUSED', 0.0),
    (o['unk_token'], 0.0),
    ('<unk>NOTUSED', -100.0),
  ]
  vocab = [*first, *pieces[1:], (o['mask_token'], 0.0)]
  return _charsmap(_unigram(vocab, 3, o), charsmap)


def t5(
  pieces: Pieces, unk_id: int, charsmap: bytes, o: Options
) -> hf.Tokenizer:
  """Unigram, with `extra_ids` sentinels after the pieces."""
  extra = range(o['extra_ids'] - 1, -1, -1)
  vocab = [*pieces, *((f'<extra_id_{i}>', 0.0) for i in extra)]
  return _charsmap(_unigram(vocab, unk_id, o), charsmap)


def _charsmap(backend: hf.Tokenizer, charsmap: bytes) -> hf.Tokenizer:
  if charsmap:
    backend.normalizer = normalizers.Precompiled(charsmap)
  return backend


def deberta_v2(
  pieces: Pieces, unk_id: int, _charsmap: bytes, o: Options
) -> hf.Tokenizer:
  """Unigram over NFC text; runs of blanks count as one.

  The file's own table of characters isn't used, as version 5 doesn't.
  """
  backend = hf.Tokenizer(hf.models.Unigram(list(pieces), unk_id, False))
  steps: list = [normalizers.Lowercase()] if o['do_lower_case'] else []
  steps += [
    normalizers.Replace(hf.Regex(r'\s{2,}|[\n\r\t]'), ' '),
    normalizers.NFC(),
    normalizers.Strip(left=False, right=True),
  ]
  backend.normalizer = normalizers.Sequence(steps)
  scheme = 'always' if o['add_prefix_space'] else 'first'
  blank = pre_tokenizers.Metaspace(replacement=BLANK, prepend_scheme=scheme)
  split: list = [blank]
  if o['split_by_punct']:
    split.insert(0, pre_tokenizers.Punctuation(behavior='isolated'))
  backend.pre_tokenizer = pre_tokenizers.Sequence(split)
  backend.decoder = decoders.Metaspace(replacement=BLANK, prepend_scheme=scheme)
  return backend


def llama(
  pieces: Pieces, _unk_id: int, _charsmap: bytes, o: Options
) -> hf.Tokenizer:
  """BPE of a SentencePiece file; unknown characters become bytes."""
  vocab = {text: i for i, (text, _) in enumerate(pieces)}
  backend = hf.Tokenizer(
    hf.models.BPE(vocab, _merges(vocab), fuse_unk=True, byte_fallback=True)
  )
  # None, as many folders have it, is the library's default.
  blank = o['add_prefix_space'] is not False
  scheme = ('always' if o['legacy'] else 'first') if blank else 'never'
  backend.pre_tokenizer = pre_tokenizers.Metaspace(
    replacement=BLANK, prepend_scheme=scheme, split=False
  )
  steps: list = [
    decoders.Replace(BLANK, ' '),
    decoders.ByteFallback(),
    decoders.Fuse(),
  ]
  steps += [decoders.Strip(content=' ', left=1)] if blank else []
  backend.decoder = decoders.Sequence(steps)
  return backend


def _merges(vocab: Mapping[str, int]) -> list[tuple[str, str]]:
  """Merges of a SentencePiece BPE vocabulary: each piece's halves, by its id.

  Of one piece, the halves with the shorter first half come first.
  """
  merges = []
  for piece in sorted(vocab, key=vocab.__getitem__):
    halves = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
    merges += [pair for pair in halves if vocab.keys() >= set(pair)]
  return merges
