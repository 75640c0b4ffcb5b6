"""Folders that `peft` wrote: its own logits, or a refusal by name."""

import json

import jax.numpy as jnp
import numpy as np
import peft
import pytest
import safetensors.numpy
import transformers

from glue_jax.config import config
from glue_jax.weights import peft_folder
from tests import peft_models

ATTENTION = r'bert.encoder.layer.\d+.attention.self'
QV = ['query', 'value']


def lora(**settings):
  given = dict(task_type='SEQ_CLS', r=3, target_modules=QV) | settings
  return peft.LoraConfig(**given)


READ = {
  'list': lora(lora_alpha=8),
  'defaults': lora(target_modules=None),
  'all-linear': lora(target_modules='all-linear'),
  'regex': lora(target_modules=rf'.*{ATTENTION}\.(query|key)'),
  'dense': lora(target_modules=['dense'], modules_to_save=['classifier']),
  'uneven': lora(target_modules=['0.attention.self.query', '1.output.dense']),
  'excluded list': lora(
    target_modules=['dense'], exclude_modules=['pooler.dense', '0.output.dense']
  ),
  'excluded regex': lora(exclude_modules=r'.*layer\.1.*value'),
  'layers': lora(layers_to_transform=[1]),
  'layer, pattern': lora(layers_to_transform=0, layers_pattern='layer'),
  'ranks': lora(
    rank_pattern={'layer.0.attention.self.query': 5, r'.*1.*value': 2}
  ),
  'alphas': lora(alpha_pattern={'0.attention.self.query': 32, 'value': 1}),
  'rsLoRA': lora(use_rslora=True, rank_pattern={'value': 2}),
  'DoRA': lora(use_dora=True, rank_pattern={'value': 2}, lora_alpha=5),
  'DoRA, all-linear': lora(use_dora=True, target_modules='all-linear'),
  'all biases': lora(bias='all'),
  'all biases, pooler': lora(bias='all', modules_to_save=['pooler']),
  'their biases': lora(bias='lora_only', layers_to_transform=[0]),
  'pooler saved': lora(modules_to_save=['classifier', 'pooler']),
  'norms and words saved': lora(
    modules_to_save=['attention.output.LayerNorm', 'word_embeddings']
  ),
  'tables': lora(target_modules=['query', 'word_embeddings'], use_rslora=True),
  'the head alone': lora(task_type=None, target_modules=['classifier']),
  'random start': lora(init_lora_weights=False),
  'orthogonal': lora(init_lora_weights='orthogonal', r=2),
  'mica': lora(init_lora_weights='mica', r=2),
  'ia3': peft.IA3Config(task_type='SEQ_CLS'),
  'ia3 of the paper': peft.IA3Config(
    task_type='SEQ_CLS',
    target_modules=rf'{ATTENTION}.(key|value)|.*layer.\d+.output.dense',
    feedforward_modules=r'.*layer.\d+.output.dense',
    modules_to_save=['classifier', 'pooler'],
  ),
}
PROMPTS = {
  'prefix': peft.PrefixTuningConfig(task_type='SEQ_CLS', num_virtual_tokens=2),
  'prefix, projection': peft.PrefixTuningConfig(
    task_type='SEQ_CLS',
    num_virtual_tokens=2,
    prefix_projection=True,
    encoder_hidden_size=12,
  ),
  'prompt': peft.PromptTuningConfig(task_type='SEQ_CLS', num_virtual_tokens=2),
}
# What peft can write and is refused: by which words.
REFUSED = {
  'pissa': (
    lora(init_lora_weights='pissa'),
    "init_lora_weights='pissa' changes the weights",
  ),
  'pissa, fast': (
    lora(init_lora_weights='pissa_niter_2'),
    "init_lora_weights='pissa_niter_2' changes",
  ),
  'olora': (lora(init_lora_weights='olora'), "init_lora_weights='olora'"),
  'bias of B': (lora(lora_bias=True), "nothing here does {'lora_bias': True}"),
  'tokens': (
    lora(trainable_token_indices={'word_embeddings': [3]}),
    "nothing here does {'trainable_token_indices'",
  ),
  'replicated': (
    lora(layer_replication=[[0, 2], [0, 1]]),
    "nothing here does {'layer_replication'",
  ),
  'DoRA of a table': (
    lora(use_dora=True, target_modules=['word_embeddings']),
    r"use_dora=True of the tables \['bert.embeddings.word_embeddings'\]",
  ),
  'ia3 of the key': (
    peft.IA3Config(
      task_type='SEQ_CLS', target_modules=['key'], feedforward_modules=[]
    ),
    r"target_modules=\['key'\] with feedforward_modules=\[\]",
  ),
}


@pytest.fixture(scope='module')
def home(tmp_path_factory):
  folder = tmp_path_factory.mktemp('backbone')
  peft_models.save(folder)
  return folder


