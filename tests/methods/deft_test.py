"""DEFT and its partners in tiny runs, composed with what tunes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.objectives import density
from glue_jax.training.begin import begin
from tests.conftest import jit, tiny_config

RELU = dict(activation='relu')


def begun(*methods, **model):
  config = tiny_config(methods=methods, model=RELU | model)
  return begin(config, 0, total=4)


def steps(run, count):
  """The state and metrics after some steps."""
  with sharding.enter(run.parts.mesh):
    for i in range(count):
      metrics = run.step(run.parts.bundle.train.batch(i))
  return run.host.state, metrics


def mean(metrics, name):
  total, count = metrics[name]
  return float(total) / float(count)


def leaves(state):
  return {n: np.asarray(x) for n, x in tree.flatten(state.params).items()}


@pytest.fixture(scope='module')
def plain():
  """LoRA alone: its leaves after two steps."""
  run = begun(('lora', dict(rank=2)))
  return leaves(steps(run, 2)[0])


def test_weight_zero_is_plain_tuning_bit_for_bit(plain):
  run = begun(('lora', dict(rank=2)), ('deft', dict(weight=0.0)))
  state, metrics = steps(run, 2)
  for name, value in leaves(state).items():
    np.testing.assert_array_equal(value, plain[name], err_msg=name)
  assert 0 < mean(metrics, 'density') < 1


@pytest.mark.parametrize(
  'method',
  [('lora', dict(rank=2)), ('qlora', dict(rank=2)), ('houlsby', dict(size=4))],
  ids=lambda m: m[0],
)
def test_density_falls_with_every_form_of_tuning(method):
  found = []
  for weight in (0.0, 20.0):
    run = begun(method, ('deft', dict(weight=weight)))
    _, metrics = steps(run, 4)
    found.append(mean(metrics, 'density_loss'))
  assert found[1] < found[0]


def test_loss_is_the_task_plus_the_weighted_density():
  parts = begun(('deft', dict(weight=3.0)), dropout=0.0).parts
  batch = dict(parts.bundle.train.batch(0))
  batch['weight'] = np.where(np.arange(16) < 5, 1, 0).astype('f4')

  def captured(params, keep):
    """What the wrapped loss ought to be, from all activations."""
    outputs = parts.plain.model.apply(
      {'params': params}, batch, capture_intermediates=True, mutable=True
    )[1]['intermediates']['encoder']
    layers = [
      outputs[f'layer_{i}']['ffn']['ffn_act']['__call__'][0] for i in range(2)
    ]
    share = [density.per_example(density.surrogate(a), keep) for a in layers]
    return density.combine(share)[:5].mean()

  rng = jax.random.key(0)
  for padding, keep in ((True, None), (False, batch['attention_mask'])):
    other = begun(
      ('deft', dict(weight=3.0, include_padding=padding)),
      dropout=0.0, attention_dropout=0.0,
    ).parts  # fmt: skip
    loss = other.method.wrap_loss(other.objective.loss)
    total, metrics = jit(lambda p, f=loss, a=other.apply: f(a, p, batch, rng))(
      other.params
    )
    task = mean(metrics, 'loss')
    expected = jit(captured)(other.params, keep)
    np.testing.assert_allclose(total - task, 3 * expected, rtol=1e-4)
    np.testing.assert_allclose(
      mean(metrics, 'density_loss'), expected, rtol=1e-4
    )


@pytest.mark.parametrize('remat', [False, True])
def test_only_reduced_values_leave_the_model(remat):
  parts = begun(('deft', {}), remat=remat).parts
  shapes = jax.eval_shape(
    parts.apply, parts.params, parts.bundle.train.batch(0)
  )
  assert {x.shape for x in shapes['captured'].values()} == {(16, 16)}
  assert len(shapes['captured']) == 4


def test_no_feed_forward_activation_is_refused():
  with pytest.raises(ValueError, match='ffn_act'):
    begun(('deft', {}), ffn='')


def with_gates(parts, *thetas):
  """The tree with these gates, and other leaves as after some training."""
  flat = tree.flatten(parts.params)
  for i, theta in enumerate(thetas):
    flat[f'encoder/layer_{i}/ffn/skip_gate'] = jnp.float32(theta)
  keys = iter(jax.random.split(jax.random.key(1), len(flat)))
  for name in flat:
    if name.endswith(('lora_b', 'bias')):
      flat[name] = jax.random.normal(next(keys), flat[name].shape)
  return flat


FFN_LORA = dict(rank=2, targets=('ffn_in', 'ffn_out'))


@pytest.mark.parametrize(
  'method', [('lora', FFN_LORA), ('qlora', dict(rank=2))], ids=lambda m: m[0]
)
def test_gates_fold_into_what_is_exported(method):
  parts = begun(method, ('ada_deft', {})).parts
  flat = with_gates(parts, 0.4, -1.0)
  batch = parts.bundle.train.batch(0)
  logits = jit(parts.apply)(tree.unflatten(flat), batch)['logits']
  folded = parts.method.export(tree.unflatten(flat))
  assert tree.flatten(folded).keys() == parts.names
  skipped = tree.flatten(folded)['encoder/layer_1/ffn/ffn_out/kernel']
  assert not np.asarray(skipped).any()
  ours = jit(parts.plain)(folded, batch)['logits']
  np.testing.assert_allclose(ours, logits, atol=1e-5)


def test_a_skipped_layer_computes_nothing():
  parts = begun(('ada_deft', {})).parts
  flat = with_gates(parts, 3.0, -1.0)
  # Whatever the product would be, it isn't computed.
  flat['encoder/layer_1/ffn/ffn_out/kernel'] *= jnp.nan
  out = jit(parts.apply)(tree.unflatten(flat), parts.bundle.train.batch(0))
  assert np.isfinite(out['logits']).all()
  share = out['captured']['encoder/layer_1/ffn/ffn_act/density_share']
  assert not np.asarray(share).any()


def test_what_gates_cannot_be_folded_into_is_refused():
  with pytest.raises(ValueError, match='list ada_deft before adapters'):
    begun(('houlsby', dict(size=4)), ('ada_deft', {}))
  with pytest.raises(ValueError, match='ada_deft .* lamda, which adds'):
    begun(('ada_deft', {}), ('lamda', dict(rank=2, targets=('ffn_out',))))


def test_gates_weigh_the_density_loss_and_are_pushed_down():
  run = begun(
    ('lora', dict(rank=2)), ('ada_deft', dict(weight=0.0, gate_weight=5.0))
  )
  state, metrics = steps(run, 2)
  gates = [x for n, x in leaves(state).items() if n.endswith('skip_gate')]
  assert len(gates) == 2 and all(gate < 3.0 for gate in gates)
  assert mean(metrics, 'layers_kept') == 2
  assert mean(metrics, 'gate') < jax.nn.sigmoid(3.0)
