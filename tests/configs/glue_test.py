"""The recipe for GLUE takes weights of every shape, by their folder alone."""

import json

import numpy as np
import pytest
import tokenizers as hf
import torch
import transformers

from configs import glue
from glue_jax.config import config as config_lib
from glue_jax.data.tasks import synthetic
from glue_jax.inference import open_run, predict
from glue_jax.models import model as models
from glue_jax.training.train import train
from tests.models import decoders_test, seq2seq_test

TASK = 'mini_acceptability'
CHANGES = dict(
  data=dict(
    max_length=16, buckets=(16,), batch_size=8, eval_batch_size=8,
    train_limit=16, eval_limit=8, cache_dir='',
  ),
  train=dict(epochs=1),
)  # fmt: skip
SPECIAL = ['<s>', '<pad>', '</s>', '<unk>']
# {model: (class, its sizes, what its tokenizer makes of a text)}.
WEIGHTS = {
  't5': (
    'T5ForConditionalGeneration',
    seq2seq_test.T5 | dict(num_layers=1),
    '$A </s>',
  ),
  'opt': ('OPTForCausalLM', decoders_test.OPT, '</s> $A'),
}


def folder(path, name, template=None):
  """Random weights of the library with a tokenizer of theirs."""
  architecture, sizes, usual = WEIGHTS[name]
  backend = hf.Tokenizer(hf.models.BPE(unk_token='<unk>'))
  backend.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=True)
  trainer = hf.trainers.BpeTrainer(
    vocab_size=300, special_tokens=SPECIAL, show_progress=False,
    initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
  )  # fmt: skip
  texts = [row['sentence'] for row in synthetic.generate(TASK, 'train')[:64]]
  backend.train_from_iterator(texts, trainer)
  ends = [(token, SPECIAL.index(token)) for token in ('<s>', '</s>')]
  backend.post_processor = hf.processors.TemplateProcessing(
    single=template or usual, pair=f'{usual} $B </s>', special_tokens=ends
  )
  path.mkdir()
  backend.save(str(path / 'tokenizer.json'))
  said = {'tokenizer_class': 'PreTrainedTokenizerFast', 'eos_token': '</s>'}
  said |= {'pad_token': '<pad>', 'unk_token': '<unk>'}
  (path / 'tokenizer_config.json').write_text(json.dumps(said))
  ids = dict(
    vocab_size=backend.get_vocab_size(), pad_token_id=1, eos_token_id=2,
    bos_token_id=0, decoder_start_token_id=2,
  )  # fmt: skip
  kind = getattr(transformers, architecture)
  torch.manual_seed(0)
  kind(kind.config_class(**sizes | ids)).save_pretrained(path)
  return path


def recipe(weights):
  given = config_lib.plain(glue.get_config(TASK))
  model = dict(weights=str(weights))
  return config_lib.complete(
    config_lib.override(given, CHANGES | dict(model=model))
  )


@pytest.mark.parametrize('name', WEIGHTS)
def test_weights_alone_choose_the_family(name, tmp_path):
  weights = folder(tmp_path / 'weights', name)
  result = train(recipe(weights), tmp_path / 'run', 0)
  assert result['step'] == 2 and 0 <= result['primary']['value'] <= 1
  # What it leaves is read by its own record.
  opened = open_run.open_run(tmp_path / 'run')
  rows = [{'sentence': 'the old room is calm'}] * 3
  found = predict.predict_rows(opened, rows).probabilities
  np.testing.assert_allclose(found, found[:1].repeat(3, 0), atol=1e-6)


def test_a_tokenizer_that_ends_no_text_is_refused(tmp_path):
  weights = folder(tmp_path / 'weights', 't5', template='<s> $A')
  with pytest.raises(ValueError) as error:
    train(recipe(weights), tmp_path / 'run', 0)
  text = str(error.value)
  assert "t5 reads the end of a text off token 2 ('</s>'), but" in text
  assert text.count('\n') == 0


@pytest.mark.parametrize(
  ('family', 'kind'),
  [
    ('t5', 'token_classification'),
    ('bart', 'mlm'),
    ('opt', 'sentence_structure'),
  ],
)
def test_a_head_that_a_family_has_not_is_refused(family, kind):
  with pytest.raises(ValueError, match=f"no head of kind '{kind}'; there are"):
    models.build(family, 'tiny', kind=kind, num_outputs=3)
