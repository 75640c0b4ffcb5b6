"""Bad weights and folders: each refused with a list, nothing half-loaded."""

import json

import jax
import numpy as np
import pytest
import torch

from glue_jax.models import model as models
from glue_jax.weights import (
  huggingface,
  huggingface_tensors,
)
from tests.hf_folders import QUERY, load, read, rewrite, save, theirs


@pytest.mark.parametrize(
  'change,lines',
  [
    (lambda t: t.pop(QUERY), [f'- {QUERY} (16, 16)']),
    (
      lambda t: t.update({'bert.encoder.layer.2.extra': np.zeros(3, 'f4')}),
      ['+ bert.encoder.layer.2.extra (3,)'],
    ),
    (
      lambda t: t.update({QUERY: np.zeros((16, 8), 'f4')}),
      [f'! {QUERY} found (16, 8), expected (16, 16)'],
    ),
    (
      lambda t: t.update({QUERY: t[QUERY].astype('f2')}),
      [f'! {QUERY} found F16, expected F32', 'cast=True'],
    ),
    (
      lambda t: t.update({QUERY: t[QUERY].astype('i4')}),
      [f'! {QUERY} found I32, expected F32'],
    ),
    (
      lambda t: t.update({QUERY + 's': t.pop(QUERY)}),
      [f'- {QUERY} (16, 16)', f'+ {QUERY}s (16, 16)'],
    ),
    (lambda t: t.pop('classifier.bias'), ['- classifier.bias (3,)']),
    (
      lambda t: t.update({'classifier.weight': np.zeros((2, 16), 'f4')}),
      [
        '! classifier.weight found (2, 16), expected (3, 16)',
        'model.fresh=head/.*',
      ],
    ),
  ],
)
def test_weights_that_do_not_fit_are_listed(tmp_path, change, lines):
  folder = save(theirs('bert'), tmp_path)
  rewrite(folder, change)
  with pytest.raises(ValueError) as error:
    load(folder)
  for line in lines:
    assert line in str(error.value)
  assert 'nothing was loaded' in str(error.value)


@pytest.mark.parametrize('keep', [0, 4, 100, 3000, -1])
def test_a_truncated_file_is_an_error(tmp_path, keep):
  folder = save(theirs('bert'), tmp_path)
  path = folder / huggingface_tensors.WEIGHTS
  path.write_bytes(path.read_bytes()[:keep])
  with pytest.raises(ValueError, match='truncated or damaged'):
    load(folder)


def test_pickles_are_refused_and_the_advice_works(tmp_path, monkeypatch):
  peer = theirs('bert')
  folder = save(peer, tmp_path)
  (folder / huggingface_tensors.WEIGHTS).unlink()
  torch.save(peer.state_dict(), folder / 'pytorch_model.bin')
  with pytest.raises(FileNotFoundError, match='never opened here') as error:
    load(folder)
  monkeypatch.chdir(folder)
  command = str(error.value).split('python -c "')[1].rstrip('"')
  exec(command, {})
  assert not load(folder)[2]


def test_folders_that_are_not_models(tmp_path):
  with pytest.raises(FileNotFoundError, match='expected a folder with'):
    huggingface.read_hf_config(tmp_path)
  path = tmp_path / 'config.json'
  for text, message in (
    ('{', 'not JSON'),
    ('{"model_type": "longformer"}', 'longformer.py'),
    ('{"model_type": "bert"}', r"lacks \['hidden_size'"),
  ):
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
      huggingface.read_hf_config(tmp_path)
  config = theirs('bert').config.to_dict()
  path.write_text(json.dumps(config))
  with pytest.raises(FileNotFoundError, match='model.safetensors not found'):
    load(tmp_path)
  for key, value in (
    ('hidden_act', 'mish'),
    ('position_embedding_type', 'relative_key'),
    ('is_decoder', True),
  ):
    path.write_text(json.dumps(config | {key: value}))
    with pytest.raises(ValueError, match=key):
      huggingface.read_hf_config(tmp_path)


def test_an_untied_decoder_is_refused(tmp_path):
  folder = save(theirs('bert', 'mlm'), tmp_path)
  word = 'bert.embeddings.word_embeddings.weight'
  copy = 'cls.predictions.decoder.weight'
  rewrite(folder, lambda t: t.update({copy: t[word].copy()}))
  assert not load(folder, 'mlm')[2]
  rewrite(folder, lambda t: t.update({copy: t[word] + 1}))
  with pytest.raises(ValueError, match='not tied'):
    load(folder, 'mlm')


def test_settings_of_a_head_concern_that_head_alone(tmp_path):
  folder = save(theirs('bert', 'mlm'), tmp_path / 'theirs')
  path = folder / 'config.json'
  config = json.loads(path.read_text()) | {'tie_word_embeddings': False}
  path.write_text(json.dumps(config))
  copy = 'cls.predictions.decoder.weight'
  word = 'bert.embeddings.word_embeddings.weight'
  rewrite(folder, lambda t: t.update({copy: t[word] + 1}))
  with pytest.raises(
    ValueError, match='tie_word_embeddings=False, but the hea'
  ):
    load(folder, 'mlm')
  model, params, missing = load(folder, 'token_classification')
  assert missing == ['head/out/bias', 'head/out/kernel']
  params = huggingface.fill_missing(params, missing, model, jax.random.key(0))
  # What comes back from the source is whole: the decoder, and that it is one.
  huggingface.save_hf(tmp_path / 'ours', model, params, source=folder)
  back = json.loads((tmp_path / 'ours' / 'config.json').read_text())
  assert back['tie_word_embeddings'] is False
  np.testing.assert_array_equal(
    read(tmp_path / 'ours')[copy], read(folder)[copy]
  )


def test_another_summary_is_refused_where_it_is_used(tmp_path):
  folder = save(theirs('electra', 'multiple_choice'), tmp_path)
  path = folder / 'config.json'
  config = json.loads(path.read_text()) | {'summary_type': 'mean'}
  path.write_text(json.dumps(config))
  with pytest.raises(ValueError, match="summary_type='mean', but the head of"):
    load(folder, 'multiple_choice')
  load(folder, 'encoder')


def test_what_the_library_cannot_express_is_not_exported(tmp_path):
  for overrides, message in (
    (dict(mixer=('fourier', 'attention')), "mixer=.'fourier'"),
    (dict(position_offset=2), 'position_offset=2'),
    (dict(projection=True), 'projection=True'),
  ):
    model = models.build(
      'bert', 'tiny', kind='classification', num_outputs=2, **overrides
    )
    with pytest.raises(ValueError, match=message):
      huggingface.save_hf(tmp_path, model, {})
  model = models.build('bert', 'tiny', kind='classification', num_outputs=2)
  with pytest.raises(ValueError, match='3 label names for 2 outputs'):
    huggingface.save_hf(tmp_path, model, {}, labels=('a', 'b', 'c'))
  with pytest.raises(ValueError, match='- head/out/kernel'):
    huggingface.save_hf(tmp_path, model, {})
  assert not list(tmp_path.iterdir())