@pytest.mark.parametrize('case', READ)
def test_merged_logits_are_those_of_peft(case, home, tmp_path):
  base = peft_models.load(home)
  tuned = peft_models.tune(base, READ[case])
  tuned.save_pretrained(tmp_path)
  name, settings, leaves = peft_folder.read(tmp_path, peft_models.build())
  ours = peft_models.merged_logits(name, settings, leaves)
  np.testing.assert_allclose(ours, peft_models.their_logits(tuned), atol=1e-4)
  # The settings give a method with these leaves, and all of them learn.
  shapes, learning = peft_models.abstract(name, settings)
  whole = {n for n in leaves if name == 'ia3' and n.startswith('pooler/')}
  head = {n for n in learning if n.startswith('head/')}
  assert learning - head <= leaves.keys() <= learning | whole
  assert head <= leaves.keys() or READ[case].task_type is None
  assert all(leaves[n].shape == shapes[n] for n in leaves)


@pytest.mark.parametrize('case', PROMPTS)
def test_prompted_logits_are_those_of_peft(case, home, tmp_path):
  tuned = peft_models.tune(peft_models.load(home), PROMPTS[case])
  tuned.save_pretrained(tmp_path)
  name, settings, leaves = peft_folder.read(tmp_path, peft_models.build())
  ours = peft_models.our_logits(name, settings, leaves)
  np.testing.assert_allclose(ours, peft_models.their_logits(tuned), atol=1e-4)


@pytest.mark.parametrize('case', REFUSED)
def test_what_has_no_counterpart_is_refused_by_name(case, home, tmp_path):
  settings, message = REFUSED[case]
  peft_models.tune(peft_models.load(home), settings).save_pretrained(tmp_path)
  with pytest.raises(ValueError, match=message):
    peft_folder.read(tmp_path, peft_models.build())


@pytest.mark.parametrize('init', ['pissa', 'olora'])
def test_what_peft_converted_is_plain_lora(init, home, tmp_path):
  # Without a head: peft loses it here.
  settings = lora(task_type=None, init_lora_weights=init, r=2)
  start, end = tmp_path / 'start', tmp_path / 'end'
  base = peft.get_peft_model(peft_models.load(home), settings)
  base.save_pretrained(start)
  tuned = peft_models.tune(peft_models.load(home), settings)
  tuned.save_pretrained(end, path_initial_model_for_weight_conversion=start)
  name, found, leaves = peft_folder.read(end, peft_models.build())
  assert found['rank'] == 4
  ours = peft_models.merged_logits(name, found, leaves)
  np.testing.assert_allclose(ours, peft_models.their_logits(tuned), atol=1e-4)


def test_an_adapter_of_the_bare_encoder_has_no_head(home, tmp_path):
  base = peft_models.load(home, transformers.BertModel)
  settings = lora(
    task_type='FEATURE_EXTRACTION',
    target_modules=r'encoder\..*query',
    bias='all',
  )
  peft_models.tune(base, settings).save_pretrained(tmp_path)
  _, found, leaves = peft_folder.read(tmp_path, peft_models.build())
  assert found['targets'] == ['query']
  assert not any(name.startswith('head/') for name in leaves)
  assert 'encoder/layer_1/mixer/query/lora_a' in leaves


@pytest.fixture(scope='module')
def whole(home, tmp_path_factory):
  """(settings, tensors) of a folder of LoRA, to be damaged."""
  folder = tmp_path_factory.mktemp('adapter')
  peft_models.tune(peft_models.load(home), lora()).save_pretrained(folder)
  settings = json.loads((folder / peft_folder.CONFIG).read_text())
  return settings, safetensors.numpy.load_file(folder / peft_folder.TENSORS)


def written(folder, settings, tensors):
  (folder / peft_folder.CONFIG).write_text(json.dumps(settings))
  safetensors.numpy.save_file(tensors, folder / peft_folder.TENSORS)
  return folder


