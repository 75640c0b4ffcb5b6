"""Encoders against `transformers`: every head, folders byte for byte."""

import json

import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers

from glue_jax.layers import spec
from glue_jax.layers.blocks import convolved, post
from glue_jax.layers.embeddings import deberta, normed
from glue_jax.layers.mixers import disentangled
from glue_jax.layers.poolers import first_token, mean, tanh
from glue_jax.layers.positions import relative_buckets, relative_table
from glue_jax.models import (
  albert,
  deberta_v2,
  distilbert,
  modernbert,
  mpnet,
  xlm_roberta,
)
from glue_jax.models import model as models
from glue_jax.weights import huggingface
from tests import quick

SMALL = dict(
  hidden_size=24, intermediate_size=40, num_attention_heads=3,
  num_hidden_layers=3, vocab_size=53, max_position_embeddings=40,
)  # fmt: skip
DEBERTA = SMALL | dict(
  relative_attention=True, position_buckets=8, norm_rel_ebd='layer_norm',
  share_att_key=True, pos_att_type='p2c|c2p', position_biased_input=False,
)  # fmt: skip
# {what is shown: (class, arguments of its config)}.
CASES = {
  'deberta v3': ('DebertaV2', DEBERTA),
  'deberta v2': (
    'DebertaV2',
    DEBERTA
    | dict(
      conv_kernel_size=3, conv_act='gelu', embedding_size=10,
      type_vocab_size=2, position_biased_input=True,
    ),
  ),
  'deberta, one term': (
    'DebertaV2',
    DEBERTA
    | dict(pos_att_type=['c2p'], share_att_key=False, position_buckets=-1),
  ),
  'deberta, absolute': ('DebertaV2', SMALL | dict(type_vocab_size=0)),
  'xlm-roberta': (
    'XLMRoberta', SMALL | dict(pad_token_id=1, type_vocab_size=1)
  ),
  'distilbert': (
    'DistilBert',
    dict(dim=24, hidden_dim=40, n_heads=3, n_layers=2, vocab_size=53,
         max_position_embeddings=40, dropout=0.2),
  ),
  'albert': ('Albert', SMALL | dict(embedding_size=10)),
  'mpnet': (
    'MPNet', SMALL | dict(pad_token_id=1)
  ),
  'modernbert': (
    'ModernBert',
    SMALL
    | dict(local_attention=4, pad_token_id=0, global_attn_every_n_layers=2),
  ),
  'modernbert, mean': (
    'ModernBert',
    SMALL
    | dict(local_attention=6, pad_token_id=0, classifier_pooling='mean'),
  ),
}  # fmt: skip
HEADS = {
  'encoder': ('Model', 0),
  'classification': ('ForSequenceClassification', 3),
  'regression': ('ForSequenceClassification', 1),
  'multiple_choice': ('ForMultipleChoice', 0),
  'token_classification': ('ForTokenClassification', 4),
  'span': ('ForQuestionAnswering', 0),
  'mlm': ('ForMaskedLM', 0),
  'sentence_structure': ('ForPreTraining', 2),
}
# Of the other cases the encoder and one head are enough.
EVERY_HEAD = ('deberta v3', 'distilbert', 'albert', 'mpnet', 'modernbert')
PAIRS = [
  (case, kind)
  for case in CASES
  for kind in HEADS
  if (kind != 'sentence_structure' or case == 'albert')
  and (case in EVERY_HEAD or kind in ('encoder', 'classification'))
  and not (case.startswith('deberta') and kind == 'regression')
]


