"""Sparse experts: dispatch, gates, laws, and errors."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.layers.context import BatchContext
from glue_jax.layers.ffn import experts, grouped_matmul
from glue_jax.layers.gates import base
from glue_jax.layers.spec import EncoderConfig
from tests.conftest import run_on_devices

CONFIG = EncoderConfig(
  vocab_size=50, hidden_size=12, num_heads=2, intermediate_size=20,
  dropout=0.0, init_range=0.5,
)  # fmt: skip
GATES = {
  'comet': dict(k=2, gamma=1.0),
  'dselectk': dict(k=2),
  'hash': dict(k=2),
  'soft': {},
  'switch': {},
  'topk': dict(k=2),
}


def layer(gate='topk', experts_=5, options=None, config=CONFIG, **kwargs):
  options = GATES[gate] if options is None else options
  return experts.FFN(
    config, experts_, gate=gate, gate_options=tuple(options.items()), **kwargs
  )


def inputs(rows=3, length=7, seed=0):
  keys = jax.random.split(jax.random.key(seed), 3)
  x = jax.random.normal(keys[0], (rows, length, CONFIG.hidden_size))
  ids = jax.random.randint(keys[1], (rows, length), 1, CONFIG.vocab_size)
  mask = jnp.arange(length) < jnp.array([length, 4, 1, 6])[:rows, None]
  return x, BatchContext(mask, input_ids=ids)


def initialised(ffn, x, context):
  init = jax.jit(ffn.init, static_argnums=3)
  params = init(jax.random.key(1), x, context, False)['params']
  gate = jax.tree.map(lambda p: 20 * p, params.get('gate', {}))
  if 'split' in gate:  # fresh trees are undecided
    shape = gate['split']['kernel'].shape
    gate['split'] = {'kernel': jax.random.normal(jax.random.key(2), shape)}
  return dict(params, gate=gate)


@functools.partial(jax.jit, static_argnums=(0, 4))
def run(ffn, params, x, context, train=False):
  y, state = ffn.apply(
    {'params': params}, x, context, train, mutable=['captured'],
    rngs={'dropout': jax.random.key(3)},
  )  # fmt: skip
  return y, tree.flatten(state['captured'])


def test_every_gate_is_here():
  assert base.names() == sorted(GATES)


@pytest.mark.parametrize('inside', [True, False])
def test_sparse_dispatch_is_dense_dispatch(inside):
  x, context = inputs()
  gradients = {}
  params = initialised(layer(inside=inside), x, context)
  for dispatch in ('dense', 'sparse'):
    ffn = layer(dispatch=dispatch, inside=inside)

    def loss(params, x, ffn=ffn):
      return jnp.sum(jnp.sin(run(ffn, params, x, context)[0]))

    gradients[dispatch] = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, x)
  for a, b in zip(*(jax.tree.leaves(v) for v in gradients.values())):
    np.testing.assert_allclose(a, b, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize('train', [True, False])
def test_auto_is_dense_dispatch_however_many_tokens_are_undecided(train):
  options = dict(k=2, gamma=1e-3)
  auto, dense = (
    layer('comet', options=options, dispatch=dispatch)
    for dispatch in ('auto', 'dense')
  )
  x, context = inputs()
  params = initialised(auto, x, context)
  gate = base.make('comet', CONFIG, 5, options)

  @functools.partial(jax.jit, static_argnums=0)
  @functools.partial(jax.value_and_grad, argnums=(1, 2), has_aux=True)
  def both(ffn, params, x):
    y, captured = run(ffn, params, x, context, train)
    return jnp.sum(jnp.sin(y)), (y, captured)

  # A token of zeros stays in the middle of every split: it needs all experts.
  for undecided, step in ((0, 0), (1, 1), (2, 1), (15, 2)):
    tokens = x.reshape(-1, x.shape[-1]).at[:undecided].set(0).reshape(x.shape)
    routing, _ = gate.apply(
      {'params': params['gate']}, tokens, context, train, mutable=['captured']
    )
    weights = routing.weights.reshape(-1, 5)
    assert ((weights > 0).sum(-1) > 2).sum() == undecided
    assert experts.cheapest(weights, 2, train) == step
    (_, (ours, captured)), gradient = both(auto, params, tokens)
    (_, (theirs, _)), expected = both(dense, params, tokens)
    assert (captured['few_experts'] == 1) == (undecided == 0)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for a, b in zip(*map(jax.tree.leaves, (gradient, expected)), strict=True):
      np.testing.assert_allclose(a, b, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize('gate', sorted(GATES))
def test_padding_and_other_rows_change_nothing(gate):
  ffn = layer(gate)
  x, context = inputs()
  params = initialised(ffn, x, context)
  y, captured = run(ffn, params, x, context)
  mask = context.mask[..., None]
  other, spoiled = run(ffn, params, jnp.where(mask, x, 7.0), context)
  np.testing.assert_allclose(
    jnp.where(mask, y, 0), jnp.where(mask, other, 0), atol=1e-5
  )
  for name, value in captured.items():
    np.testing.assert_allclose(value, spoiled[name], rtol=1e-5, err_msg=name)
  one = jax.tree.map(lambda value: value[:1], context)
  alone, _ = run(ffn, params, x[:1], one)
  np.testing.assert_allclose(alone, y[:1], atol=1e-5)


@pytest.mark.parametrize('gate', sorted(GATES))
def test_weights_are_shares_of_at_most_k_experts(gate):
  x, context = inputs()
  options = GATES[gate] | ({'gamma': 1e-4} if gate == 'comet' else {})
  module = base.make(gate, CONFIG, 5, options)
  init = jax.jit(module.init, static_argnums=3)
  variables = init(jax.random.key(0), x, context, False)
  # Fresh trees are undecided.
  scale = 1e5 if gate == 'comet' else 20
  variables = jax.tree.map(lambda p: scale * p, variables)
  routing, _ = module.apply(variables, x, context, False, mutable=['captured'])
  weights = np.asarray(routing.weights)
  assert weights.shape == (3, 7, 5)
  assert (weights >= 0).all()
  if gate not in ('switch', 'dselectk'):  # a probability; unused codes
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
  if gate != 'dselectk':
    assert ((weights > 0).sum(-1) <= routing.keep).all()


def test_entropy_is_not_negative_and_balance_is_one_when_uniform():
  x, context = inputs()
  ffn = layer('comet')
  _, captured = run(ffn, initialised(ffn, x, context), x, context)
  assert captured['gate/entropy'] >= 0
  even = jnp.full((2, 6, 3), 1 / 3)
  np.testing.assert_allclose(
    base.balance_loss(even, even, jnp.ones((2, 6))), 1, rtol=1e-6
  )


def test_noisy_top_k_reports_its_load():
  x, context = inputs()
  ffn = layer('topk', options=dict(k=2, noise=True))
  params = initialised(ffn, x, context)
  y, captured = run(ffn, params, x, context, train=True)
  assert np.isfinite(y).all() and captured['gate/load'] > 0
  assert run(ffn, params, x, context)[1]['gate/load'] == 0


def test_bfloat16_is_near_float32():
  x, context = inputs()
  ffn = layer()
  params = initialised(ffn, x, context)
  y, _ = run(ffn, params, x, context)
  half = experts.FFN(
    EncoderConfig(**{**vars(CONFIG), 'dtype': 'bfloat16'}), 5, gate='topk',
    gate_options=(('k', 2),),
  )  # fmt: skip
  z, _ = run(half, params, x.astype(jnp.bfloat16), context)
  assert z.dtype == jnp.bfloat16
  near = jnp.abs(y - z.astype(jnp.float32)) < 0.15
  # A token whose two best logits are nearly equal may choose the other.
  assert near.mean() > 0.9


def test_groups_of_nobody_have_no_tile():
  ids = jnp.array([3, 3, 0, 9, 3, -1])
  groups = grouped_matmul.sort(ids, 5)
  sizes = np.asarray(groups.sizes)
  assert (sizes > 0).tolist() == [True, False, False, True, False]
  assert (sizes % groups.tile == 0).all()
  place = np.asarray(groups.place)
  assert (place[[3, 5]] == len(groups.source)).all()
  kept = [0, 1, 2, 4]
  assert np.asarray(groups.source)[place[kept]].tolist() == kept
  assert np.asarray(groups.group)[place[kept]].tolist() == [3, 3, 0, 3]


@pytest.mark.parametrize(
  'change, message',
  [
    (dict(gate='nope', options={}), "gate='nope': no file .*'topk'"),
    (dict(options=dict(k=6)), 'k=6: expected 1 to the 5 experts'),
    (dict(options=dict(gamma=1)), r"'topk' doesn't read \['gamma'\]"),
    (dict(dispatch='none'), "dispatch='none'"),
    (dict(experts_=1, options={}), 'experts=1: expected at least 2'),
    (
      dict(gate='hash', options=dict(table=(0, 5))),
      '2 entries in 0 .. 5; expected 50 in 0 .. 4',
    ),
  ],
)
def test_mistakes(change, message):
  x, context = inputs()
  with pytest.raises(ValueError, match=message):
    layer(**change).init(jax.random.key(0), x, context, False)


SHARDED = """
import dataclasses
import jax, jax.numpy as jnp, numpy as np
from glue_jax.devices import sharding
from tests.layers.ffn import experts_test as t

