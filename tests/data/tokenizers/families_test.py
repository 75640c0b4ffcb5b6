"""Folders of each family: the ids of `transformers`, or a refusal by name."""

import functools
import io
import json
import pathlib
import shutil

import pytest
import tokenizers as hf
import transformers

from glue_jax.data import tokenizing, vocabulary

TEXTS = [
  'Zoë visited quiet Gdańsk in 1954 .',
  'Łódź ist schön, müsste er gehen? 東京 is  far!',
  "She's <mask> [MASK] half-forgotten ``quoted'' (frosty)\tWORDS",
  '  ',
]
LINES = [
  'Zoë visited quiet Gdańsk in 1954 .',
  'Marta painted frosty Łódź in 1960 , and schön it was .',
  'he should go far , she said : half-forgotten words are quiet .',
  'müsste er gehen ? 東京 大阪 is far !',
] * 20
LETTERS = sorted({c for line in LINES for c in line.lower() if c != ' '})
BRACKETS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
ANGLES = ['<s>', '<pad>', '</s>', '<unk>', '<mask>']
END = ['<|endoftext|>', '<|padding|>']


def wordpiece(folder):
  words = {w for line in LINES for w in line.split()}
  words |= {w.lower() for w in words} | {'zoe', 'lodz', 'musste', 'schon'}
  pieces = [*LETTERS, *(f'##{c}' for c in LETTERS)]
  vocab = dict.fromkeys([*BRACKETS, *sorted(words), *pieces])
  (folder / 'vocab.txt').write_text('\n'.join(vocab) + '\n')


def bytes_bpe(folder, special=ANGLES):
  backend = hf.ByteLevelBPETokenizer()
  backend.train_from_iterator(
    LINES, vocab_size=340, special_tokens=list(special), show_progress=False
  )
  backend.save_model(str(folder))


def words_bpe(folder):
  backend = hf.CharBPETokenizer(
    suffix='</w>', split_on_whitespace_only=False, bert_normalizer=False
  )
  backend.train_from_iterator(
    LINES, vocab_size=200, special_tokens=ANGLES, show_progress=False
  )
  backend.save_model(str(folder))


def pieces(name, **changes):
  """A maker of a folder with a SentencePiece file."""

  def make(folder):
    library = pytest.importorskip('sentencepiece')
    out = io.BytesIO()
    library.SentencePieceTrainer.train(
      sentence_iterator=iter(LINES),
      model_writer=out,
      hard_vocab_limit=False,
      minloglevel=2,
      **{'vocab_size': 120, 'character_coverage': 0.98} | changes,
    )
    (folder / name).write_bytes(out.getvalue())

  return make


