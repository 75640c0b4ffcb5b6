"""Properties of ScaLearn's sum of adapters around one LayerNorm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glue_jax import tree
from glue_jax.models import model as models
from glue_jax.peft import adapter, fusion, scaling, source_adapters
from glue_jax.plugs import Apply
from tests.conftest import jit
from tests.golden import scalearn as golden

N, M, D = 3, 2, 6
SOURCES = source_adapters.Sources(N, M, D, jax.nn.relu)


def draw(seed, n=N, m=M, d=D):
  """n adapters of one site, stacked."""
  keys = jax.random.split(jax.random.key(seed), 4)
  normal = jax.random.normal
  return source_adapters.Stacked(
    (normal(keys[0], (d, n * m)), normal(keys[1], (n * m,))),
    (normal(keys[2], (n, m, d)), normal(keys[3], (n, d))),
  )


def single(stacked, t, h, m=M):
  """Adapter t alone."""
  cut = slice(t * m, (t + 1) * m)
  down = (stacked.down[0][:, cut], stacked.down[1][cut])
  up = (stacked.up[0][t], stacked.up[1][t])
  return adapter.bottleneck(h, down, up, jax.nn.relu)


@settings(deadline=None, max_examples=25)
@given(
  n=st.integers(1, 5),
  m=st.integers(1, 4),
  d=st.integers(1, 7),
  uniform=st.booleans(),
  seed=st.integers(0, 99),
)
def test_the_wide_adapter_is_the_scaled_sum(n, m, d, uniform, seed):
  rng = np.random.default_rng(seed)
  normal = lambda *shape: rng.normal(size=shape)
  relu = lambda x: np.maximum(x, 0)
  stacked = source_adapters.Stacked(
    (normal(d, n * m), normal(n * m)), (normal(n, m, d), normal(n, d))
  )
  h, omega = normal(2, d), normal(n, 1 if uniform else d)
  ours = adapter.bottleneck(h, *scaling.wide(stacked, omega), relu)
  hidden = relu(h @ stacked.down[0] + stacked.down[1]).reshape(2, n, m)
  each = np.einsum('bnm,nmd->bnd', hidden, stacked.up[0]) + stacked.up[1]
  np.testing.assert_allclose(ours, (omega * each).sum(1), atol=1e-9)


def test_one_hot_is_that_adapter_and_zero_is_none():
  stacked, h = draw(0), jax.random.normal(jax.random.key(1), (4, D))
  for t in range(N):
    omega = jnp.zeros((N, D)).at[t].set(1.0)
    down, up = scaling.wide(stacked, omega)
    np.testing.assert_allclose(
      adapter.bottleneck(h, down, up, jax.nn.relu),
      single(stacked, t, h),
      rtol=1e-5,
      atol=1e-5,
    )
  down, up = scaling.wide(stacked, jnp.zeros((N, 1)))
  assert not adapter.bottleneck(h, down, up, jax.nn.relu).any()


def test_omega_starts_at_two_over_n():
  omega = scaling.initial(jax.random.key(0), (8, 4000))
  np.testing.assert_allclose(omega.mean(), 0.25, atol=1e-4)
  np.testing.assert_allclose(omega.std(), 1e-3, rtol=0.05)
  assert scaling.initial(jax.random.key(0), (5, 1)).mean() == pytest.approx(
    0.4, abs=0.01
  )


def test_dropout_keeps_the_expected_sum():
  omega = jnp.linspace(-1, 1, 2 * D).reshape(2, D)
  keys = jax.random.split(jax.random.key(0), 20_000)
  masks = jax.vmap(lambda k: scaling.dropped(omega, 0.3, k))(keys)
  # Five standard deviations of the mean of a kept entry.
  bound = 5 * (0.3 / 0.7) ** 0.5 / 20_000**0.5
  np.testing.assert_allclose(masks.mean(0), omega, atol=bound)
  np.testing.assert_allclose((masks == 0).mean(), 0.3, atol=0.01)
  whole = scaling.dropped(jnp.ones((4, 1)), 0.5, keys[0])
  assert set(np.unique(whole)) <= {0.0, 2.0}


def test_constraints():
  omega = jnp.array([[1.0], [3.0]])
  np.testing.assert_allclose(
    scaling.constrained(omega, 'mean'), [[0.25], [0.75]]
  )
  np.testing.assert_allclose(scaling.constrained(omega, 'softmax').sum(0), 1.0)
  assert scaling.constrained(omega, '') is omega


@pytest.mark.parametrize(
  'change, message',
  [
    (dict(dropout=1.0), r'dropout=1.0; expected a number in \[0, 1\)'),
    (dict(constraint='max'), "constraint='max'"),
  ],
)
def test_settings_that_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    scaling.plugs('x', SOURCES, **dict(uniform=True, dropout=0.0) | change)
  if 'dropout' in change:
    with pytest.raises(ValueError, match='fusion.plug: ' + message):
      fusion.plug('x', SOURCES, dropout=1.0)


SITES = r'encoder/layer_\d+/ln_ffn'


def test_the_shared_gradient_is_the_sum_over_layers():
  options = dict(uniform=False, dropout=0.0)
  rng = np.random.default_rng(0)
  a = {
    'ffn_out': rng.normal(size=(1, 2, D)).astype(np.float32),
    'input_tensor': rng.normal(size=(1, 2, D)).astype(np.float32),
    'cotangent': rng.normal(size=(1, 2, D)).astype(np.float32),
    'ln_weight': np.ones(D, np.float32),
    'ln_bias': np.zeros(D, np.float32),
  }
  stacked = draw(0)
  site = {
    'source_down_kernel': stacked.down[0],
    'source_down_bias': stacked.down[1],
    'source_up_kernel': stacked.up[0],
    'source_up_bias': stacked.up[1],
  }
  omega = rng.normal(size=(N, D)).astype(np.float32)
  found = {}
  for shared_at in ('encoder', ''):
    plugs = scaling.plugs(SITES, SOURCES, shared_at=shared_at, **options)
    own = [f'encoder/layer_{i}/ln_ffn' for i in range(2)]
    places = [shared_at] if shared_at else own
    leaves = {f'{place}/{scaling.LEAF}': omega for place in places}
    found[shared_at] = golden.run(a, plugs, site, leaves, layers=2)
  np.testing.assert_allclose(found['encoder'][0], found[''][0], atol=1e-5)
  (one,) = found['encoder'][1].values()
  two = found[''][1].values()
  assert len(two) == 2
  np.testing.assert_allclose(one, sum(two), rtol=1e-4, atol=1e-5)


def test_dropout_draws_a_mask_for_each_layer_also_under_remat():
  module = models.build(
    'bert',
    'tiny',
    kind='classification',
    num_outputs=3,
    vocab_size=20,
    hidden_size=D,
    num_heads=2,
    num_layers=2,
    intermediate_size=8,
    max_positions=8,
    remat=True,
    dropout=0.0,
    attention_dropout=0.0,
  )
  batch = {
    'input_ids': np.arange(1, 7, dtype=np.int32)[None],
    'attention_mask': np.ones((1, 6), np.int32),
    'token_type_ids': np.zeros((1, 6), np.int32),
  }
  plugs = scaling.plugs(
    SITES, SOURCES, uniform=True, dropout=0.5, shared_at='encoder'
  )
  apply = Apply(module, plugs)
  params = jit(apply.init)(jax.random.key(0), batch)
  params = tree.map_named(
    lambda n, x: jnp.full_like(x, 0.1) if '/source_' in n else x, params
  )

  def loss(params, key):
    out = apply(params, batch, train=True, rng=key)['logits']
    return out.sum(), out

  run = jit(jax.grad(loss, has_aux=True))
  seen = set()
  for i in range(40):
    gradients, logits = run(params, jax.random.key(i))
    seen.add(np.asarray(logits).tobytes())
  # One mask for both layers could give 2^3 results at most.
  assert len(seen) > 8
  omega = gradients['encoder'][scaling.LEAF]
  assert omega.shape == (N, 1) and np.isfinite(omega).all()


def test_fusion_with_equal_scores_is_the_mean():
  stacked, h = draw(2), jax.random.normal(jax.random.key(1), (4, D))
  hidden = SOURCES.hidden(h, stacked)
  p = jnp.full((4, N), 1 / N)
  each = jnp.stack([single(stacked, t, h) for t in range(N)])
  np.testing.assert_allclose(
    fusion.mixed(p, hidden, stacked.up), each.mean(0), rtol=1e-4, atol=1e-5
  )
  zero = (jnp.zeros((D, D)), jnp.zeros(D))
  assert not fusion.scores(h, hidden, stacked.up, zero, zero).any()


def test_fusion_scores_are_those_of_the_maps_themselves():
  stacked, h = draw(3), jax.random.normal(jax.random.key(1), (4, D))
  keys = jax.random.split(jax.random.key(2), 4)
  query, key = (
    (jax.random.normal(a, (D, D)), jax.random.normal(b, (D,)))
    for a, b in (keys[:2], keys[2:])
  )
  found = fusion.scores(h, SOURCES.hidden(h, stacked), stacked.up, query, key)
  q = h @ query[0] + query[1]
  for t in range(N):
    k = single(stacked, t, h) @ key[0] + key[1]
    np.testing.assert_allclose(
      found[:, t], (q * k).sum(-1), rtol=1e-4, atol=1e-3
    )


def test_fusion_starts_near_the_identity_and_pays_for_leaving_it():
  value = fusion.near_identity(jax.random.key(0), (4, 4))
  np.testing.assert_allclose(value, np.eye(4), atol=2e-6)
  params = {'a': {fusion.VALUE: 2 * jnp.eye(4)}, 'b': {'x': jnp.ones(2)}}
  assert fusion.penalty(params) == pytest.approx(4.0)
  loss = lambda *_: (jnp.float32(1.0), {'loss': (1, 1)})
  total, metrics = fusion.penalised(loss, 0.5)(None, params, {}, None)
  assert total == pytest.approx(3.0) and metrics == {'loss': (1, 1)}


@pytest.mark.parametrize(
  'd, layers, expected',
  [
    (768, 12, (21_252_096, 73_728, 96, 6_144, 8)),
    (1024, 24, (75_546_624, 196_608, 192, 8_192, 8)),
  ],
)
def test_parameter_counts_of_the_table(d, layers, expected):
  module = golden.Model(layers)
  rows = {k: jnp.zeros((1, 1, d)) for k in 'fa'}
  found = source_adapters.Sources(8, d // 16, d, jax.nn.relu)
  options = dict(dropout=0.0)
  forms = [
    (fusion.plug(SITES, found, **options),),
    *(
      scaling.plugs(SITES, found, uniform=u, shared_at=s, **options)
      for s in ('', 'encoder')
      for u in (False, True)
    ),
  ]
  counts = []
  for plugs in forms:
    apply = Apply(module, plugs)
    tree_of = jax.eval_shape(apply.init, jax.random.key(0), rows)
    learns = {
      n: x
      for n, x in tree.flatten(tree_of).items()
      if '/fusion_' in n or n.endswith(scaling.LEAF)
    }
    counts.append(tree.size(tree.unflatten(learns)))
  assert tuple(counts) == expected
  plug = adapter.pfeiffer_plug(SITES, d // 16, 'relu', 0.02)
  one = jax.eval_shape(Apply(module, (plug,)).init, jax.random.key(0), rows)
  one = {n: x for n, x in tree.flatten(one).items() if '/adapter_' in n}
  assert tree.size(tree.unflatten(one)) == {768: 894_528, 1024: 3_171_840}[d]
