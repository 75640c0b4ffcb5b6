"""Laws that hold for every method, one parametrised test for each law.

What they need of a method is its record `FACTS`; a file in glue_jax/methods
without one fails here.
"""

import json
import subprocess
import sys
import types

import jax
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.config import config
from glue_jax.devices import sharding
from glue_jax.export import stablehlo
from glue_jax.method import Host
from glue_jax.training import (
  begin,
  build_data,
  build_params,
  checkpoint,
  schema,
  session,
)
from tests import adapters, device_laws_test
from tests.conftest import ROOT, on_devices, tiny_config
from tests.law_cases import Case

METHODS = config.facts('methods')
# Each method, and each arm of one as 'method:arm'.
ARMS = sorted(
  [
    *METHODS,
    *(f'{name}:{arm}' for name in METHODS for arm in METHODS[name].arms),
  ]
)
# What a record may name as an argument: made by the fixture `teacher`.
FILES = {'TEACHER', 'IMPORTANCE', 'NORMS', 'SOURCES', 'PROMPT'}
ROOM = dict(max_positions=32)  # for prompts


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
  """A saved model with the tiny config's vocabulary."""
  from glue_jax.weights import saved_model

  folder = tmp_path_factory.mktemp('teacher')
  config = tiny_config(model=ROOM)
  parts = begin.build(schema.bind(config, 4), 1)
  params = sharding.gather(parts.params, parts.mesh)
  saved_model.save(folder, parts.plain.model, params)
  neurons = np.arange(parts.plain.model.config.intermediate_size)
  np.savez(folder / 'importance.npz', layer_0=neurons, layer_1=-neurons)
  widths = dict(query=16, ffn_in=16, ffn_out=32)
  paths = {'query': 'mixer/query', 'ffn_in': 'ffn/ffn_in'}
  np.savez(folder / 'norms.npz', **{
    f'encoder/layer_{i}/{paths.get(n, "ffn/ffn_out")}': 1 + np.arange(width)
    for i in range(2) for n, width in widths.items()
  })  # fmt: skip
  for i in range(2):
    adapters.save(folder / f'source_{i}', config, seed=i)
  adapters.save(folder / 'prompt', config, seed=2, name='prefix')
  return str(folder)


def arguments(name, teacher):
  """The method's small arguments, with the paths of files."""
  paths = {
    'TEACHER': teacher,
    'IMPORTANCE': f'{teacher}/importance.npz',
    'NORMS': f'{teacher}/norms.npz',
    'SOURCES': [f'{teacher}/source_{i}' for i in range(2)],
    'PROMPT': f'{teacher}/prompt',
  }
  return {
    key: paths.get(value, value) if isinstance(value, str) else value
    for key, value in METHODS[name].small.items()
  }


def changes(case, teacher):
  """Changes of a tiny config: the method and what it works with only."""
  name, _, arm = case.partition(':')
  further = METHODS[name].arms[arm] if arm else {}
  methods = [[name, arguments(name, teacher) | further]]
  changed = config.override({'model': ROOM}, METHODS[name].needs)
  return changed | {'methods': methods}


@pytest.fixture(scope='module', params=ARMS)
def case(request, teacher):
  return Case(request.param, tiny_config(**changes(request.param, teacher)))


def host(value):
  return {n: np.asarray(x) for n, x in tree.flatten(value).items()}


def test_the_model_is_the_plain_one_at_the_start(case):
  parts = case.parts
  # What a method keeps in another form (packed) is taken as it was before.
  batch = build_data.example_batch(parts.bundle)
  before = tree.read(
    build_params.initial_params(
      parts.sections.model, None, parts.plain, jax.random.key(0), batch
    )
  )
  kept, _ = tree.partition(parts.params, lambda n: n in parts.names)
  plain = tree.unflatten(tree.flatten(before) | tree.flatten(kept))
  ours, theirs = (
    case.logits(apply, params)
    for apply, params in ((parts.apply, parts.params), (parts.plain, plain))
  )
  name, _, arm = case.name.partition(':')
  if METHODS[name].identity:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 if arm else 0)
  else:
    np.testing.assert_allclose(ours, theirs, atol=0.1)
    assert not np.array_equal(ours, theirs)


def test_frozen_leaves_are_bit_equal_and_learning_ones_move(case):
  state = case.start()
  learns, frozen = host(state.params), host(state.frozen)
  state, metrics = case.step(state, 2)
  assert bool(metrics['finite'])
  for name, value in host(state.frozen).items():
    np.testing.assert_array_equal(value, frozen[name], err_msg=name)
  moved = {
    name
    for name, value in host(state.params).items()
    if not np.array_equal(value, learns[name])
  }
  # An optimizer's law has none.
  facts = METHODS.get(case.name.partition(':')[0])
  still = tree.match(facts.still, learns) if facts else set()
  assert moved == learns.keys() - still