@pytest.mark.parametrize(
  'change,message',
  [
    (dict(peft_type='VERA'), "peft_type='VERA'; known are"),
    (dict(r=4), r'query.lora_A.weight has the shape \(3, 12\); .* rank 4 of'),
    (dict(r='3'), "r='3'; expected an integer of 1 or more"),
    (dict(rank_pattern={'query': 2}), 'rank 2 of bert.*query'),
    (dict(lora_alpha=0), 'lora_alpha=0; expected a number above 0'),
    (dict(bias='some'), "bias='some'; expected 'none' or"),
    (dict(use_dora=True), 'query.lora_magnitude_vector is missing; rank 3'),
    (dict(bias='all'), "LayerNorm.bias is missing; bias='all'"),
    (dict(target_modules=['value']), r'no place for the tensors \[.*query'),
    (dict(target_modules=['query', 'value', 'key']), 'key.lora_A.* is missing'),
    (dict(target_modules=['nothing']), r"\['nothing'\] and .* name no layer"),
    (dict(target_modules=None), 'target_modules is not given'),
    (dict(layers_to_transform=[0]), r'no place for the tensors \[.*layer.1'),
    (
      dict(modules_to_save=['pooler']),
      r'pooler.dense.* is missing; modules_to',
    ),
    (dict(fan_in_fan_out=True), "nothing here does {'fan_in_fan_out': True}"),
    (dict(use_qalora=True), "nothing here does {'use_qalora': True}"),
    (dict(alora_invocation_tokens=[1]), "does {'alora_invocation_tokens'"),
    (dict(target_parameters=['x']), "does {'target_parameters'"),
    (dict(megatron_config={'a': 1}), "does {'megatron_config'"),
    (dict(corda_config={'a': 1}), "does {'corda_config'"),
    (dict(of_tomorrow=2), "nothing here does {'of_tomorrow': 2}"),
    (dict(init_lora_weights='loftq'), "init_lora_weights='loftq' changes"),
    (dict(init_lora_weights='corda'), "init_lora_weights='corda' changes"),
    (dict(init_lora_weights='new'), "init_lora_weights='new' changes"),
  ],
)
def test_other_settings_are_refused_by_name(change, message, whole, tmp_path):
  settings, tensors = whole
  written(tmp_path, settings | change, tensors)
  with pytest.raises(ValueError, match=message) as caught:
    peft_folder.read(tmp_path, peft_models.build())
  assert '\n' not in str(caught.value) and ' [] ' not in str(caught.value)


QUERY = (
  'base_model.model.bert.encoder.layer.1.attention.self.query.lora_A.weight'
)


@pytest.mark.parametrize(
  'change,message',
  [
    ({QUERY: None}, 'layer.1.*query.lora_A.weight is missing'),
    ({QUERY: np.full((3, 12), np.nan, 'f')}, 'query.lora_A.* not finite'),
    ({QUERY: np.full((3, 12), np.inf, 'f')}, 'query.lora_A.* not finite'),
    ({QUERY: np.zeros((3, 9), 'f')}, r'the shape \(3, 9\); expected \(3, 12\)'),
    ({QUERY.replace('1', '9'): np.zeros(3, 'f')}, r'no place for .*layer\.9'),
  ],
)
def test_other_tensors_are_refused_by_name(change, message, whole, tmp_path):
  settings, tensors = whole
  changed = {n: x for n, x in (tensors | change).items() if x is not None}
  written(tmp_path, settings, changed)
  with pytest.raises(ValueError, match=message):
    peft_folder.read(tmp_path, peft_models.build())


@pytest.mark.parametrize('half', ['float16', 'bfloat16'])
def test_halves_are_read_as_single_precision(half, whole, tmp_path):
  settings, tensors = whole
  kind = jnp.dtype(half)
  written(tmp_path, settings, {n: x.astype(kind) for n, x in tensors.items()})
  _, _, leaves = peft_folder.read(tmp_path, peft_models.build())
  assert {x.dtype for x in leaves.values()} == {np.dtype('f4')}


def test_a_head_of_another_size_is_refused(whole, tmp_path):
  written(tmp_path, *whole)
  with pytest.raises(ValueError, match=r'\(3,\); the model has \(2,\)'):
    peft_folder.read(tmp_path, peft_models.build(num_outputs=2))


def test_no_folder_and_a_pickle(tmp_path):
  with pytest.raises(ValueError, match='holds no whole adapter'):
    peft_folder.read(tmp_path / 'none', peft_models.build())
  (tmp_path / 'adapter_model.bin').touch()
  with pytest.raises(ValueError, match='a pickle, which could run any code'):
    peft_folder.read(tmp_path, peft_models.build())


@pytest.mark.parametrize('name', ['lora', 'ia3', 'prefix', 'prompt'])
def test_each_setting_of_the_library_is_known_or_refused(name):
  """One that a new version adds fails here until it is looked at."""
  kinds = dict(
    lora=peft.LoraConfig,
    ia3=peft.IA3Config,
    prefix=peft.PrefixTuningConfig,
    prompt=peft.PromptTuningConfig,
  )
  form = config.module('weights.peft_forms', name, name)
  known = {*form.KEYS, *form.NEUTRAL, *peft_folder.KEYS, *peft_folder.NEUTRAL}
  unknown = set(kinds[name]().to_dict()) - known
  assert unknown == REFUSED_SETTINGS[name]


REFUSED_SETTINGS = {
  'lora': {
    'alora_invocation_tokens', 'arrow_config', 'corda_config',
    'ensure_weight_tying', 'fan_in_fan_out', 'kasa_config', 'layer_replication',
    'loftq_config', 'lora_bias', 'lora_ga_config', 'megatron_config',
    'monteclora_config', 'target_parameters', 'trainable_token_indices',
    'use_bdlora', 'use_qalora', 'velora_config',
  },
  'ia3': {'fan_in_fan_out'},
  'prefix': set(),
  'prompt': set(),
}  # fmt: skip
