"""Which token each id stands for, read from every kind of file."""

import json

import pytest
import tokenizers

from glue_jax.data import vocabulary

TOKENS = {'[UNK]': 0, 'a': 1, '\u2028b': 2}


def write(folder, form):
  if form == 'tokenizer.json':
    model = tokenizers.models.WordLevel(TOKENS, '[UNK]')
    tokenizers.Tokenizer(model).save(str(folder / form))
  elif form == 'vocab.txt':
    (folder / form).write_bytes('\r\n'.join([*TOKENS, '']).encode())
  else:
    (folder / form).write_text(json.dumps(TOKENS))


@pytest.mark.parametrize('form', ['tokenizer.json', 'vocab.txt', 'vocab.json'])
def test_the_same_tokens_from_each_form(tmp_path, form):
  assert vocabulary.read(tmp_path) is None
  write(tmp_path, form)
  assert vocabulary.read(tmp_path) == TOKENS
  if form != 'tokenizer.json':
    (tmp_path / 'added_tokens.json').write_text('{"<x>": 3}')
    assert vocabulary.read(tmp_path) == {**TOKENS, '<x>': 3}


def test_other_tokens_have_another_hash_and_the_first_is_named():
  swapped = {'[UNK]': 0, 'a': 2, '\u2028b': 1}
  assert vocabulary.difference(TOKENS, dict(reversed(TOKENS.items()))) == ''
  assert "'a' has id 2 there and 1 here" in vocabulary.difference(
    TOKENS, swapped
  )
  assert vocabulary.digest(TOKENS) != vocabulary.digest(swapped)
  assert vocabulary.digest(TOKENS) == vocabulary.digest(
    dict(reversed(TOKENS.items()))
  )
