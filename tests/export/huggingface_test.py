"""Exports give the logits of the run, without the run's code."""

import json
import types

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.data import tokenizing
from glue_jax.data.tasks import by_name
from glue_jax.export import huggingface, stablehlo
from glue_jax.inference import open_run, predict
from glue_jax.models import model as models
from glue_jax.training import runs
from tests.conftest import tiny_config

SIZES = dict(
  vocab_size=50,
  num_layers=1,
  hidden_size=16,
  num_heads=2,
  intermediate_size=32,
  max_positions=16,
)
KINDS = {
  'classification': by_name.get('mnli'),
  'regression': by_name.get('stsb'),
  'span': by_name.get('squad_v1'),
  'multiple_choice': by_name.make(
    'own',
    kind='multiple_choice',
    columns=('context', 'a', 'b'),
    choices=('a', 'b'),
  ),
}


class NoTokenizer:
  def save(self, folder):
    pass


def make_run(family='bert', kind='classification', **sizes):
  """A run of random parameters."""
  task = KINDS[kind]
  model = models.build(
    family,
    'tiny',
    kind=kind,
    num_outputs=by_name.num_outputs(task),
    **(SIZES | sizes),
  )
  batch = make_batch(task, 2, 5)
  params = jax.jit(model.init)(jax.random.key(0), batch)['params']
  # Heads start near zero; larger values make differences visible.
  params = jax.tree.map(lambda x: x * 3 + 0.01, params)
  return types.SimpleNamespace(
    task=task, model=model, params=params, tokenizer=NoTokenizer(), step=1,
    rank=None,
  )  # fmt: skip


def make_batch(task, rows, length, seed=0, two_types=True):
  """Random ids with padding at the end of every second row."""
  rng = np.random.default_rng(seed)
  shape = (rows, length)
  if task.kind == 'multiple_choice':
    shape = (rows, len(task.choices), length)
  ids = rng.integers(1, 50, shape).astype(np.int32)
  mask = np.ones(shape, np.int32)
  mask[::2, ..., length - 2 :] = 0
  types_ = np.zeros(shape, np.int32)  # RoBERTa has one type only
  if two_types:
    types_[..., length // 2 :] = 1
  return dict(zip(stablehlo.INPUTS, (ids * mask, mask, types_)))


def largest_difference(run, call, batch):
  ours = jax.jit(run.model.apply)({'params': run.params}, batch)
  theirs = call(*(batch[name] for name in stablehlo.INPUTS))
  assert theirs
  return max(abs(ours[n] - theirs[n]).max() for n in theirs), set(theirs)


@pytest.mark.parametrize('kind', sorted(KINDS))
def test_stablehlo_has_the_same_logits_at_any_size(tmp_path, kind):
  run = make_run(kind=kind)
  signature = stablehlo.save_stablehlo(run, tmp_path)
  call = stablehlo.load_stablehlo(tmp_path)
  for rows, length in ((1, 3), (4, 16)):
    batch = make_batch(run.task, rows, length, seed=rows)
    difference, names = largest_difference(run, call, batch)
    assert difference < 1e-5
    assert names == set(signature['outputs'])
  assert signature == json.loads((tmp_path / 'signature.json').read_text())
  assert signature['platforms'] == ['cpu', 'cuda', 'tpu']
  assert signature['inputs']['input_ids']['shape'][-1] == 'l'
  assert signature['max_length'] == 16


@pytest.mark.parametrize('family', ['roberta', 'electra', 'fnet'])
def test_stablehlo_of_other_families(tmp_path, family):
  run = make_run(family)
  stablehlo.save_stablehlo(run, tmp_path, batch=2, length=8, platforms=('cpu',))
  call = stablehlo.load_stablehlo(tmp_path)
  batch = make_batch(run.task, 2, 8, two_types=False)
  assert largest_difference(run, call, batch)[0] < 1e-5


def test_stablehlo_of_fixed_sizes_takes_no_others(tmp_path):
  run = make_run()
  signature = stablehlo.save_stablehlo(
    run, tmp_path, batch=2, length=8, platforms=('cpu',)
  )
  assert signature['inputs']['attention_mask']['shape'] == ['2', '8']
  call = stablehlo.load_stablehlo(tmp_path)
  assert largest_difference(run, call, make_batch(run.task, 2, 8))[0] < 1e-5
  with pytest.raises(ValueError, match='[Ss]hape'):
    call(*make_batch(run.task, 3, 8).values())


def test_sizes_are_checked(tmp_path):
  with pytest.raises(ValueError, match='length=17: expected 1 to 16'):
    stablehlo.save_stablehlo(make_run(), tmp_path, length=17)
  with pytest.raises(ValueError, match='batch=0'):
    stablehlo.save_stablehlo(make_run(), tmp_path, batch=0)


def test_damaged_exports_are_refused(tmp_path):
  run = make_run()
  stablehlo.save_stablehlo(run, tmp_path, batch=2, length=8, platforms=('cpu',))
  params = tmp_path / stablehlo.PARAMS
  params.write_bytes(params.read_bytes()[:-20])
  with pytest.raises(ValueError, match='no whole StableHLO export'):
    stablehlo.load_stablehlo(tmp_path)
  with pytest.raises(ValueError, match='no whole StableHLO export'):
    stablehlo.load_stablehlo(tmp_path / 'nowhere')


def test_parameters_that_were_not_merged_are_refused(tmp_path):
  run = make_run()
  flat = tree.flatten(run.params) | {'encoder/lora_a': np.zeros(2)}
  run.params = tree.unflatten(flat)
  for save in (
    lambda: stablehlo.save_stablehlo(run, tmp_path / 'x'),
    lambda: huggingface.save_hf(run, tmp_path / 'x', ''),
  ):
    with pytest.raises(ValueError, match='not merged.*(\n.*)*lora_a'):
      save()
  assert not (tmp_path / 'x').exists()


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
