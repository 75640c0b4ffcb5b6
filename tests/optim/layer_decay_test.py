"""One rate a block, falling from the head down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glue_jax import tree
from glue_jax.models import model as models
from glue_jax.optim import build
from glue_jax.optim.layer_decay import factors
from glue_jax.training import begin, first_state, schema
from tests.conftest import tiny_config

ARGS = {name: dict(rank=2) for name in ('galore', 'natural_galore')}
ARGS['sgd'] = dict(decay=0.9)
FAMILIES = ('bert', 'roberta', 'electra', 'fnet', 'ponet', 'hydra', 'comet')
# At a decay of 0.5 with two blocks.
EXPECTED = {
  'head': 1.0,
  'pooler': 1.0,
  'encoder/layer_1': 0.5,
  'encoder/layer_0': 0.25,
  'encoder/embeddings': 0.125,
}


def place(name):
  return next(p for p in EXPECTED if name.startswith(f'{p}/'))


@pytest.mark.parametrize('family', FAMILIES)
def test_every_leaf_of_a_backbone_has_the_factor_of_its_depth(family):
  model = models.build(
    family, 'tiny', 'classification', 2, num_layers=2, vocab_size=9
  )
  found = factors(models.shapes(model), 0.5)
  assert found == {name: EXPECTED[place(name)] for name in found}
  assert {place(name) for name in found} >= EXPECTED.keys() - {'pooler'}


def test_tables_of_positions_are_as_deep_as_the_embeddings():
  model = models.build('deberta_v2', 'tiny', num_layers=2, vocab_size=9)
  found = factors(models.shapes(model), 0.5)
  assert found['encoder/positions/embedding'] == 0.125
  assert found['encoder/embeddings/word/embedding'] == 0.125


def test_a_network_beside_the_model_has_no_depth():
  inside = ['encoder/layer_1/x', 'encoder/embeddings/x', 'head/x']
  beside = ['generator/encoder/layer_5/x', 'generator/encoder/embeddings/x']
  found = factors([*inside, *beside], 0.5, companions=('generator',))
  assert found == {
    'encoder/layer_1/x': 0.5, 'encoder/embeddings/x': 0.125, 'head/x': 1.0,
    **dict.fromkeys(beside, 1.0),
  }  # fmt: skip


def ones(names):
  return tree.unflatten({name: jnp.ones((4, 4)) for name in names})


def updates(tx, params, steps=2):
  """Those of the last of some steps under a constant gradient."""
  state = tx.init(params)
  for _ in range(steps):
    new, state = tx.update(params, state, params)
  return tree.flatten(new), state


@pytest.mark.parametrize('core', sorted(build.CORES))
def test_every_optimizer_scales_its_update(core):
  names = [f'{p}/dense/kernel' for p in EXPECTED]
  settings = dict(
    total_steps=8, names=names, name=core, args=ARGS.get(core), lr=0.1,
    groups=(('head/.*', {'lr': 3.0}),),
  )  # fmt: skip

  def made(**more):
    tx, _ = build.make(**settings, **more)
    return updates(tx, ones(names), 3)

  plain, state = made()
  same, same_state = made(layer_decay=1.0)
  assert jax.tree.structure(state) == jax.tree.structure(same_state)
  decayed, _ = made(layer_decay=0.5)
  for name, value in plain.items():
    assert np.abs(value).min() > 0
    np.testing.assert_array_equal(same[name], value)
    np.testing.assert_array_equal(decayed[name], EXPECTED[place(name)] * value)


def test_a_methods_leaves_have_the_factor_of_their_place():
  def made(**more):
    config = tiny_config(
      model=dict(max_positions=32),
      optimizer=dict(name='sgd', args=ARGS['sgd'], warmup=0.0, **more),
      methods=(
        ('lora', dict(rank=2)),
        ('houlsby', dict(size=2)),
        ('prompt', dict(length=2)),
        ('prefix', dict(length=2)),
      ),
    )
    parts = begin.build(schema.bind(config, 4), 0)
    tx, _ = first_state.make_optimizer(parts)
    return updates(tx, jax.tree.map(jnp.ones_like, parts.params), 1)[0]

  plain, decayed = made(), made(layer_decay=0.5)
  shares = {n: float((decayed[n] / plain[n]).mean()) for n in plain}
  depths = {}
  for name, share in shares.items():
    shared = name.startswith('encoder/prefix/')
    assert share == (1.0 if shared else EXPECTED[place(name)]), name
    depths.setdefault(name.rpartition('/')[2], set()).add(share)
  assert depths['lora_a'] == {0.25, 0.5} and depths['prompt'] == {0.125}
  assert any('adapter_' in name for name in shares)


def test_a_model_without_blocks_has_no_depth():
  with pytest.raises(
    ValueError, match='layer_decay=0.9: no leaf is in a block'
  ):
    build.make(total_steps=2, names=['head/kernel'], layer_decay=0.9)
  with pytest.raises(ValueError, match=r'expected a number in \(0, 1\]'):
    build.make(total_steps=2, names=['head/kernel'], layer_decay=1.5)
