"""Golden vectors of adapters around one sublayer and its LayerNorm."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.layers.norms.layer import LayerNorm
from glue_jax.peft import adapter
from glue_jax.plugs import Apply

Rows = list[tuple]
VALUE = (1e-5, 0.0)
# Relative, of an array's largest value, as single elements may cancel.
GRADIENT_RTOL, GRADIENT_FLOOR = 1e-4, 1e-6


class Given(nn.Module):
  """A sublayer whose output is given."""

  @nn.compact
  def __call__(self, a: jax.Array, f: jax.Array) -> jax.Array:
    """Returns f, whatever a is."""
    del a
    return f


class Sublayer(nn.Module):
  """LN(f + a) with the names that a block of the encoder has."""

  @nn.compact
  def __call__(self, batch: dict, train: bool) -> dict:
    """Returns {'y': (..., D)} of a batch with `f` and `a`."""
    del train
    a = batch['a']
    f = Given(name='ffn')(a, batch['f'])
    return {'y': LayerNorm(1e-12, name='ln_ffn')(f + a)}


def compare_blocks(a: dict[str, np.ndarray]) -> Rows:
  """Rows of the three kinds of adapters."""
  size = a['pfeiffer_down_weight'].shape[0]
  factor = float(a['parallel_scaling'])
  rows = []
  for kind, plug in (
    ('pfeiffer', adapter.pfeiffer_plug('ln_ffn', size, 'relu', 0.02)),
    ('houlsby', adapter.plug('ffn', size, 'silu', 0.02)),
    ('parallel', adapter.parallel_plug('ffn', size, 'relu', factor)),
  ):
    rows += _kind(a, kind, Apply(Sublayer(), (plug,)), plug.pattern)
  results = {k for k in a if k.endswith(('_out', '_grad'))} - {'sublayer_out'}
  left = sorted(results - {row[0] for row in rows})
  if left:
    raise ValueError(f'nothing compares {left}')
  return rows


def _kind(a, kind, apply, site):
  batch = {'f': a['sublayer_out'], 'a': a['sublayer_in']}
  names = {}
  for end in ('down', 'up'):
    names[f'{site}/adapter_{end}_kernel'] = f'{kind}_{end}_weight'
    names[f'{site}/adapter_{end}_bias'] = f'{kind}_{end}_bias'
  flat = {ours: jnp.asarray(a[theirs].T) for ours, theirs in names.items()}
  flat['ln_ffn/scale'] = jnp.asarray(a['ln_weight'])
  flat['ln_ffn/bias'] = jnp.asarray(a['ln_bias'])
  params = tree.unflatten(flat)
  apply.init(jax.random.key(0), batch)  # the same shapes, or an error

  def loss(params):
    y = apply(params, batch)['y']
    return jnp.sum(y * a['cotangent']), y

  gradients, y = jax.grad(loss, has_aux=True)(params)
  found = tree.flatten(gradients)
  rows = [(f'{kind}_out', y, a[f'{kind}_out'], *VALUE)]
  for ours, theirs in names.items():
    want = a[f'{theirs}_grad']
    atol = max(GRADIENT_RTOL * np.abs(want).max(), GRADIENT_FLOOR)
    rows.append((f'{theirs}_grad', found[ours].T, want, atol, 0.0))
  return rows
