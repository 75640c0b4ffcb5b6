import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glue_jax.optim import build, schedules

PARAMS = {
  'encoder': {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)},
  'ln_ffn': {'scale': jnp.ones(2)},
  'head': {'kernel': jnp.ones((2, 2))},
}
NAMES = ['encoder/kernel', 'encoder/bias', 'ln_ffn/scale', 'head/kernel']
ZERO = jax.tree.map(jnp.zeros_like, PARAMS)


def update(grads, **kwargs):
  tx, _ = build.make(
    total_steps=10, names=NAMES, schedule='constant', warmup=0, **kwargs
  )
  return tx.update(grads, tx.init(PARAMS), PARAMS)[0]


def test_decay_spares_biases_and_layer_norms():
  out = update(ZERO, lr=0.1, weight_decay=0.5)
  np.testing.assert_allclose(out['encoder']['kernel'], -0.05)
  np.testing.assert_allclose(out['head']['kernel'], -0.05)
  np.testing.assert_array_equal(out['encoder']['bias'], 0)
  np.testing.assert_array_equal(out['ln_ffn']['scale'], 0)


def test_the_first_group_that_matches_holds():
  groups = (
    ('head/.*', {'lr': 10.0, 'weight_decay': 0.1}),
    ('.*/kernel', {'lr': 0.0}),
  )
  out = update(ZERO, lr=0.1, weight_decay=0.5, groups=groups)
  np.testing.assert_allclose(out['head']['kernel'], -0.1, rtol=1e-6)
  np.testing.assert_array_equal(out['encoder']['kernel'], 0)


def test_it_is_adamw_with_clipping():
  grads = jax.tree.map(lambda x: 3.0 * x, PARAMS)
  ours = update(grads, lr=0.1, weight_decay=0.0, clip_norm=1.0)
  peer = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adamw(0.1, weight_decay=0.0)
  )
  theirs = peer.update(grads, peer.init(PARAMS), PARAMS)[0]
  jax.tree.map(np.testing.assert_allclose, ours, theirs)


def test_adam_has_its_decay_in_the_gradient_as_in_pytorch():
  torch = pytest.importorskip('torch')
  value, grad = np.array([1.0, -2.0], np.float32), np.array([0.3, 0.1])
  peer = torch.nn.Parameter(torch.tensor(value))
  adam = torch.optim.Adam([peer], lr=0.1, weight_decay=0.5, eps=1e-6)
  tx, _ = build.make(
    total_steps=10,
    names=['kernel'],
    name='adam',
    lr=0.1,
    schedule='constant',
    warmup=0,
    weight_decay=0.5,
    args={'eps': 1e-6},
  )
  params = {'kernel': jnp.asarray(value)}
  state = tx.init(params)
  for step in range(3):
    peer.grad = torch.tensor(grad * (step + 1), dtype=torch.float32)
    adam.step()
    ours, state = tx.update(
      {'kernel': jnp.asarray(peer.grad.numpy())}, state, params
    )
    params = optax.apply_updates(params, ours)
  np.testing.assert_allclose(params['kernel'], peer.detach().numpy(), rtol=1e-5)


@pytest.mark.parametrize(
  'kwargs, message',
  [
    (dict(name='adamm'), "name='adamm'; expected one of .*adamw"),
    (dict(groups=(('haed/.*', {}),)), "'haed/.\\*' matches none"),
    (
      dict(groups=(('head/.*', {'lrr': 1}),)),
      r"groups\[0\]\[1\] key='lrr'; expected 'lr' or 'we",
    ),
    (dict(lr=1.0, schedule='step'), "schedule='step'; expected"),
  ],
)
def test_bad_input_is_named(kwargs, message):
  with pytest.raises(ValueError, match=message):
    build.make(total_steps=10, names=NAMES, **kwargs)


def test_schedules():
  linear = schedules.make(1.0, 100, 'linear', 0.1)
  assert [float(linear(s)) for s in (0, 5, 10, 55, 100)] == pytest.approx(
    [0, 0.5, 1, 0.5, 0], abs=1e-6
  )
  cosine = schedules.make(1.0, 100, 'cosine', 20)
  assert float(cosine(60)) == pytest.approx(0.5, abs=1e-6)
  with pytest.raises(ValueError, match='200 steps of 100'):
    schedules.make(1.0, 100, 'linear', 200)


@pytest.mark.parametrize(
  'kwargs, at, expected',
  [
    # 1 - 45/90 of the way, squared, down to a tenth.
    (
      dict(shape='polynomial', warmup=10, power=2.0, final=0.1),
      (0, 10, 55, 100),
      (0, 1, 0.1 + 0.9 * 0.25, 0.1),
    ),
    (dict(shape='inverse_sqrt', warmup=25), (5, 25, 100), (0.2, 1, 0.5)),
    (dict(shape='flat_inverse_sqrt', warmup=25), (0, 25, 100), (1, 1, 0.5)),
    # ELECTRA's product: the warm-up is not what it would be alone.
    (
      dict(shape='product', warmup=10),
      (0, 5, 10, 55, 100, 101),
      (0, 0.95 * 0.5, 0.9, 0.45, 0, 0),
    ),
    (dict(shape='product', warmup=0), (0, 50), (1, 0.5)),
    # DeBERTa's falls at the end of its warm-up.
    (dict(shape='warmup_linear', warmup=10), (5, 9, 10), (0.5, 0.9, 0.9)),
    (dict(shape='warmup_linear', warmup=0), (0, 50), (1, 0.5)),
  ],
)
def test_schedules_of_pre_training(kwargs, at, expected):
  rate = schedules.make(1.0, 100, **kwargs)
  assert [float(rate(step)) for step in at] == pytest.approx(expected, abs=1e-6)


def test_the_library_has_the_same_schedules():
  torch = pytest.importorskip('torch')
  from transformers import optimization as library

  for shape, peer in (
    ('inverse_sqrt', dict(name='inverse_sqrt')),
    (
      'polynomial',
      dict(
        name='polynomial', num_training_steps=40,
        scheduler_specific_kwargs=dict(power=3.0, lr_end=0.02),
      ),
    ),
  ):  # fmt: skip
    weight = torch.nn.Parameter(torch.zeros(1))
    theirs = library.get_scheduler(
      optimizer=torch.optim.SGD([weight], lr=0.1), num_warmup_steps=8, **peer
    )
    settings = dict(power=3.0, final=0.2) if shape == 'polynomial' else {}
    ours = schedules.make(0.1, 40, shape, 8, **settings)
    for step in range(40):
      expected = theirs.get_last_lr()[0]
      assert float(ours(step)) == pytest.approx(expected, rel=1e-5), step
      theirs.optimizer.step()
      theirs.step()


@pytest.mark.parametrize(
  'kwargs, message',
  [
    (dict(shape='product', final=0.1), "'product' has no end"),
    (dict(shape='warmup_linear', power=2.0), 'has no power'),
    (dict(shape='linear', power=2.0), "'linear' has no power"),
    (dict(shape='inverse_sqrt'), 'give optimizer.warmup'),
  ],
)
def test_what_a_schedule_lacks_is_refused(kwargs, message):
  with pytest.raises(ValueError, match=message):
    schedules.make(1.0, 100, **kwargs)
