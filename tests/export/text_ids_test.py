"""Exports of decoders know which tokens begin and end a text."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import transformers

from glue_jax import tree
from glue_jax.data import tokenizing
from glue_jax.export import huggingface, text_ids
from glue_jax.models import model as models
from tests import gguf_files
from tests.weights.gguf_test import peer

DECODERS = ('gpt2', 'llama', 'qwen2', 'qwen3', 'mpt', 'opt')


@pytest.fixture(scope='module')
def file(tmp_path_factory):
  """A GGUF file whose texts begin with token 1 and end with token 0."""
  path = tmp_path_factory.mktemp('source') / 'x.gguf'
  return gguf_files.of_model(path, peer())


def run_of(source, tokenizer, family='llama', kind='causal_lm'):
  """What is read of a run that was tuned from the source."""
  model = models.build(
    family, 'tiny', kind=kind, num_layers=1, vocab_size=tokenizer.vocab_size
  )
  return SimpleNamespace(
    begun=SimpleNamespace(model={'weights': str(source or '')}),
    decisions=None,
    workdir='run',
    model=model,
    task=SimpleNamespace(labels=(), kind='generation'),
    tokenizer=tokenizer,
  )


def folder_of(tokenizer, folder, **ids):
  """A source that says the ids in both of its files."""
  tokenizer.save(folder)
  for name in ('config.json', text_ids.GENERATION):
    (folder / name).write_text(json.dumps(ids | {'top_k': 7}))
  return folder


@pytest.mark.parametrize('family', DECODERS)
def test_transformers_knows_the_end(family, file, tmp_path):
  run = run_of(file, tokenizing.get_tokenizer(file), family)
  run.params = tree.map_named(
    lambda _, leaf: np.zeros(leaf.shape, np.float32),
    tree.unflatten(models.shapes(run.model)),
  )
  huggingface.save_hf(run, tmp_path, '')
  theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
  for config in (theirs.config, theirs.generation_config):
    assert (config.bos_token_id, config.eos_token_id) == (1, 0)


def test_the_sources_ids_and_how_it_writes_are_kept(file, tmp_path):
  tokenizer = tokenizing.get_tokenizer(file)
  ids = dict(bos_token_id=5, eos_token_id=[0, 7])
  run = run_of(folder_of(tokenizer, tmp_path, **ids), tokenizer)
  (tmp_path / 'out').mkdir()
  assert text_ids.of_config(run) == ids
  text_ids.copy_generation(run, tmp_path / 'out')
  written = json.loads((tmp_path / 'out' / text_ids.GENERATION).read_text())
  assert written == ids | {'top_k': 7}


def test_a_text_may_end_as_it_was_learnt(file, tmp_path):
  tokenizer = tokenizing.get_tokenizer(file)
  run = run_of(folder_of(tokenizer, tmp_path, eos_token_id=7), tokenizer)
  assert text_ids.of_config(run) == dict(bos_token_id=1, eos_token_id=[7, 0])


def test_ids_of_other_tokens_are_not_taken_over(file, tmp_path):
  """The run reads with another tokenizer than its source's."""
  tokenizer = tokenizing.get_tokenizer(file)
  folder = folder_of(tokenizer, tmp_path, bos_token_id=5, eos_token_id=7)
  run = run_of(folder, tokenizer)
  other = {token: i for i, token in enumerate(reversed(tokenizer.vocab))}
  run.tokenizer = SimpleNamespace(
    vocab=other, tokens=tokenizer.tokens, settings=tokenizer.settings
  )
  bos, eos = (other[gguf_files.TOKENS[i]] for i in (1, 0))
  assert text_ids.of_config(run) == dict(bos_token_id=bos, eos_token_id=eos)
  (tmp_path / 'out').mkdir()
  text_ids.copy_generation(run, tmp_path / 'out')
  assert not list((tmp_path / 'out').iterdir())


def test_an_encoder_writes_no_texts(file):
  tokenizer = tokenizing.get_tokenizer(file)
  assert text_ids.of_config(run_of(file, tokenizer, 'bert', 'encoder')) == {}
