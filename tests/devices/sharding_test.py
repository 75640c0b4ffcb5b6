import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from glue_jax.devices import sharding

RULES = ((r'.*/kernel', ('fsdp', 'tensor')), (r'.*/bias', (None,)))


class FakeMesh:
  """Sizes of a mesh that this machine has no devices for."""

  shape = {'data': 2, 'fsdp': 4, 'tensor': 2}


@pytest.fixture
def specs(monkeypatch):
  """param_specs on a mesh of 16 devices, as partition specs."""
  monkeypatch.setattr(sharding, 'NamedSharding', lambda mesh, spec: spec)

  def specs(**shapes):
    tree = {'m': {n: np.zeros(s, np.float32) for n, s in shapes.items()}}
    return sharding.param_specs(tree, RULES, FakeMesh)['m']

  return specs


def test_rules_hold_where_they_divide(specs):
  assert specs(kernel=(8, 6)) == {'kernel': P('fsdp', 'tensor')}
  assert specs(kernel=(6, 8)) == {'kernel': P(None, 'tensor')}
  assert specs(bias=(8,)) == {'bias': P(None)}


def test_leaves_without_a_rule_are_split_on_their_largest_dimension(specs):
  assert specs(lora_a=(64, 4096)) == {'lora_a': P(None, 'fsdp')}
  assert specs(lora_a=(4096, 63)) == {'lora_a': P('fsdp', None)}
  assert specs(odd=(4097, 63)) == {'odd': P(None, None)}
  # Too small to be worth a message.
  assert specs(lora_b=(8, 8)) == {'lora_b': P(None, None)}


def test_optimizer_state_follows_its_parameters(monkeypatch):
  mesh = sharding.make_mesh()
  params = {'m': {'kernel': np.zeros((4, 4), np.float32)}}
  specs = sharding.param_specs(params, RULES, mesh)
  state = optax.adam(1e-3).init(params)
  shardings = sharding.like_params(state, specs, mesh)
  assert shardings[0].mu['m']['kernel'].spec == P('fsdp', 'tensor')
  assert shardings[0].count.spec == P()


def test_a_mesh_that_does_not_fit_the_devices_is_refused():
  with pytest.raises(ValueError, match='data=-1 fsdp=3 tensor=1 does not fit'):
    sharding.make_mesh(fsdp=3)
  assert sharding.make_mesh().shape == {
    'data': len(jax.devices()),
    'fsdp': 1,
    'tensor': 1,
    'expert': 1,
  }


def test_devices_along_tensor_belong_to_one_process():
  two = np.arange(8) // 4  # processes of four devices each
  for shape in ((2, 1, 4, 1), (1, 2, 2, 2), (1, 1, 1, 8), (8, 1, 1, 1)):
    sharding.check_processes(two.reshape(shape))
  for shape in ((1, 1, 8, 1), (1, 1, 2, 4)):
    with pytest.raises(ValueError, match='several of the 2 processes'):
      sharding.check_processes(two.reshape(shape))


def test_devices_along_expert_have_rows_of_their_own():
  class Mesh:
    shape = {'data': 2, 'fsdp': 3, 'tensor': 5, 'expert': 7}

  assert sharding.batch_multiple(Mesh) == 2 * 3 * 7
  assert [sharding.shared_rows(n, Mesh) for n in (1, 42, 64)] == [42, 42, 84]


def test_a_run_is_opened_on_other_devices_than_it_was_trained_on():
  assert sharding.fitting(data=-1, fsdp=1) == {'data': -1, 'fsdp': 1}
  assert sharding.fitting(data=-1, fsdp=3) == {}