XLMR = pieces('sentencepiece.bpe.model')
ALBERT = pieces(
  'spiece.model', pad_id=0, unk_id=1, bos_id=-1, eos_id=-1,
  control_symbols='[CLS],[SEP],[MASK]', user_defined_symbols='<e>',
)  # fmt: skip
DEBERTA = pieces(
  'spm.model', pad_id=0, unk_id=3, bos_id=1, eos_id=2, pad_piece='[PAD]',
  unk_piece='[UNK]', bos_piece='[CLS]', eos_piece='[SEP]',
)  # fmt: skip
T5 = pieces('spiece.model', pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
LLAMA = pieces(
  'tokenizer.model', model_type='bpe', byte_fallback=True, vocab_size=400,
  normalization_rule_name='identity', remove_extra_whitespaces=False,
)  # fmt: skip
OPT = {f'{role}_token': '</s>' for role in ('bos', 'eos', 'unk')}
QWEN2 = functools.partial(bytes_bpe, special=END)

CASES = [
  ('Bert', wordpiece, {}),
  ('Bert', wordpiece, {'do_lower_case': False}),
  ('Bert', wordpiece, {'strip_accents': False}),
  ('Bert', wordpiece, {'do_lower_case': False, 'strip_accents': True}),
  ('Bert', wordpiece, {'tokenize_chinese_chars': False}),
  ('DistilBert', wordpiece, {'additional_special_tokens': ['<e>', '</e>']}),
  ('Electra', wordpiece, {'do_lower_case': False}),
  ('Roberta', bytes_bpe, {}),
  ('Roberta', bytes_bpe, {'add_prefix_space': True}),
  ('Herbert', words_bpe, {'do_lower_case': False}),
  ('XLMRoberta', XLMR, {}),
  ('Camembert', XLMR, {}),
  ('Albert', ALBERT, {}),
  ('Albert', ALBERT, {'do_lower_case': False, 'keep_accents': True}),
  ('DebertaV2', DEBERTA, {}),
  ('DebertaV2', DEBERTA, {'do_lower_case': True, 'split_by_punct': True}),
  ('T5', T5, {}),
  ('T5', T5, {'extra_ids': 7}),
  ('Llama', LLAMA, {}),
  ('Llama', LLAMA, {'add_bos_token': True, 'legacy': True}),
  ('Qwen2', QWEN2, {}),
  ('GPTNeoX', QWEN2, {}),
  ('GPTNeoX', QWEN2, {'add_prefix_space': True, 'add_eos_token': True}),
  ('GPT2', QWEN2, {}),
  ('GPT2', bytes_bpe, OPT | {'add_bos_token': True}),
]


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """Vocabulary files of each maker, made once."""
  folders = {}

  def give(make, folder):
    if make not in folders:
      folders[make] = tmp_path_factory.mktemp('vocabulary')
      make(folders[make])
    return pathlib.Path(shutil.copytree(folders[make], folder))

  return give


def named(made, folder, name, make, settings):
  made(make, folder)
  record = {'tokenizer_class': f'{name}Tokenizer'} | settings
  (folder / 'tokenizer_config.json').write_text(json.dumps(record))
  return folder


def theirs(folder, **settings):
  return transformers.AutoTokenizer.from_pretrained(str(folder), **settings)


def split(encoded):
  bounds = encoded.bounds
  return [
    encoded.ids[a:b].tolist() for a, b in zip(bounds, bounds[1:], strict=False)
  ]


@pytest.mark.parametrize('name, make, settings', CASES)
def test_ids_are_those_of_transformers(made, tmp_path, name, make, settings):
  folder = named(made, tmp_path / 'folder', name, make, settings)
  ours, peer = tokenizing.get_tokenizer(folder), theirs(folder)
  assert ours.vocab == peer.get_vocab()
  assert split(ours.encode(TEXTS, max_length=99)) == peer(TEXTS)['input_ids']
  pairs = ours.encode(TEXTS, TEXTS[::-1], max_length=99)
  both = peer(TEXTS, TEXTS[::-1], return_token_type_ids=True)
  assert split(pairs) == both['input_ids']
  assert pairs.type_ids.tolist() == sum(both['token_type_ids'], [])
  # Byte-level classes lose the blank between words unless told not to.
  if not name.startswith(('Roberta', 'GPT', 'Qwen')):
    words = [text.split() for text in TEXTS[:3]]
    expected = peer(words, is_split_into_words=True)['input_ids']
    assert split(ours.encode(words, max_length=99)) == expected
  again = tmp_path / 'again'
  ours.save(again)
  assert tokenizing.get_tokenizer(again).fingerprint == ours.fingerprint
  peer.save_pretrained(tmp_path / 'theirs')
  copy = tokenizing.get_tokenizer(tmp_path / 'theirs')
  assert split(copy.encode(TEXTS, max_length=99)) == peer(TEXTS)['input_ids']
  assert copy.tokens == ours.tokens


@pytest.mark.parametrize('name', ['Roberta', 'GPTNeoX', 'Qwen2'])
def test_words_keep_the_blank_before_them(made, tmp_path, name):
  make = bytes_bpe if name == 'Roberta' else QWEN2
  folder = named(made, tmp_path / 'folder', name, make, {})
  ours = tokenizing.get_tokenizer(folder)
  words = [line.split() for line in LINES[:4]]
  as_text = ours.encode([' ' + ' '.join(w) for w in words], max_length=99)
  as_words = ours.encode(words, max_length=99, extras=('word_ids',))
  assert split(as_words) == split(as_text)
  assert as_words.word_ids.max() == max(len(w) for w in words) - 1
  if name == 'Roberta':
    peer = theirs(folder, add_prefix_space=True)
    assert split(as_words) == peer(words, is_split_into_words=True)['input_ids']


def test_byte_level_without_settings(made, tmp_path):
  ours = tokenizing.get_tokenizer(made(bytes_bpe, tmp_path / 'folder'))
  peer = transformers.RobertaTokenizer.from_pretrained(tmp_path / 'folder')
  assert split(ours.encode(TEXTS, max_length=99)) == peer(TEXTS)['input_ids']


@pytest.mark.parametrize(
  'files',
  [
    {'added_tokens.json': {'<e>': 0, '</e>': 1}},
    {
      'added_tokens.json': {'<e>': 0, '[NEW]': 1},
      'special_tokens_map.json': {
        'unk_token': '[UNK]',
        'mask_token': {'content': '[MASK]', 'lstrip': True},
        'additional_special_tokens': ['<e>'],
      },
    },
    {'special_tokens_map.json': {'extra_special_tokens': ['<e>', '[new]']}},
  ],
)
def test_added_tokens(made, tmp_path, files):
  folder = named(made, tmp_path / 'folder', 'Bert', wordpiece, {})
  size = len((folder / 'vocab.txt').read_text().split())
  for name, content in files.items():
    if name == 'added_tokens.json':
      content = {t: size + i for t, i in content.items()}
    (folder / name).write_text(json.dumps(content))
  texts = ['<e>Marta</e> er', 'a [NEW] b [MASK] [new]']
  ours, peer = tokenizing.get_tokenizer(folder), theirs(folder)
  assert split(ours.encode(texts, max_length=99)) == peer(texts)['input_ids']
  assert ours.vocab_size == len(peer) == size + 2


@pytest.mark.parametrize(
  'name, make', [('Bert', wordpiece), ('DebertaV2', DEBERTA)]
)
def test_the_added_tokens_of_version_4(made, tmp_path, name, make):
  folder = named(made, tmp_path / 'folder', name, make, {})
  plain = theirs(folder)
  flags = dict(lstrip=True, rstrip=False, single_word=False, normalized=False)
  of_roles = (plain.pad_token, plain.unk_token, plain.mask_token)
  added = {plain.convert_tokens_to_ids(t): t for t in of_roles}
  added |= {len(plain): '<e>', len(plain) + 1: '[NEW]'}
  record = {
    'tokenizer_class': f'{name}Tokenizer',
    'sp_model_kwargs': {},
    'mask_token': plain.mask_token,
    'additional_special_tokens': ['<e>'],
    'added_tokens_decoder': {
      i: {'content': t, 'special': t != '[NEW]'} | flags
      for i, t in added.items()
    },
  }
  (folder / 'tokenizer_config.json').write_text(json.dumps(record))
  (folder / 'added_tokens.json').write_text('{"not read beside it": 7}')
  texts = ['a <e>Marta [NEW] [new] b', f'quiet {plain.mask_token}words']
  ours, peer = tokenizing.get_tokenizer(folder), theirs(folder)
  assert split(ours.encode(texts, max_length=99)) == peer(texts)['input_ids']
  assert ours.vocab == peer.get_vocab()
  # Beside a tokenizer.json the list still says how its tokens are matched.
  plain.save_pretrained(tmp_path / 'json')
  (tmp_path / 'json' / 'tokenizer_config.json').write_text(json.dumps(record))
  ours = tokenizing.get_tokenizer(tmp_path / 'json')
  assert split(ours.encode(texts, max_length=99)) == peer(texts)['input_ids']


def test_roles_as_the_folder_names_them(tmp_path):
  vocab = ['<pad>', '<unk>', '<s>', '</s>', '<mask>', 'er', 'gehen']
  (tmp_path / 'vocab.txt').write_text('\n'.join(vocab))
  roles = ('pad', 'unk', 'cls', 'sep', 'mask')
  record = {f'{role}_token': t for role, t in zip(roles, vocab, strict=False)}
  (tmp_path / 'tokenizer_config.json').write_text(
    json.dumps({'tokenizer_class': 'BertTokenizer'} | record)
  )
  ours = tokenizing.get_tokenizer(tmp_path)
  assert split(ours.encode(['er gehen xx'], max_length=9)) == [[2, 5, 6, 1, 3]]
  assert (ours.pad_id, ours.mask_id) == (0, 4)


@pytest.mark.parametrize(
  'name, make, pad',
  [
    ('Llama', LLAMA, '</s>'),
    ('T5', T5, '<pad>'),
    ('Qwen2', QWEN2, END[0]),
    ('GPTNeoX', QWEN2, END[1]),
    ('GPT2', QWEN2, END[0]),
  ],
)
def test_decoders_pad_and_have_no_cls(made, tmp_path, name, make, pad):
  folder = named(made, tmp_path / 'folder', name, make, {})
  ours = tokenizing.get_tokenizer(folder)
  assert ours.pad_id == ours.backend.token_to_id(pad)
  assert ours.mask_id is None
  with pytest.raises(ValueError, match='has no cls token, which an encoder'):
    _ = ours.cls_id


REFUSED = [
  ('BertJapanese', wordpiece, {}, 'tokenizer_class=BertJapaneseTokenizer is'),
  (
    'Albert',
    wordpiece,
    {},
    r"read from tokenizer.json or spiece.model; .*'voc",
  ),
  ('Bert', wordpiece, {'never_split': ['er']}, r"never_split=\['er'\]"),
  ('Bert', wordpiece, {'do_basic_tokenize': False}, 'do_basic_tokenize=False'),
  ('Bert', wordpiece, {'do_lower_case': 'no'}, "do_lower_case='no'; expected"),
  ('Bert', wordpiece, {'truncation_side': 'left'}, "truncation_side='left' is"),
  ('Bert', wordpiece, {'split_special_tokens': True}, 'split_special_tokens'),
  ('Albert', ALBERT, {'remove_space': False}, 'remove_space=False in its'),
  ('T5', T5, {'sp_model_kwargs': {'nbest_size': 3}}, 'sp_model_kwargs='),
  ('T5', pieces('spiece.model'), {}, 'unk_id=0, but T5Tokenizer expects 2'),
  (
    'XLMRoberta',
    pieces('sentencepiece.bpe.model', model_type='bpe'),
    {},
    'model_type=bpe, but XLMRobertaTokenizer expects unigram',
  ),
  (
    'XLMRoberta',
    pieces('sentencepiece.bpe.model', add_dummy_prefix=False),
    {},
    'add_dummy_prefix=False',
  ),
  (
    'Llama',
    pieces('tokenizer.model', model_type='bpe'),
    {},
    'has a normaliser=True, but LlamaTokenizer expects False',
  ),
  ('', pieces('spm.model'), {'tokenizer_class': None}, 'names no tokenizer_cl'),
]


@pytest.mark.parametrize('name, make, settings, message', REFUSED)
def test_refused_by_name(made, tmp_path, name, make, settings, message):
  folder = named(made, tmp_path / 'folder', name, make, settings)
  with pytest.raises(ValueError, match=message):
    tokenizing.get_tokenizer(folder)


def test_added_ids_that_do_not_follow_the_vocabulary(made, tmp_path):
  folder = named(made, tmp_path / 'folder', 'Bert', wordpiece, {})
  (folder / 'added_tokens.json').write_text('{"<e>": 900}')
  with pytest.raises(ValueError, match="'<e>' has the id 900 in its settings"):
    tokenizing.get_tokenizer(folder)


@pytest.mark.parametrize(
  'content', [b'x', b'', b'\x0a\x03\x0a\x01', b'\xff' * 12, b'IQ== 0\n']
)
def test_damaged_sentencepiece_file(tmp_path, content):
  (tmp_path / 'spm.model').write_bytes(content)
  (tmp_path / 'tokenizer_config.json').write_text(
    '{"tokenizer_class": "DebertaV2Tokenizer"}'
  )
  with pytest.raises(ValueError, match='is not a SentencePiece model, or is'):
    tokenizing.get_tokenizer(tmp_path)


@pytest.mark.parametrize(
  'content', ['[]', '{"a": ', '{"additional_special_tokens": [3]}']
)
def test_damaged_settings(made, tmp_path, content):
  folder = made(wordpiece, tmp_path / 'folder')
  (folder / 'tokenizer_config.json').write_text(content)
  with pytest.raises(ValueError, match='tokenizer_config.json'):
    tokenizing.get_tokenizer(folder)


@pytest.mark.parametrize(
  'name, make, setting',
  [
    ('Bert', wordpiece, {'do_lower_case': False}),
    ('Bert', wordpiece, {'strip_accents': False}),
    ('Bert', wordpiece, {'tokenize_chinese_chars': False}),
    ('Roberta', bytes_bpe, {'add_prefix_space': True}),
    ('Albert', ALBERT, {'keep_accents': True}),
    ('DebertaV2', DEBERTA, {'do_lower_case': True}),
    ('DebertaV2', DEBERTA, {'split_by_punct': True}),
  ],
)
def test_tokenizer_json_against_its_settings(
  made, tmp_path, name, make, setting
):
  folder = named(made, tmp_path / 'folder', name, make, {})
  tokenizing.get_tokenizer(folder).save(tmp_path / 'saved')
  config = tmp_path / 'saved' / 'tokenizer_config.json'
  config.write_text(json.dumps(json.loads(config.read_text()) | setting))
  (key,) = setting
  with pytest.raises(ValueError, match=f'tokenizer.json has {key}='):
    tokenizing.get_tokenizer(tmp_path / 'saved')


def test_the_vocabulary_of_a_folder_is_that_of_its_tokenizer(made, tmp_path):
  folder = named(made, tmp_path / 'folder', 'DebertaV2', DEBERTA, {})
  assert vocabulary.read(folder) == tokenizing.get_tokenizer(folder).vocab


def test_the_class_of_a_model_without_settings(made, tmp_path):
  folder = made(DEBERTA, tmp_path / 'folder')
  (folder / 'config.json').write_text('{"model_type": "deberta-v2"}')
  ours, peer = tokenizing.get_tokenizer(folder), theirs(folder)
  assert split(ours.encode(TEXTS, max_length=99)) == peer(TEXTS)['input_ids']