# {family: what a folder of it is made of, where BERT's parts aren't}.
MADE_OF = {
  albert: {'pooler': tanh.Pooler},
  deberta_v2: {
    'embeddings': deberta.Embeddings,
    'mixer': disentangled.Mixer,
    'positions': relative_table.Positions,
  },
  distilbert: {},
  modernbert: {
    'embeddings': normed.Embeddings,
    'pooler': first_token.Pooler,
  },
  mpnet: {'positions': relative_buckets.Positions},
  xlm_roberta: {},
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


def test_parts_that_some_sizes_alone_have():
  config = deberta_v2.PRESETS['v2_xlarge']
  assert spec.part('block', config.layer(0).block) is convolved.Block
  assert spec.part('block', config.layer(1).block) is post.Block
  told = modernbert.config_to_hf(modernbert.PRESETS['tiny'])
  config = modernbert.config_from_hf(told | {'classifier_pooling': 'mean'})
  assert spec.part('pooler', config.pooler) is mean.Pooler


def theirs(case, kind):
  """A random model of the library."""
  name, arguments = CASES[case]
  suffix, outputs = HEADS[kind]
  more = {'num_labels': outputs} if outputs else {}
  config = getattr(transformers, f'{name}Config')(**arguments | more)
  torch.manual_seed(0)
  model = getattr(transformers, name + suffix)(config)
  with torch.no_grad():
    for parameter in model.parameters():
      parameter.add_(0.1 * torch.randn_like(parameter))
  return model.eval()


def batch(pad, types, choices=False):
  rng = np.random.default_rng(1)
  width, lengths = 12, (12, 7, 1, 9)
  ids = np.full((len(lengths), width), pad, np.int32)
  for row, length in enumerate(lengths):
    ids[row, :length] = rng.integers(3, 53, length)
  mask = (np.arange(width) < np.array(lengths)[:, None]).astype(np.int32)
  given = {'input_ids': ids, 'attention_mask': mask}
  if types:
    given['token_type_ids'] = (mask * (np.arange(width) > 3)).astype(np.int32)
  if choices:
    given = {key: x.reshape(2, 2, width) for key, x in given.items()}
  return given


@pytest.mark.parametrize(('case', 'kind'), PAIRS)
def test_outputs_and_folders_are_the_librarys(case, kind, tmp_path):
  peer = theirs(case, kind)
  peer.save_pretrained(tmp_path / 'theirs')
  name, config, _ = huggingface.read_hf_config(tmp_path / 'theirs')
  model = models.build(
    name, kind=kind, num_outputs=HEADS[kind][1], config=config
  )
  params, missing = huggingface.load_hf(tmp_path / 'theirs', model)
  assert not missing
  types = config.type_vocab_size > 1
  given = batch(config.pad_id, types, kind == 'multiple_choice')
  ours = quick.jit(model.apply)({'params': params}, given)
  inputs = {key: torch.tensor(x).long() for key, x in given.items()}
  with torch.no_grad():
    found = peer(**inputs)
  names = {'logits': 'logits'}
  if kind == 'sentence_structure':
    names = {'logits': 'prediction_logits', 'structure_logits': 'sop_logits'}
  if kind == 'span':
    names = {f'{edge}_logits': f'{edge}_logits' for edge in ('start', 'end')}
  if kind == 'encoder':
    names = {'last_hidden': 'last_hidden_state'}
    if 'pooler_output' in found:
      names['pooled'] = 'pooler_output'
  real = given['attention_mask'] == 1
  for mine, other in names.items():
    a, b = np.asarray(ours[mine]), found[other].numpy()
    if kind == 'regression':
      b = b[:, 0]
    if a.shape[:2] == real.shape:  # of every token
      a, b = a[real], b[real]
    np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4)

  huggingface.save_hf(tmp_path / 'ours', model, params)
  before, after = (
    safetensors.numpy.load_file(tmp_path / folder / 'model.safetensors')
    for folder in ('theirs', 'ours')
  )
  unused = {n for n in before.keys() - after.keys() if 'pooler' in n}
  assert before.keys() - unused == after.keys()
  for tensor, value in after.items():
    np.testing.assert_array_equal(value, before[tensor], err_msg=tensor)
  again = type(peer).from_pretrained(tmp_path / 'ours').eval()
  with torch.no_grad():
    assert torch.allclose(again(**inputs)[0], found[0], atol=1e-5)


@pytest.mark.parametrize(
  ('case', 'change', 'words'),
  [
    ('deberta v3', {'pos_att_type': 'p2p|c2p'}, "['p2p']"),
    ('deberta v3', {'pooler_dropout': 0.1}, 'pooler_dropout=0.1'),
    ('deberta v3', {'legacy': False}, 'legacy=False'),
    ('deberta v2', {'conv_act': 'mish'}, "conv_act='mish'"),
    ('deberta v2', {'conv_groups': 2}, 'conv_groups=2'),
    ('albert', {'num_hidden_groups': 2}, 'num_hidden_groups=2'),
    ('albert', {'embedding_size': 24}, 'narrower'),
    ('mpnet', {'pad_token_id': 0}, 'pad_token_id=0'),
    ('mpnet', {'relative_attention_num_buckets': 8}, 'buckets=8'),
    ('modernbert', {'attention_bias': True}, 'attention_bias=True'),
    ('modernbert', {'classifier_pooling': 'max'}, "'max'"),
    ('modernbert', {'embedding_dropout': 0.1}, 'embedding_dropout=0.1'),
    (
      'modernbert',
      {'rope_parameters': {'full_attention': {'rope_type': 'yarn'}}},
      "'yarn'",
    ),
  ],
)
def test_what_a_folder_asks_and_is_not_done_is_refused(
  case, change, words, tmp_path
):
  name, arguments = CASES[case]
  config = getattr(transformers, f'{name}Config')(**arguments).to_dict()
  (tmp_path / 'config.json').write_text(json.dumps(config | change))
  with pytest.raises(ValueError) as error:
    huggingface.read_hf_config(tmp_path)
  assert words in str(error.value)


def test_layers_that_are_one_have_one_set_of_leaves():
  model = models.build('albert', 'tiny', num_layers=5)
  layers = {name.split('/')[1] for name in models.shapes(model)}
  assert {name for name in layers if 'layer' in name} == {'layer_0'}
