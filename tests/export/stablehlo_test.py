"""A run as StableHLO gives its logits, without the run's code."""

import json
import re
import types

import jax
import numpy as np
import pytest

from glue_jax.data import tokenizing
from glue_jax.data.tasks import by_name
from glue_jax.export import stablehlo
from glue_jax.inference import open_run, predict
from glue_jax.models import model as models
from glue_jax.training import runs
from launch import export
from tests.commands import status
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
    workdir='run',
    variant={}, decisions=None,
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
def test_the_same_logits_at_any_size(tmp_path, kind):
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


@pytest.mark.parametrize('family', ['roberta', 'electra', 'fnet', 'hydra'])
def test_of_other_families(tmp_path, family):
  run = make_run(family)
  stablehlo.save_stablehlo(run, tmp_path, batch=2, length=8, platforms=('cpu',))
  call = stablehlo.load_stablehlo(tmp_path)
  batch = make_batch(run.task, 2, 8, two_types=False)
  assert largest_difference(run, call, batch)[0] < 1e-5


def test_ponet_has_the_same_logits_at_any_size(tmp_path):
  run = make_run('ponet')
  stablehlo.save_stablehlo(run, tmp_path, platforms=('cpu',))
  call = stablehlo.load_stablehlo(tmp_path)
  batch = make_batch(run.task, 3, 7, two_types=False)
  assert largest_difference(run, call, batch)[0] < 1e-5


def test_a_program_that_depends_on_the_length_says_so(tmp_path):
  with pytest.raises(ValueError, match='hydra depends on a size.* --length'):
    stablehlo.save_stablehlo(make_run('hydra'), tmp_path, batch=2)


def test_of_fixed_sizes_takes_no_others(tmp_path):
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


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A run with leaves that merge (DyLoRA's) and leaves that don't."""
  folder = tmp_path_factory.mktemp('run')
  methods = (('dylora', dict(rank=2)), ('pfeiffer', dict(size=4)))
  runs.run(
    tiny_config(
      methods=methods, model=dict(num_layers=1), train=dict(epochs=1)
    ),
    folder,
  )
  return folder


@pytest.fixture(scope='module')
def run(workdir):
  return open_run.open_run(workdir)


def test_a_run_with_leaves_of_its_own_is_served(
  workdir, run, tmp_path, monkeypatch
):
  flags = f'--workdir={workdir}', f'--output={tmp_path}'
  refused = status(export, *flags)
  assert 'not merged into the model' in refused
  assert '--format=stablehlo' in refused
  assert status(export, *flags, '--format=stablehlo') is None
  tokenizer = tokenizing.get_tokenizer(tmp_path)
  texts = ['the cat sat', 'on']
  encoded = [tokenizer.encode([text], max_length=16) for text in texts]
  ids, mask, kinds = np.zeros((3, 2, 9), np.int32)  # any size
  for i, one in enumerate(encoded):
    ids[i, : len(one.ids)], mask[i, : len(one.ids)] = one.ids, 1
    kinds[i, : len(one.ids)] = one.type_ids
  page = (tmp_path / 'README.md').read_text()
  # The folder's page says how a program without glue_jax reads it.
  (code,) = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
  scope = dict(zip(stablehlo.INPUTS, (ids, mask, kinds)))
  monkeypatch.chdir(tmp_path)
  exec(code, scope)
  assert any('adapter' in name for name in scope['params'])
  logits = scope['outputs']['logits']
  ours = predict.predict_rows(run, [{'sentence': text} for text in texts])
  np.testing.assert_allclose(logits, ours.outputs['logits'], rtol=0, atol=1e-5)


def test_a_smaller_rank_is_served(run, tmp_path):
  batch = dict(zip(stablehlo.INPUTS, np.ones((3, 2, 8), np.int32)))
  logits = []
  for rank in (1, 2):
    chosen = run.at(rank=rank)
    folder = tmp_path / str(rank)
    signature = stablehlo.save_stablehlo(
      chosen, folder, batch=2, length=8, platforms=('cpu',)
    )
    assert signature['variant'] == {'rank': rank}
    call = stablehlo.load_stablehlo(folder)
    logits.append(call(*batch.values())['logits'])
    rows = batch | {'weight': np.ones(2, np.float32)}
    ours = chosen.predict_fn(rows)['logits']
    np.testing.assert_allclose(logits[-1], ours, rtol=0, atol=1e-5)
  assert not np.array_equal(*logits)
