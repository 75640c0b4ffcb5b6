"""Laws that hold for every method, one parametrised test for each law.

A new file in glue_jax/methods needs an entry in METHODS; without one the first
test fails.
"""

import json
import pkgutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from glue_jax import config, methods, tree
from glue_jax.devices import sharding
from glue_jax.method import Host
from glue_jax.training import build, checkpoint, session
from tests import adapters, device_laws_test
from tests.conftest import ROOT, on_devices, tiny_config
from tests.law_cases import Case

# Small arguments for each method; 'TEACHER' stands for a saved model,
# 'IMPORTANCE' for the importance of its neurons, 'NORMS' for its inputs',
# 'SOURCES' for tuned runs. At the published eps = 1e-7 the slope of the density
# loss turns round-off of an activation into another gradient.
METHODS = {
  'ada_deft': dict(eps=0.1),
  'adapter_fusion': dict(sources='SOURCES'),
  'bitfit': {},
  'bootstrapping': dict(beta=0.5),
  'comet': dict(entropy=0.1, search_steps=20),
  'deft': dict(eps=0.1),
  'distillation': dict(teacher='TEACHER'),
  'dylora': dict(rank=4, strict_freeze=True),
  'gradual_unfreezing': {},
  'houlsby': dict(size=4),
  'ia3': {},
  'lamda': dict(rank=4, alpha=4.0, eta=0.9),
  'last_layers': dict(count=1),
  'lora': dict(rank=2),
  'meft': dict(size=4, measure_every=1),
  'moebert': dict(teacher='TEACHER', importance='IMPORTANCE', shared=8),
  'nf4': {},
  'parallel_adapter': dict(size=4),
  'pfeiffer': dict(size=4),
  'prefix': dict(length=3, dropout=0.1),
  'prompt': dict(length=3),
  'qlora': dict(rank=2),
  'scalearn': dict(sources='SOURCES', shared=True),
  'slimfit': dict(freezing_rate=0.5, refresh=2, pruned_by='example'),
  'wanda': dict(norms='NORMS'),
}
EXPERTS = dict(
  num_layers=2,
  ffn='experts',
  options=dict(experts=dict(size=12, gate_options=dict(gamma=1.0))),
)
# What a method needs of the model.
MODELS = {
  'adapter_fusion': dict(num_layers=2),
  'comet': EXPERTS,
  'meft': dict(stack='reversible'),
  'moebert': EXPERTS,
  'prefix': dict(max_positions=32),
  'prompt': dict(max_positions=32),
  'wanda': dict(num_layers=2),
  'scalearn': dict(num_layers=2),
}
# Methods whose model is the plain one before the first step.
IDENTITY = (
  'bitfit',
  'bootstrapping',
  'deft',
  'distillation',
  'dylora',
  'gradual_unfreezing',
  'ia3',
  'last_layers',
  'lora',
  'moebert',
  'parallel_adapter',
  'slimfit',
  'wanda',
)


def test_every_method_is_here():
  files = {m.name for m in pkgutil.iter_modules(methods.__path__)}
  assert files == set(METHODS)


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
  """A saved model with the tiny config's vocabulary."""
  from glue_jax.weights import saved_model

  folder = tmp_path_factory.mktemp('teacher')
  parts = build.build(tiny_config(), 1, total_steps=lambda _: 4)
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
    adapters.save(folder / f'source_{i}', tiny_config(), seed=i)
  return str(folder)


def arguments(name, teacher):
  files = {
    'TEACHER': teacher,
    'IMPORTANCE': f'{teacher}/importance.npz',
    'NORMS': f'{teacher}/norms.npz',
    'SOURCES': [f'{teacher}/source_{i}' for i in range(2)],
  }
  return {
    key: files.get(value, value) if isinstance(value, str) else value
    for key, value in METHODS[name].items()
  }


@pytest.fixture(scope='module', params=sorted(METHODS))
def case(request, teacher):
  name = request.param
  methods = ((name, arguments(name, teacher)),)
  return Case(name, tiny_config(methods=methods, model=MODELS.get(name, {})))


def host(value):
  return {n: np.asarray(x) for n, x in tree.flatten(value).items()}


def test_the_model_is_the_plain_one_at_the_start(case):
  parts = case.parts
  # What a method keeps in another form (packed) is taken as it was before.
  batch = build.example_batch(parts.bundle)
  before = build.initial_params(
    case.config, parts.plain, jax.random.key(0), batch
  )
  kept, _ = tree.partition(parts.params, lambda n: n in parts.names)
  plain = tree.unflatten(tree.flatten(before) | tree.flatten(kept))
  ours, theirs = (
    case.logits(apply, params)
    for apply, params in ((parts.apply, parts.params), (parts.plain, plain))
  )
  if case.name in IDENTITY:
    np.testing.assert_array_equal(ours, theirs)
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
  moved = [
    name
    for name, value in host(state.params).items()
    if not np.array_equal(value, learns[name])
  ]
  assert sorted(moved) == sorted(learns)


def test_what_is_exported_is_what_was_trained(case):
  state, _ = case.step(case.start(), 2)
  parts = case.parts
  with sharding.enter(parts.mesh):
    exported = session.exported(parts, state)
  trained = case.logits(parts.apply, state.all_params())
  names = set(tree.flatten(exported))
  if names == parts.names:
    np.testing.assert_allclose(
      case.logits(parts.plain, exported), trained, atol=1e-5
    )
  else:
    # Nothing to merge into: the method's own leaves are kept, all of them.
    assert names == set(tree.flatten(state.all_params()))


def test_saved_restored_and_continued_is_bit_equal(case, tmp_path):
  straight, _ = case.step(case.start(), 4)
  half, _ = case.step(case.start(), 2)
  saved = checkpoint.Checkpoints(tmp_path)
  data = case.parts.bundle.train
  notes = session.notes(Host(data, 2, 4, half, step=2), {})
  saved.save('last', 2, half, notes)
  fresh = Host(data, 2, 4, case.start())
  with sharding.enter(case.parts.mesh):
    session.restore(saved, case.parts, case.tx, fresh)
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
  'names', [sorted(METHODS)[i::4] for i in range(4)], ids='-'.join
)
def test_four_devices_give_the_result_of_one(names, teacher):
  cases = {
    name: config.override(
      device_laws_test.BASE,
      dict(
        methods=[[name, arguments(name, teacher)]],
        model=MODELS.get(name, {}),
        # The rows, and so the vocabulary, of the teacher.
        data=dict(train_limit=64),
      ),
    )
    for name in names
  }
  command = [sys.executable, '-m', 'tests.device_laws', json.dumps(cases)]
  done = subprocess.run(
    command, cwd=ROOT, env=on_devices(4), capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert done.stdout.split() == ['equal', *names]
