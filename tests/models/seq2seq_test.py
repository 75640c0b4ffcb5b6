"""Encoder-decoders against `transformers`: heads, padding, folders, sizes."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers

from glue_jax import tree
from glue_jax.layers import spec
from glue_jax.layers.embeddings import normed, words
from glue_jax.layers.poolers import end_token
from glue_jax.models import bart, stack, t5
from glue_jax.models import model as models
from glue_jax.weights import huggingface
from tests import quick
from tests.models.decoders_test import opened

BART = dict(
  vocab_size=53, d_model=24, encoder_layers=2, decoder_layers=1,
  encoder_attention_heads=3, decoder_attention_heads=2, encoder_ffn_dim=40,
  decoder_ffn_dim=36, max_position_embeddings=20,
)  # fmt: skip
T5 = dict(
  vocab_size=53, d_model=24, d_kv=6, d_ff=40, num_layers=2,
  num_decoder_layers=1, num_heads=3, relative_attention_num_buckets=8,
  relative_attention_max_distance=9, decoder_start_token_id=0,
)  # fmt: skip
# {what is shown: (class, arguments of its config)}.
CASES = {
  'bart': ('Bart', BART),
  'bart, scaled': ('Bart', BART | dict(scale_embedding=True)),
  't5 1.0': ('T5', T5),
  't5 1.1': (
    'T5',
    T5 | dict(feed_forward_proj='gated-gelu', tie_word_embeddings=False),
  ),
  't5, silu': ('T5', T5 | dict(feed_forward_proj='gated-silu')),
}
HEADS = {
  'encoder': ('Model', 0),
  'seq2seq_lm': ('ForConditionalGeneration', 0),
  'classification': ('ForSequenceClassification', 3),
  'regression': ('ForSequenceClassification', 1),
  'span': ('ForQuestionAnswering', 2),
}
LENGTHS = (9, 5, 2)


def theirs(case, kind='seq2seq_lm'):
  """A random model of the library."""
  name, arguments = CASES[case]
  suffix, outputs = HEADS[kind]
  more = {'num_labels': outputs} if outputs else {}
  config = getattr(transformers, f'{name}Config')(**arguments | more)
  torch.manual_seed(0)
  model = getattr(transformers, name + suffix)(config)
  if (case, kind) == ('t5 1.1', 'seq2seq_lm'):
    # The library ties it, but for files that hold two of them.
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
  with torch.no_grad():
    for tensor in (*model.parameters(), *model.buffers()):
      tensor.add_(0.2 * torch.randn_like(tensor))
  return model.eval()


def untied(peer, folder):
  """Says of a head of its own what files of 1.1 do."""
  head = getattr(peer, 'lm_head', None)
  if head is not None and head.weight is not peer.get_input_embeddings().weight:
    path = folder / 'config.json'
    said = json.loads(path.read_text()) | {'tie_word_embeddings': False}
    path.write_text(json.dumps(said))


def batch(config):
  """Rows of several lengths, each with its end token."""
  rng = np.random.default_rng(1)
  ids = np.full((len(LENGTHS), max(LENGTHS)), config.pad_token_id, np.int32)
  for row, length in enumerate(LENGTHS):
    ids[row, :length] = rng.integers(4, 53, length)
    ids[row, length - 1] = config.eos_token_id
  return {
    'input_ids': ids,
    'attention_mask': (ids != config.pad_token_id).astype(np.int32),
  }


def their_outputs(model, given):
  with torch.no_grad():
    return model(**{key: torch.tensor(x).long() for key, x in given.items()})


def compared(kind):
  """{our output: theirs}."""
  if kind == 'encoder':
    return {
      'last_hidden': 'last_hidden_state',
      'encoder_last_hidden': 'encoder_last_hidden_state',
    }
  if kind == 'span':
    return {f'{edge}_logits': f'{edge}_logits' for edge in ('start', 'end')}
  return {'logits': 'logits'}


# Every head once, the further cases with those of the stacks.
SHOWN = [
  *(('bart', kind) for kind in HEADS if kind != 'regression'),
  ('bart, scaled', 'seq2seq_lm'),
  *(('t5 1.0', kind) for kind in HEADS if kind != 'seq2seq_lm'),
  ('t5 1.1', 'seq2seq_lm'),
  ('t5, silu', 'seq2seq_lm'),
]


@pytest.mark.parametrize(('case', 'kind'), SHOWN)
def test_outputs_are_the_librarys_and_folders_come_back(case, kind, tmp_path):
  peer = theirs(case, kind)
  peer.save_pretrained(tmp_path / 'theirs')
  untied(peer, tmp_path / 'theirs')
  model, params = opened(tmp_path / 'theirs', kind, HEADS[kind][1])
  given = batch(peer.config)
  if kind in ('seq2seq_lm', 'encoder'):
    written = np.random.default_rng(2).integers(4, 53, (3, 4), np.int32)
    given['decoder_input_ids'] = written
  ours = quick.jit(model.apply)({'params': params}, given)
  found = their_outputs(peer, given)
  real = given['attention_mask'] == 1
  for mine, other in compared(kind).items():
    a, b = np.asarray(ours[mine]), found[other].numpy()
    if kind == 'regression':
      b = b[:, 0]
    if kind == 'span' or mine.startswith('encoder'):
      a, b = a[real], b[real]
    np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4, err_msg=mine)
  huggingface.save_hf(tmp_path / 'ours', model, params)
  before, after = (
    safetensors.numpy.load_file(tmp_path / name / 'model.safetensors')
    for name in ('theirs', 'ours')
  )
  assert before.keys() == after.keys()
  for name, value in before.items():
    np.testing.assert_array_equal(value, after[name], err_msg=name)
  again = type(peer).from_pretrained(tmp_path / 'ours').eval()
  assert torch.allclose(their_outputs(again, given)[0], found[0], atol=1e-5)


def test_a_head_of_its_own_in_a_folder_that_says_it_is_tied(tmp_path):
  """As the library's version 5 writes T5 1.1."""
  theirs('t5 1.1').save_pretrained(tmp_path)
  with pytest.raises(ValueError, match='not tied\nmodel.tied=False takes'):
    opened(tmp_path, 'seq2seq_lm')
  config = huggingface.read_hf_config(tmp_path)[1]
  model = models.build('t5', kind='seq2seq_lm', config=config, tied=False)
  params, missing = huggingface.load_hf(tmp_path, model)
  assert not missing and 'words' in params['head']


