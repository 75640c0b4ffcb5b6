"""Tokenizers: folders, training, truncation, saving, encoded arrays."""

import subprocess
import sys

import numpy as np
import pytest

from glue_jax.data import tokenizer_files, tokenizing, wordpiece

WORDS = ['the', 'cat', 'sat', '##s', 'mat', 'on', '.', 'a']
TEXTS = ['the cats sat on the mat .', 'unknownword on a mat', 'The CAT.']


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'vocab.txt').write_text(
    '\n'.join([*tokenizer_files.BERT, *WORDS]) + '\n'
  )
  return tmp_path


def test_vocab_txt(folder):
  tokenizer = tokenizing.get_tokenizer(folder)
  assert tokenizer.vocab_size == 13
  assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.mask_id) == (0, 1, 4)
  assert tokenizer.special_ids == (0, 1, 2, 3, 4)
  encoded = tokenizer.encode(TEXTS, max_length=16)
  first = encoded.ids[: encoded.bounds[1]].tolist()
  assert first == [2, 5, 6, 8, 7, 10, 5, 9, 11, 3]
  assert encoded.ids[encoded.bounds[1] :][:4].tolist() == [2, 1, 10, 12]
  last = encoded.ids[encoded.bounds[2] :].tolist()
  assert last == [2, 5, 6, 11, 3]  # lower-cased, the full stop apart
  assert encoded.truncated == 0
  assert tokenizer.decode(first) == 'the cats sat on the mat.'


def test_pairs_cut_the_longer_text(folder):
  tokenizer = tokenizing.get_tokenizer(folder)
  encoded = tokenizer.encode(['the ' * 9], ['a cat'], max_length=9)
  assert encoded.ids.tolist() == [2, 5, 5, 5, 5, 3, 12, 6, 3]
  assert encoded.type_ids.tolist() == [0] * 6 + [1] * 3
  assert encoded.truncated == 1
  again = tokenizer.encode(['the ' * 9], max_length=99)
  assert len(again.ids) == 11  # the cut does not stay set
  with pytest.raises(ValueError, match='max_length=3 leaves no room'):
    tokenizer.encode(['a'], ['b'], max_length=3)


def test_extras(folder):
  tokenizer = tokenizing.get_tokenizer(folder)
  encoded = tokenizer.encode(
    ['the cats'],
    ['a mat'],
    max_length=16,
    extras=('offsets', 'word_ids', 'sequence_ids', 'source'),
  )
  assert encoded.word_ids.tolist() == [-1, 0, 1, 1, -1, 0, 1, -1]
  assert encoded.sequence_ids.tolist() == [-1, 0, 0, 0, -1, 1, 1, -1]
  assert encoded.offsets[3].tolist() == [7, 8]
  assert encoded.source.tolist() == [0]


def test_windows(folder):
  tokenizer = tokenizing.get_tokenizer(folder)
  encoded = tokenizer.encode(
    ['a', 'a'],
    ['the cat sat on the mat', 'mat'],
    max_length=7,
    extras=('source',),
    stride=1,
  )
  assert encoded.source.tolist() == [0, 0, 0, 1]
  assert encoded.ids[7:14].tolist() == [2, 12, 3, 7, 10, 5, 3]


def test_saved_folder_is_the_same_tokenizer(folder, tmp_path):
  tokenizer = tokenizing.get_tokenizer(folder)
  tokenizer.save(tmp_path / 'run' / 'model')
  copy = tokenizing.get_tokenizer(tmp_path / 'run' / 'model')
  assert copy.fingerprint == tokenizer.fingerprint
  of_run = tokenizing.get_tokenizer(tmp_path / 'run')
  assert of_run.fingerprint == tokenizer.fingerprint
  assert (
    copy.encode(TEXTS, max_length=9).ids
    == (tokenizer.encode(TEXTS, max_length=9).ids)
  ).all()


def test_training_is_repeatable_in_another_process(tmp_path):
  texts = ['lower lowest newer newest widest', 'low new wide cat sat'] * 5
  mine = wordpiece.train(texts, 40, tmp_path / 'mine')
  assert mine.vocab_size == 40
  assert mine.backend.encode('[MASK] lowest').tokens[1] == '[MASK]'
  code = (
    'from glue_jax.data import wordpiece as t;'
    f'print(t.train({texts!r}, 40).fingerprint)'
  )
  other = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert other.stdout.strip() == mine.fingerprint
  folder = tokenizing.get_tokenizer(tmp_path / 'mine')
  assert folder.fingerprint == mine.fingerprint
  assert (tmp_path / 'mine' / 'vocab.txt').read_text().startswith('[PAD]\n')


def test_trained_folder_loads_in_transformers(tmp_path):
  transformers = pytest.importorskip('transformers')
  texts = ['the cat sat on the mat .', 'a cat is not a mat']
  mine = wordpiece.train(texts, 60, tmp_path)
  theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
  for text in (*texts, 'The MAT sat, not on it'):
    ids = mine.encode([text], max_length=32).ids.tolist()
    assert theirs(text)['input_ids'] == ids


def test_byte_level_folder(tmp_path):
  specials = ['<s>', '<pad>', '</s>', '<unk>']
  vocab = {t: i for i, t in enumerate([*specials, *'abc', 'Ġ', 'ab', '<mask>'])}
  (tmp_path / 'vocab.json').write_text(str(vocab).replace("'", '"'))
  (tmp_path / 'merges.txt').write_text('#version: 0.2\na b\n')
  tokenizer = tokenizing.get_tokenizer(tmp_path)
  assert (tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id) == (1, 0, 2)
  encoded = tokenizer.encode(['abc'], ['c'], max_length=16)
  assert encoded.ids.tolist() == [0, 8, 6, 2, 2, 6, 2]
  assert not encoded.type_ids.any()


def test_errors(tmp_path):
  with pytest.raises(ValueError, match='expected tokenizer.json, vocab.txt'):
    tokenizing.get_tokenizer(tmp_path)
  (tmp_path / 'vocab.txt').write_text('a\nb\n')
  with pytest.raises(ValueError, match='no pad token'):
    tokenizing.get_tokenizer(tmp_path)


def test_equals_transformers_on_real_text(shared):
  transformers = pytest.importorskip('transformers')
  from glue_jax.data import load
  from glue_jax.data.tasks import by_name

  vocab = shared / 'data' / 'vocab' / 'bert-base-uncased'
  table = load.load(by_name.get('mrpc'), 'validation', shared / 'data')
  pairs = [[row[c] for row in table.rows] for c in table.task.columns]
  encoded = tokenizing.get_tokenizer(vocab).encode(*pairs, max_length=48)
  theirs = transformers.BertTokenizerFast(str(vocab / 'vocab.txt'))(
    *pairs, truncation=True, max_length=48
  )
  assert np.concatenate(theirs['input_ids']).tolist() == encoded.ids.tolist()
  types = np.concatenate(theirs['token_type_ids']).tolist()
  assert types == encoded.type_ids.tolist()
