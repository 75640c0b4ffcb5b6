"""Bytes of messages, read off compiled programs of known messages."""

import json

import pytest

from glue_jax.probes import collectives
from tests.conftest import run_on_devices

SCRIPT = """
import json
import jax, jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec as P
from glue_jax.probes import collectives

mesh = jax.make_mesh((4,), ('d',), axis_types=(AxisType.Auto,))

def mapped(fn, out):
  fn = jax.shard_map(
    fn, mesh=mesh, in_specs=P('d'), out_specs=out, check_vma=False
  )
  return jax.jit(fn)

def text(fn, x, out):
  return mapped(fn, out).lower(x).compile().as_text()

def looped(x):
  step = lambda _, y: jax.lax.psum(jnp.sin(y), 'd')
  return jax.lax.fori_loop(0, 5, step, x)

def branched(x):
  gather = lambda y: jax.lax.all_gather(y, 'd', tiled=True)
  both = [gather, lambda y: jnp.tile(y, (4, 1))]
  return jax.lax.switch(jax.lax.axis_index('d') * 0 + (x[0, 0] > 0), both, x)

x = jnp.ones((8, 6))
half = x.astype(jnp.bfloat16)
print(json.dumps([
  collectives.sent(text(looped, x, P())),
  collectives.sent(text(lambda y: jax.lax.all_gather(y, 'd'), half, P())),
  collectives.sent(text(
    lambda y: jax.lax.ppermute(y, 'd', [(0, 1), (1, 0)]), x, P('d')
  )),
  collectives.sent(text(branched, x, P())),
  collectives.sent(text(lambda y: y * 2, x, P('d'))),
]))
"""


def test_bytes_of_known_messages():
  looped, halves, permuted, branched, none = json.loads(
    run_on_devices(SCRIPT, 4).splitlines()[-1]
  )
  part = 2 * 6  # elements of one device's rows
  assert looped == {'all-reduce': 5 * part * 4}
  # A CPU may gather bfloat16 as float32.
  assert halves['all-gather'] in (4 * part * 2, 4 * part * 4)
  assert permuted == {'collective-permute': part * 4}
  assert branched['all-gather'] == 4 * part * 4
  assert none == {}


def test_what_is_no_program_is_refused():
  with pytest.raises(ValueError, match='no line with ENTRY'):
    collectives.sent('HloModule nothing')
