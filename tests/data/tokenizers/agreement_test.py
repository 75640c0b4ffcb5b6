"""What stands around a text, by tokenizer.json and by the settings beside."""

import json

import pytest

from glue_jax.data import tokenizing
from tests.data.tokenizers.families_test import bytes_bpe, wordpiece


@pytest.mark.parametrize(
  'name, make, token, other',
  [
    ('Bert', wordpiece, 'cls_token', '[MASK]'),
    ('Bert', wordpiece, 'sep_token', '[NEW]'),
    ('Roberta', bytes_bpe, 'sep_token', '<mask>'),
    ('GPT2', bytes_bpe, 'bos_token', '<mask>'),
  ],
)
def test_another_token_than_the_post_processor_has(
  tmp_path, name, make, token, other
):
  make(tmp_path)
  config = tmp_path / 'tokenizer_config.json'
  settings = {'tokenizer_class': f'{name}Tokenizer'}
  if name == 'GPT2':
    settings |= {'bos_token': '<s>', 'add_bos_token': True}
  config.write_text(json.dumps(settings))
  saved = tmp_path / 'saved'
  tokenizing.get_tokenizer(tmp_path).save(saved)
  before = tokenizing.get_tokenizer(saved).encode(['far'], max_length=8).ids
  config = saved / 'tokenizer_config.json'
  settings = json.loads(config.read_text())
  config.write_text(json.dumps(settings | {token: other}))
  with pytest.raises(ValueError, match=f'puts .* around .* {token}='):
    tokenizing.get_tokenizer(saved)
  config.write_text(json.dumps(settings | {'pad_token': '<other>'}))
  after = tokenizing.get_tokenizer(saved).encode(['far'], max_length=8).ids
  assert before.tolist() == after.tolist()