for gate in ('topk', 'comet'):
  options = dict(t.GATES[gate])
  if gate == 'comet':
    options['gamma'] = 1e-3
  ffn = t.layer(gate, 6, options)
  x, context = t.inputs(4)
  params = t.initialised(ffn, x, context)
  # Jitted both: the choice of a path is on the device.
  def loss(params, x):
    y, captured = t.run(ffn, params, x, context, True)
    return jnp.sum(jnp.sin(y)) + sum(captured.values())
  one = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, x)
  for sizes in (dict(data=2, tensor=2, expert=2), dict(expert=2, fsdp=2)):
    count = int(np.prod(list(sizes.values())))
    mesh = sharding.make_mesh(
      **(dict(data=1) | sizes), devices=jax.devices()[:count]
    )
    with sharding.enter(mesh):
      rows = jax.device_put(x, sharding.batch_sharding(mesh))
      many = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, rows)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many)):
      np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4)
wet = t.layer('topk', 6, config=dataclasses.replace(t.CONFIG, dropout=0.5))
x, context = t.inputs(4)
params = t.initialised(wet, x, context)
with sharding.enter(sharding.make_mesh(data=2, tensor=2, expert=2)):
  rows = jax.device_put(jnp.ones_like(x), sharding.batch_sharding(
    sharding.make_mesh(data=2, tensor=2, expert=2)))
  y, _ = t.run(wet, params, rows, context, True)
