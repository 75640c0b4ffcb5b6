"""Run by galore_test.py on 8 devices: the same updates as on one."""

import numpy as np

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.optim import galore, natural_galore
from tests.conftest import jit

SHAPES = {f'layer_{i}/query/kernel': (48, 64) for i in range(3)}
SHAPES |= {'layer_0/ffn_out/kernel': (96, 48)}
SHAPES |= {'layer_0/query/bias': (64,)}
RULES = (
  ('.*query/kernel', ('fsdp', 'tensor')),
  ('.*ffn_out/kernel', ('tensor', 'fsdp')),
)


def gradients(step):
  rng = np.random.default_rng(step)
  return tree.unflatten(
    {n: rng.normal(size=s).astype(np.float32) for n, s in SHAPES.items()}
  )


def run(tx, place, place_state):
  """Updates of the last of three steps, the third after a refresh."""
  state = place_state(tx.init(gradients(0)))
  update = jit(tx.update)
  for step in range(3):
    updates, state = update(place(gradients(step)), state)
  return tree.flatten(updates), state


mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
specs = sharding.param_specs(gradients(0), RULES, mesh)
put = lambda x: sharding.put(x, specs)
put_state = lambda s: sharding.put(s, sharding.like_params(s, specs, mesh))
for tx in (
  galore.core(rank=8, update_proj_gap=2, solver='randomised'),
  natural_galore.core(rank=8, update_proj_gap=2),
):
  alone, _ = run(tx, lambda x: x, lambda x: x)
  with sharding.enter(mesh):
    split, state = run(tx, put, put_state)
  right = tree.flatten(state.right)['layer_0/ffn_out/kernel']
  assert len({str(shard.index) for shard in right.addressable_shards}) > 1
  for name, value in alone.items():
    np.testing.assert_allclose(split[name], value, atol=1e-5, err_msg=name)
print('same')
