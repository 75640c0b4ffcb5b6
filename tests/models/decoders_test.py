"""Decoders against `transformers`: logits, padding, folders byte for byte."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers

from glue_jax.layers import spec
from glue_jax.layers.blocks import pre
from glue_jax.layers.embeddings import words
from glue_jax.layers.ffn import gated
from glue_jax.layers.norms import layer, rms, scale_only
from glue_jax.layers.poolers import last_token
from glue_jax.layers.positions import alibi, rotary
from glue_jax.models import gpt2, llama, mpt, opt, qwen2, qwen3
from glue_jax.models import model as models
from glue_jax.weights import huggingface
from tests import quick

SMALL = dict(
  hidden_size=24, intermediate_size=40, num_attention_heads=6,
  num_hidden_layers=2, vocab_size=53, max_position_embeddings=40,
  pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
GROUPED = SMALL | dict(num_key_value_heads=2)
LLAMA_3 = dict(
  rope_type='llama3', rope_theta=300.0, factor=4.0, low_freq_factor=1.0,
  high_freq_factor=3.0, original_max_position_embeddings=16,
)  # fmt: skip
GPT = dict(
  n_embd=24, n_layer=2, n_head=4, vocab_size=53, n_positions=40,
  pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
OPT = SMALL | dict(ffn_dim=40, word_embed_proj_dim=24, eos_token_id=2)
MPT = dict(
  d_model=24, n_layers=2, n_heads=6, vocab_size=53, max_seq_len=40,
  pad_token_id=0,
)  # fmt: skip
# {what is shown: (class, arguments of its config)}.
CASES = {
  'llama': ('Llama', GROUPED),
  'llama, tied, linear': (
    'Llama',
    GROUPED
    | dict(
      tie_word_embeddings=True,
      rope_parameters=dict(rope_type='linear', rope_theta=50.0, factor=3.0),
    ),
  ),
  'llama 3': ('Llama', GROUPED | dict(rope_parameters=LLAMA_3)),
  'qwen2': ('Qwen2', GROUPED),
  'qwen2, windows': (
    'Qwen2',
    GROUPED
    | dict(use_sliding_window=True, sliding_window=3, max_window_layers=1),
  ),
  'qwen3': ('Qwen3', GROUPED | dict(head_dim=6)),
  'gpt2': ('GPT2', GPT),
  'gpt2, inner': ('GPT2', GPT | dict(n_inner=20)),
  'mpt': ('Mpt', MPT),
  'opt': ('OPT', OPT),
  'opt 350m': (
    'OPT',
    OPT | dict(word_embed_proj_dim=10, do_layer_norm_before=False),
  ),
}
LENGTHS = (9, 5, 1)
HEADS = {
  'causal_lm': ('ForCausalLM', {}),
  'classification': ('ForSequenceClassification', {'num_labels': 3}),
  'token_classification': ('ForTokenClassification', {'num_labels': 4}),
  'span': ('ForQuestionAnswering', {}),
  'encoder': ('Model', {}),
}


_SHARED = {
  'block': pre.Block,
  'embeddings': words.Embeddings,
  'pooler': last_token.Pooler,
}
_ROTARY = _SHARED | {
  'ffn': gated.FFN,
  'norm': rms.Norm,
  'positions': rotary.Positions,
}
MADE_OF = {
  gpt2: _SHARED | {'norm': layer.Norm},
  llama: _ROTARY,
  opt: {'embeddings': words.Embeddings, 'pooler': last_token.Pooler},
  mpt: _SHARED | {'norm': scale_only.Norm, 'positions': alibi.Positions},
  qwen2: _ROTARY,
  qwen3: _ROTARY,
}


@pytest.mark.parametrize(
  'family', MADE_OF, ids=lambda family: family.MODEL_TYPE
)
def test_a_folders_config_names_the_parts(family):
  """And comes back whole from what is written of it."""
  for config in family.PRESETS.values():
    again = family.config_from_hf(family.config_to_hf(config))
    assert not huggingface.differences(config, again)
    for slot, part in MADE_OF[family].items():
      assert spec.part(slot, getattr(again, slot)) is part


def theirs(case, kind='causal_lm'):
  """A random model of the library."""
  name, arguments = CASES[case]
  suffix, more = HEADS[kind]
  if name == 'GPT2' and kind == 'causal_lm':
    suffix = 'LMHeadModel'
  config = getattr(transformers, f'{name}Config')(**arguments | more)
  torch.manual_seed(0)
  model = getattr(transformers, name + suffix)(config)
  with torch.no_grad():
    for parameter in model.parameters():
      parameter.add_(0.1 * torch.randn_like(parameter))
  return model.eval()


def batch(side):
  rng = np.random.default_rng(1)
  width = max(LENGTHS)
  ids = np.zeros((len(LENGTHS), width), np.int32)
  mask = np.zeros_like(ids)
  for row, length in enumerate(LENGTHS):
    real = slice(width - length, None) if side == 'left' else slice(0, length)
    ids[row, real] = rng.integers(3, 53, length)
    mask[row, real] = 1
  return {'input_ids': ids, 'attention_mask': mask}


def opened(folder, kind, outputs=0):
  name, config, _ = huggingface.read_hf_config(folder)
  model = models.build(name, kind=kind, num_outputs=outputs, config=config)
  params, missing = huggingface.load_hf(folder, model)
  assert not missing
  return model, params


def their_outputs(model, given, **more):
  mask = given['attention_mask']
  places = np.maximum(mask.cumsum(1) - 1, 0)
  inputs = {key: torch.tensor(x).long() for key, x in given.items()}
  if model.config.model_type != 'mpt':
    inputs['position_ids'] = torch.tensor(places)
  with torch.no_grad():
    return model(**inputs, **more)


@pytest.mark.parametrize('side', ['left', 'right'])
@pytest.mark.parametrize('case', CASES)
def test_logits_are_the_librarys_with_padding_on_either_side(
  case, side, tmp_path
):
  peer = theirs(case)
  peer.save_pretrained(tmp_path)
  model, params = opened(tmp_path, 'causal_lm')
  given = batch(side)
  ours = quick.jit(model.apply)({'params': params}, given)
  found = their_outputs(peer, given, output_hidden_states=True)
  real = given['attention_mask'] == 1
  for mine, other in (
    (ours['logits'], found.logits),
    (ours['last_hidden'], found.hidden_states[-1]),
  ):
    np.testing.assert_allclose(
      np.asarray(mine)[real], other.numpy()[real], atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize(
  ('case', 'kind'),
  [
    *itertools.product(['llama', 'qwen3', 'gpt2', 'mpt'], HEADS),
    ('opt', 'encoder'),
    ('opt 350m', 'causal_lm'),
    ('opt 350m', 'classification'),
    ('opt', 'span'),
  ],
)
def test_a_folder_comes_back_byte_for_byte(case, kind, tmp_path):
  """Every head of the library: read, equal outputs, written, equal files."""
  peer = theirs(case, kind)
  peer.save_pretrained(tmp_path / 'theirs')
  outputs = HEADS[kind][1].get('num_labels', 0)
  model, params = opened(tmp_path / 'theirs', kind, outputs)
  given = batch('right')
  ours = quick.jit(model.apply)({'params': params}, given)
  found = their_outputs(peer, given)
  real = given['attention_mask'] == 1
  names = {'encoder': {'last_hidden': 'last_hidden_state'}}.get(
    kind, {'logits': 'logits'}
  )
  if kind == 'span':
    names = {f'{edge}_logits': f'{edge}_logits' for edge in ('start', 'end')}
  for mine, other in names.items():
    a, b = np.asarray(ours[mine]), found[other].numpy()
    if kind != 'classification':
      a, b = a[real], b[real]
    np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4)
  huggingface.save_hf(tmp_path / 'ours', model, params)
  before, after = (
    safetensors.numpy.load_file(tmp_path / name / 'model.safetensors')
    for name in ('theirs', 'ours')
  )
  assert before.keys() == after.keys()
  for name, value in before.items():
    np.testing.assert_array_equal(value, after[name], err_msg=name)
  again = type(peer).from_pretrained(tmp_path / 'ours').eval()
  assert their_equal(their_outputs(again, given)[0], found[0])


def their_equal(a, b):
  return torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize('case', ['qwen2, windows', 'gpt2', 'mpt'])
def test_padding_on_the_left_changes_nothing(case, tmp_path):
  theirs(case).save_pretrained(tmp_path)
  model, params = opened(tmp_path, 'causal_lm')
  left = batch('left')
  whole = quick.jit(model.apply)({'params': params}, left)['logits']
  for row, length in enumerate(LENGTHS):
    ids = left['input_ids'][row : row + 1, -length:]
    alone = quick.jit(model.apply)({'params': params}, {'input_ids': ids})[
      'logits'
    ]
    np.testing.assert_allclose(whole[row, -length:], alone[0], atol=1e-5)


@pytest.mark.parametrize(
  ('case', 'change', 'words'),
  [
    ('llama', {'attention_bias': True}, 'attention_bias=True'),
    ('llama', {'rope_parameters': {'rope_type': 'yarn'}}, "'yarn'"),
    (
      'llama',
      {'rope_parameters': {'rope_type': 'linear', 'rope_theta': 9.0}},
      "expected ['factor']",
    ),
    ('llama', {'hidden_act': 'swiglu'}, "hidden_act='swiglu'"),
    ('gpt2', {'scale_attn_by_inverse_layer_idx': True}, 'inverse_layer'),
    ('gpt2', {'embd_pdrop': 0.3}, 'embd_pdrop=0.3'),
    ('opt', {'enable_bias': False}, 'enable_bias=False'),
    ('opt', {'_remove_final_layer_norm': True}, '_remove_final_layer_norm'),
    ('mpt', {'expansion_ratio': 2}, 'expansion_ratio=2'),
    ('mpt', {'attn_config': {'clip_qkv': 6}}, 'attn_config.clip_qkv=6'),
    ('mpt', {'attn_config': {'alibi': False}}, 'attn_config.alibi=False'),
    ('qwen2', {'use_sliding_window': True, 'sliding_window': 4,
               'layer_types': ['chunked', 'chunked']}, 'chunked'),
  ],
)  # fmt: skip
def test_what_a_folder_asks_and_is_not_done_is_refused(
  case, change, words, tmp_path
):
  name, arguments = CASES[case]
  config = getattr(transformers, f'{name}Config')(**arguments).to_dict()
  (tmp_path / 'config.json').write_text(json.dumps(config | change))
  with pytest.raises(ValueError) as error:
    huggingface.read_hf_config(tmp_path)
  assert words in str(error.value)


def test_a_config_of_one_layer_has_its_own_values():
  config = models.build('llama', 'tiny').config
  mixed = dataclasses.replace(config, per_layer=(('window', (None, 3)),))
  assert [mixed.layer(i).window for i in (0, 1)] == [None, 3]
  with pytest.raises(ValueError, match='2 layers'):
    dataclasses.replace(config, per_layer=(('window', (1,)),))
  with pytest.raises(ValueError, match="'widow'"):
    dataclasses.replace(config, per_layer=(('widow', (1, 2)),))


def test_a_stack_of_the_first_token_is_refused():
  for family, sizes in (('llama', {}), ('modernbert', {'pooler': 'mean'})):
    with pytest.raises(ValueError, match="give model.stack='plain'"):
      models.build(
        family, 'tiny', kind='regression', stack='first_token', **sizes
      )


def test_heads_of_keys_must_divide_those_of_queries():
  model = models.build('llama', 'tiny', num_kv_heads=3)
  with pytest.raises(ValueError, match='num_kv_heads=3 does not divide'):
    model.init(jax.random.key(0), {'input_ids': jnp.ones((1, 2), jnp.int32)})