assert np.isfinite(y).all() and not np.allclose(y[0, 0], y[1, 0])
mesh = sharding.make_mesh(data=2, expert=4)
params = t.initialised(t.layer(experts_=4), *t.inputs(4))
with sharding.enter(mesh):
  x = jnp.zeros((8, 16, 12))
  context = t.BatchContext(jnp.ones((8, 16), bool))
  sent = {
    dispatch: t.sent(t.layer(experts_=4, dispatch=dispatch), params, x, context)
    for dispatch in ('sparse', 'dense')
  }
  # Of 8 x 16 tokens each device has 16, and gets those of four devices.
  assert sent['sparse']['all-gather'] == 4 * 16 * 12, sent
  assert sent['sparse']['reduce-scatter'] == 16 * 12, sent
  # On a CPU the sum is not scattered at once.
  assert sent['dense']['all-gather'] == 4 * 16 * 12, sent
  assert sent['dense']['all-reduce'] == 4 * 16 * 12, sent
with sharding.enter(mesh):
  try:
    t.layer('topk', 6).init(jax.random.key(0), x, context, False)
  except ValueError as error:
    print(error)
print('equal')
"""


def sent(ffn, params, x, context):
  """{kind of message: most elements of one} of a layer on the mesh in use."""
  split = tree.unflatten(
    {
      name: P('expert') if 'experts' in name else P()
      for name in tree.flatten(params)
    }
  )
  rows = jax.device_put(x, base.ROWS)
  fn = jax.jit(lambda p, x: ffn.apply({'params': p}, x, context, False))
  program = fn.lower(jax.device_put(params, split), rows).compile()
  assert program.output_shardings.shard_shape(x.shape) == (1, 16, 12)
  found = {}
  for shapes, kind in re.findall(
    r'= (.*?) (all-\w+|reduce-scatter)(?:-start)?\(', program.as_text()
  ):
    for shape in re.findall(r'\[([\d,]+)\]', shapes):
      size = math.prod(map(int, shape.split(',')))
      found[kind] = max(found.get(kind, 0), size)
  return found


def test_eight_devices_give_the_result_of_one():
  lines = run_on_devices(SHARDED).splitlines()
  assert lines[-1] == 'equal'
  assert 'mesh.expert=4 does not divide the 6 experts' in lines[-2]


def test_an_expert_axis_without_experts_is_refused():
  from glue_jax.training import build_params

  class Mesh:
    shape = {'expert': 2}

  class Spec:
    spec = ('fsdp', None)

  with pytest.raises(ValueError, match='mesh.expert=2, but the model has no'):
    build_params.check_expert_axis({'kernel': Spec}, Mesh)
  Spec.spec = ('expert', 'fsdp')
  build_params.check_expert_axis({'kernel': Spec}, Mesh)


def test_experts_lie_on_the_expert_axis(monkeypatch):
  from glue_jax.models import stack

  class Mesh:
    shape = {'data': 1, 'fsdp': 2, 'tensor': 2, 'expert': 4}

  monkeypatch.setattr(sharding, 'NamedSharding', lambda mesh, spec: spec)
  shapes = {'ffn': {'experts_in': {'kernel': np.zeros((8, 6, 4))}}}
  specs = sharding.param_specs(shapes, stack.RULES, Mesh)
  spec = specs['ffn']['experts_in']['kernel']
  assert tuple(spec) == ('expert', 'fsdp', 'tensor')