def test_padding_on_either_side_of_t5_changes_nothing(tmp_path):
  peer = theirs('t5 1.0')
  peer.save_pretrained(tmp_path)
  model, params = opened(tmp_path, 'seq2seq_lm')
  right = batch(peer.config) | {'decoder_input_ids': np.full((3, 2), 5)}
  turned = {
    key: np.stack([np.roll(x, -n) for x, n in zip(right[key], LENGTHS)])
    for key in ('input_ids', 'attention_mask')
  }
  assert not turned['attention_mask'][1:, 0].any()
  run = quick.jit(model.apply)
  a, b = (
    run({'params': params}, given)['logits']
    for given in (right, right | turned)
  )
  np.testing.assert_allclose(a, b, atol=1e-5)


def test_encoding_once_is_the_whole_model():
  """What generation does: `encode`, then `decode` as often as wanted."""
  model = models.build('bart', 'tiny', kind='language_modeling', num_layers=1)
  given = {'input_ids': np.array([[0, 7, 8, 2, 1]], np.int32)}
  params = model.init(jax.random.key(0), given)
  whole = model.apply(params, given)
  memory = model.apply(params, given, method='encode')['last_hidden']
  # The input, one position later, is the decoder's where none is given.
  later = given | {'decoder_input_ids': np.array([[2, 0, 7, 8, 2]])}
  parts = model.apply(params, later, memory, method='decode')
  np.testing.assert_array_equal(whole['logits'], parts['logits'])
  assert whole['logits'].shape == (1, 5, model.config.vocab_size)


def test_shifted_ids_have_no_negative_ones():
  config = models.build('bart', 'tiny').config
  ids = np.array([[5, 6, 2, -100], [7, 2, -100, -100]])
  np.testing.assert_array_equal(
    stack.shifted(ids, config), [[2, 5, 6, 2], [2, 7, 2, 1]]
  )


MADE_OF = {
  bart: {'embeddings': normed.Embeddings, 'pooler': end_token.Pooler},
  t5: {'embeddings': words.Embeddings, 'pooler': end_token.Pooler},
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


def test_fresh_weights_of_t5_have_its_spread():
  model = models.build('t5', 'tiny', kind='seq2seq_lm', num_layers=1)
  batch = models.example_batch(model)
  drawn = tree.flatten(model.init(jax.random.key(0), batch)['params'])
  config = model.config
  for name, variance in {
    'encoder/embeddings/word/embedding': 1,
    'head/words/kernel': 1 / 64,
    'encoder/layer_0/mixer/query/kernel': 1 / 64 / 16,
    'decoder/layer_0/cross/key/kernel': 1 / 64,
    'decoder/layer_0/mixer/attn_out/kernel': 1 / 64,
    'encoder/layer_0/ffn/ffn_out/kernel': 1 / 128,
    'encoder/positions/embedding': 1 / 64,
  }.items():
    assert np.var(drawn[name]) == pytest.approx(variance, rel=0.2), name
  assert config.of_decoder.causal and not config.causal


def test_what_the_decoder_differs_in_is_a_field():
  config = models.build('bart', 'tiny', decoder={'num_layers': 3}).config
  assert (config.num_layers, config.of_decoder.num_layers) == (2, 3)
  assert config.of_decoder.num_heads == config.num_heads
  with pytest.raises(ValueError, match=r"model.decoder: nothing reads \['dep"):
    models.build('bart', 'tiny', decoder={'depth': 3})
