"""Blocks of running text: nothing lost, files apart, whole words."""

import gzip

import numpy as np
import pytest

from glue_jax.data import corpora, wordpiece
from glue_jax.data.readers import texts
from glue_jax.data.tokenizer import Tokenizer


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'b').mkdir()
  (tmp_path / 'a.txt').write_text('the cat sat\n\non a mat\n' * 5)
  packed = gzip.compress(b'a dog did not see the cats\r\n' * 4)
  (tmp_path / 'b' / 'c.txt.gz').write_bytes(packed)
  (tmp_path / 'notes.md').write_text('not text to learn from')
  return tmp_path


@pytest.fixture
def tokenizer(folder):
  lines = texts.read_lines(texts.find([folder]))
  return wordpiece.train(lines, 40)


def test_find(folder):
  names = [path.name for path in texts.find([folder])]
  assert names == ['a.txt', 'c.txt.gz']
  assert texts.find([folder / 'notes.md'])[0].name == 'notes.md'
  (folder / 'empty').mkdir()
  with pytest.raises(FileNotFoundError, match='empty: expected a text file'):
    texts.find([folder / 'empty'])


def test_blocks_without_first_token_are_the_stream(folder, tokenizer):
  """Of a decoder's tokenizer, with the end token between files."""
  tokens = {'eos': '[SEP]', 'pad': '[PAD]', 'unk': '[UNK]'}
  bare = Tokenizer(tokenizer.backend, tokens=tokens)
  examples = corpora.blocks([folder], bare, 11)
  whole = corpora.blocks([folder], tokenizer, 10_000)
  assert set(examples.lengths[:-1]) == {11}
  np.testing.assert_array_equal(examples.ids, whole.ids[1:-1])
  ends = examples.ids == tokenizer.sep_id
  assert ends.sum() == 1
  np.testing.assert_array_equal(examples.word_ids < 0, ends)


def test_blocks_hold_every_token_once(folder, tokenizer):
  examples = corpora.blocks([folder], tokenizer, 11)
  assert set(examples.lengths[:-1]) == {11}
  middle = []
  for i in range(len(examples)):
    block = examples.ids[examples.bounds[i] : examples.bounds[i + 1]]
    assert (block[0], block[-1]) == (tokenizer.cls_id, tokenizer.sep_id)
    middle += block[1:-1].tolist()
  first, second = (
    [
      piece
      for line in texts.read_lines([path])
      for piece in tokenizer.backend.encode(line, add_special_tokens=False).ids
    ]
    for path in texts.find([folder])
  )
  assert middle == [*first, tokenizer.sep_id, *second]


def test_word_ids_group_pieces(folder, tokenizer):
  examples = corpora.blocks([folder], tokenizer, 11)
  names = {i: piece for piece, i in tokenizer.vocab.items()}
  batch = examples.batch(np.arange(len(examples)), 11)
  specials = np.isin(batch['input_ids'], (0, tokenizer.cls_id))
  specials |= batch['input_ids'] == tokenizer.sep_id
  np.testing.assert_array_equal(batch['word_ids'] == -1, specials)
  split = 0
  for ids, words in zip(batch['input_ids'], batch['word_ids']):
    for before, at in zip(range(10), range(1, 11)):
      if words[at] < 0 or words[before] < 0:
        continue
      inside = names[ids[at]].startswith('##')
      assert (words[at] == words[before]) == inside
      split += inside
    assert words[words >= 0].min() <= 1
  assert split > 0  # the vocabulary is too small for whole words


def test_cache_follows_the_texts(folder, tokenizer, tmp_path):
  cache = tmp_path / 'cache'
  one = corpora.blocks([folder], tokenizer, 11, cache_dir=cache)
  again = corpora.blocks([folder], tokenizer, 11, cache_dir=cache)
  np.testing.assert_array_equal(one.ids, again.ids)
  assert len(list(cache.iterdir())) == 1
  (folder / 'a.txt').write_text('the cat\n')
  other = corpora.blocks([folder], tokenizer, 11, cache_dir=cache)
  assert len(list(cache.iterdir())) == 2
  assert len(other.ids) < len(one.ids)


def test_errors(folder, tokenizer):
  with pytest.raises(ValueError, match='block_length=4'):
    corpora.blocks([folder], tokenizer, 4)
  (folder / 'a.txt').write_bytes(b'fine\n\xff bad\n')
  with pytest.raises(ValueError, match='a.txt:2: invalid UTF-8'):
    corpora.blocks([folder], tokenizer, 16)