def test_what_is_exported_is_what_was_trained(case):
  state, _ = case.step(case.start(), 2)
  parts = case.parts
  with sharding.enter(parts.mesh):
    exported = session.exported(parts, state)
    _, evaluated = session.bound(parts, state, {})
  trained = case.logits(parts.apply, evaluated)
  names = set(tree.flatten(exported))
  if names == parts.names:
    np.testing.assert_allclose(
      case.logits(parts.plain, exported), trained, atol=1e-5
    )
  else:
    # Nothing to merge into: the method's own leaves are kept, all of them.
    assert names == set(tree.flatten(state.all_params()))


def test_what_does_not_merge_is_served_with_its_leaves(case, tmp_path):
  parts, rng = case.parts, np.random.default_rng(0)
  own = tree.flatten(parts.params).keys() - parts.names
  if not own or parts.method.export:
    pytest.skip('all its leaves are merged')
  state = case.start()

  def moved(part):  # those of fusion's sources too, which stay
    return jax.tree.map(
      lambda x: np.float32(x + rng.normal(0, 0.3, x.shape)), part
    )

  frozen = state.frozen | {'params': moved(state.frozen['params'])}
  state = state.replace(params=moved(state.params), frozen=frozen)
  params = state.all_params()
  run = types.SimpleNamespace(
    parts=parts, host=Host(None, 1, 1, state), params=params, variant={},
    model=parts.plain.model, task=parts.bundle.task,
    tokenizer=parts.bundle.tokenizer, decisions=None,
  )  # fmt: skip
  stablehlo.save_stablehlo(run, tmp_path, platforms=('cpu',))
  call = stablehlo.load_stablehlo(tmp_path)
  rows = parts.bundle.train.batch(0)
  logits = call(*(rows[name] for name in stablehlo.INPUTS))['logits']
  ours = case.logits(parts.apply, params)
  np.testing.assert_allclose(logits, ours, rtol=0, atol=1e-5)
  # Not those of the model without them.
  plain, _ = tree.partition(params, lambda name: name in parts.names)
  assert abs(logits - case.logits(parts.plain, plain)).max() > 1e-3


def test_saved_restored_and_continued_is_bit_equal(case, tmp_path):
  straight, _ = case.step(case.start(), 4)
  half, _ = case.step(case.start(), 2)
  saved = checkpoint.Checkpoints(tmp_path)
  data = case.parts.bundle.train
  notes = session.notes(Host(data, 2, 4, half, step=2), {}, {})
  saved.save('last', 2, half, notes)
  fresh = case.run.afresh().host
  with sharding.enter(case.parts.mesh):
    session.restore(saved, case.parts, case.run.tx, fresh)
  continued, _ = case.step(fresh.state, 2)
  assert fresh.step == 2
  for a, b in zip(jax.tree.leaves(straight), jax.tree.leaves(continued)):
    np.testing.assert_array_equal(a, b)


def test_rows_of_nothing_but_padding_give_no_nan(case):
  rows = dict(case.parts.bundle.train.batch(0))
  half = len(rows['idx']) // 2
  for field in ('attention_mask', 'input_ids', 'weight'):
    rows[field] = rows[field].copy()
    rows[field][half:] = 0
  state, metrics = case.step(case.start(), 1, rows)
  assert bool(metrics['finite'])
  assert all(np.isfinite(x).all() for x in host(state.params).values())


# Several at a time: a process starts in seconds, and workers share them out.
@pytest.mark.parametrize(
  'names', [sorted(METHODS)[i::2] for i in range(2)], ids='-'.join
)
def test_four_devices_give_the_result_of_one(names, teacher):
  base = config.override(
    device_laws_test.BASE,
    # The rows, and so the vocabulary, of the teacher.
    dict(data=dict(train_limit=64)),
  )
  cases = {
    name: config.override(base, changes(name, teacher)) for name in names
  }
  for name in names:
    if FILES & set(METHODS[name].small.values()):
      cases[name]['model']['num_layers'] = 2  # of the teacher
  command = [sys.executable, '-m', 'tests.device_laws', json.dumps(cases)]
  done = subprocess.run(
    command, cwd=ROOT, env=on_devices(4), capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert done.stdout.split() == ['equal', *names]
