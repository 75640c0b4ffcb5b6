"""The families of tokenizers: `tokenizer_class` of `transformers`.

A family is its files, its settings with their defaults, and what is built of
them. One more is one more entry of FAMILIES.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tokenizers as hf

from glue_jax.data.tokenizers import backends, sentencepiece

WORDPIECE, BYTES = ('vocab.txt',), ('vocab.json', 'merges.txt')
FLAGS = (
  'add_bos_token',
  'add_eos_token',
  'add_prefix_space',
  'do_lower_case',
  'keep_accents',
  'legacy',
  'split_by_punct',
  'strip_accents',
  'tokenize_chinese_chars',
)


@dataclasses.dataclass(frozen=True)
class Family:
  """How a tokenizer class is built.

  Attributes:
    files: names of its vocabulary files.
    build: (paths, options) -> backend without special tokens.
    options: its settings and their defaults; tokens of roles among them.
    template: sequences of one text and of two, in names of roles; None: the
      text alone, with bos and eos where add_bos_token, add_eos_token say so.
    kind: of its SentencePiece file.
    unk_id: where its SentencePiece file must have the unknown piece.
    lstrip: roles whose token takes the blank before it.
    extra: options -> further special tokens.
    encoder: it has [CLS], [SEP] and [MASK], and so needs all five roles.
  """

  files: tuple[str, ...]
  build: Callable[..., hf.Tokenizer]
  options: Mapping[str, Any]
  template: tuple[str, str] | None = None
  kind: int = sentencepiece.UNIGRAM
  unk_id: int | None = None
  lstrip: tuple[str, ...] = ()
  extra: Callable[[Mapping[str, Any]], Sequence[str]] = lambda _: ()
  encoder: bool = True

  @property
  def of_sentencepiece(self) -> bool:
    return self.files[0].endswith('.model')

  def values(
    self, options: Mapping[str, Any], tokens: Mapping[str, str]
  ) -> dict[str, Any]:
    """Its settings: the folder's, else its own defaults.

    Args:
      options: of the folder, see `settings.Settings`.
      tokens: {'pad_token': text} that the folder names.

    Raises:
      ValueError: one isn't true or false where it must be.
    """
    known = {k: options.get(k, v) for k, v in self.options.items()}
    for name, value in known.items():
      flag = name in FLAGS and value is not None
      if flag and not isinstance(value, bool):
        raise ValueError(
          f'tokenizer_config.json: {name}={value!r}; expected true or false'
        )
    return known | dict(tokens)


def _roles(names: str) -> dict[str, str]:
  """Defaults of roles' tokens: 'cls=[CLS] sep=[SEP]'."""
  pairs = (entry.split('=') for entry in names.split())
  return {f'{role}_token': token for role, token in pairs}


def _sentinels(o: Mapping[str, Any]) -> list[str]:
  """T5's special tokens, which stand for what is left out of a text."""
  return [f'<extra_id_{i}>' for i in range(o['extra_ids'])]


_BRACKETS = _roles('unk=[UNK] sep=[SEP] pad=[PAD] cls=[CLS] mask=[MASK]')
_ANGLES = _roles(
  'bos=<s> eos=</s> unk=<unk> sep=</s> pad=<pad> cls=<s> mask=<mask>'
)
_TYPED = (
  '{cls}:0 $A:0 {sep}:0',
  '{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1',
)
_UNTYPED = ('{bos} $A {eos}', '{bos} $A {eos} {eos} $B {eos}')
_ENDS = {'add_bos_token': False, 'add_eos_token': False}
_END = '<|endoftext|>'

BERT = Family(
  WORDPIECE,
  backends.bert,
  _BRACKETS
  | {
    'do_lower_case': True,
    'strip_accents': None,
    'tokenize_chinese_chars': True,
  },
  _TYPED,
)
ROBERTA = Family(
  BYTES,
  backends.byte_level,
  _ANGLES | {'add_prefix_space': False},
  ('{cls} $A {sep}', '{cls} $A {sep} {sep} $B {sep}'),
)
FAMILIES = {
  'BertTokenizer': BERT,
  'DistilBertTokenizer': BERT,
  'ElectraTokenizer': BERT,
  'LayoutLMTokenizer': BERT,
  'LxmertTokenizer': BERT,
  'MobileBertTokenizer': BERT,
  'SqueezeBertTokenizer': BERT,
  'RobertaTokenizer': ROBERTA,
  'BartTokenizer': ROBERTA,
  'LongformerTokenizer': ROBERTA,
  'HerbertTokenizer': Family(
    BYTES,
    backends.herbert,
    _roles('cls=<s> unk=<unk> pad=<pad> mask=<mask> sep=</s>'),
    _TYPED,
  ),
  'AlbertTokenizer': Family(
    ('spiece.model',),
    backends.albert,
    _roles('bos=[CLS] eos=[SEP] unk=<unk> sep=[SEP] pad=<pad> cls=[CLS]')
    | _roles('mask=[MASK]')
    | {'do_lower_case': True, 'keep_accents': False, 'add_prefix_space': True},
    _TYPED,
    unk_id=1,
  ),
  'XLMRobertaTokenizer': Family(
    ('sentencepiece.bpe.model',),
    backends.xlm_roberta,
    _ANGLES | {'add_prefix_space': True},
    _UNTYPED,
  ),
  'CamembertTokenizer': Family(
    ('sentencepiece.bpe.model',),
    backends.camembert,
    _ANGLES | {'add_prefix_space': True},
    _UNTYPED,
    lstrip=('mask',),
  ),
  'DebertaV2Tokenizer': Family(
    ('spm.model',),
    backends.deberta_v2,
    _BRACKETS
    | _roles('bos=[CLS] eos=[SEP]')
    | {
      'do_lower_case': False,
      'split_by_punct': False,
      'add_prefix_space': True,
    },
    _TYPED,
  ),
  'T5Tokenizer': Family(
    ('spiece.model',),
    backends.t5,
    _roles('eos=</s> unk=<unk> pad=<pad>') | {'extra_ids': 100},
    ('$A {eos}', '$A {eos} $B {eos}'),
    unk_id=2,
    extra=_sentinels,
    encoder=False,
  ),
  'LlamaTokenizer': Family(
    ('tokenizer.model',),
    backends.llama,
    _roles('bos=<s> eos=</s> unk=<unk>')
    | {'add_prefix_space': None, 'legacy': False}
    | _ENDS,
    kind=sentencepiece.BPE,
    encoder=False,
  ),
  'GPT2Tokenizer': Family(
    BYTES,
    backends.byte_level,
    _roles(f'unk={_END} bos={_END} eos={_END}')
    | {'add_prefix_space': False}
    | _ENDS,
    encoder=False,
  ),
  'Qwen2Tokenizer': Family(
    BYTES,
    backends.qwen2,
    _roles(f'unk={_END} eos={_END} pad={_END}')
    | {'add_prefix_space': False}
    | _ENDS,
    encoder=False,
  ),
  'GPTNeoXTokenizer': Family(
    BYTES,
    backends.byte_level,
    _roles(f'unk={_END} bos={_END} eos={_END} pad=<|padding|>')
    | {'add_prefix_space': False, 'normalize': True}
    | _ENDS,
    encoder=False,
  ),
}
