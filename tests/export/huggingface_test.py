"""A finished run as a Hugging Face folder, which says what it can't hold."""

import json

import numpy as np
import pytest

from glue_jax import tree
from glue_jax.data import tokenizing
from glue_jax.export import huggingface, stablehlo
from glue_jax.inference import open_run, predict
from glue_jax.training import runs
from tests.conftest import tiny_config
from tests.export.stablehlo_test import make_run


def test_parameters_that_were_not_merged_are_refused(tmp_path):
  run = make_run()
  flat = tree.flatten(run.params) | {'encoder/lora_a': np.zeros(2)}
  run.params = tree.unflatten(flat)
  with pytest.raises(ValueError, match='not merged.*stablehlo(.*\n)*.*lora_a'):
    huggingface.save_hf(run, tmp_path / 'x', '')
  assert not (tmp_path / 'x').exists()


def test_a_model_that_transformers_lacks_is_refused(tmp_path):
  run = make_run(mixer='identity')
  with pytest.raises(ValueError, match='cannot express mixer.*stablehlo'):
    huggingface.save_hf(run, tmp_path / 'x', '')


def test_finished_run_to_both_forms(tmp_path):
  """The folder transformers loads, its card, and the program agree."""
  runs.run(tiny_config(train=dict(epochs=1)), tmp_path / 'run')
  run = open_run.open_run(tmp_path / 'run')
  card = huggingface.card(run, tmp_path / 'run')
  huggingface.save_hf(run, tmp_path / 'hf', card)
  written = (tmp_path / 'hf' / 'README.md').read_text()
  accuracy = json.loads((tmp_path / 'run' / 'result.json').read_text())
  accuracy = accuracy['metrics']['validation']['accuracy']
  assert f'| validation | accuracy | {accuracy:.4f} |' in written
  config = json.loads((tmp_path / 'hf' / 'config.json').read_text())
  assert config['id2label'] == {'0': 'unacceptable', '1': 'acceptable'}

  stablehlo.save_stablehlo(run, tmp_path / 'hlo', platforms=('cpu',))
  call = stablehlo.load_stablehlo(tmp_path / 'hlo')
  tokenizer = tokenizing.get_tokenizer(tmp_path / 'hlo')
  texts = [{'sentence': 'the cat sat'}, {'sentence': 'on'}]
  predictions = predict.predict_rows(run, texts)
  for i, text in enumerate(texts):
    encoded = tokenizer.encode([text['sentence']], max_length=16)
    ids = encoded.ids[None]
    logits = call(ids, np.ones_like(ids), encoded.type_ids[None])['logits']
    assert abs(logits[0] - predictions.outputs['logits'][i]).max() < 1e-5

  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  peer = transformers.AutoModelForSequenceClassification.from_pretrained(
    tmp_path / 'hf'
  ).eval()
  with torch.no_grad():
    theirs = peer(torch.tensor(np.asarray(ids))).logits.numpy()
  assert abs(theirs - predictions.outputs['logits'][1]).max() < 1e-4
