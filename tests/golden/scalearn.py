"""Golden vectors of ScaLearn's forms and AdapterFusion around one LayerNorm."""

import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.layers.norms.layer import LayerNorm
from glue_jax.peft import adapter, fusion, scaling, source_adapters
from glue_jax.plugs import Apply, Plug

Rows = list[tuple]
SITES = r'encoder/layer_\d+/ln_ffn'
EPS = 1e-5
VALUE = (1e-5, 0.0)
# Relative, of an array's largest value, as single elements may cancel.
GRADIENT_RTOL, GRADIENT_FLOOR = 1e-4, 1e-5
# omega / sum omega may be ill-conditioned.
LOOSE_RTOL = 1e-3


class Layer(nn.Module):
  """LN(f + a), the end of a block of the encoder."""

  @nn.compact
  def __call__(self, f: jax.Array, a: jax.Array) -> jax.Array:
    """Maps f and a, (B, T, D), to (B, T, D)."""
    return LayerNorm(EPS, name='ln_ffn')(f + a)


class Encoder(nn.Module):
  """Such ends in a row, all with the same a."""

  layers: int

  @nn.compact
  def __call__(self, f: jax.Array, a: jax.Array) -> jax.Array:
    """Maps f and a, (B, T, D), to (B, T, D)."""
    for i in range(self.layers):
      f = Layer(name=f'layer_{i}')(f, a)
    return f


class Model(nn.Module):
  """The encoder under the name that it has in a model."""

  layers: int

  @nn.compact
  def __call__(self, batch: dict, train: bool) -> dict:
    """Returns {'y': (B, T, D)} of a batch with `f` and `a`."""
    del train
    encoder = Encoder(self.layers, name='encoder')
    return {'y': encoder(batch['f'], batch['a'])}


def compare(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  rows = _single(arrays) + _forms(arrays) + _fusion(arrays)
  ends = ('_out', '_grad', '_loss', '_input', '_outputs')
  left = {k for k in arrays if k.endswith(ends)} - {row[0] for row in rows}
  left -= {'ffn_out'}
  if left:
    raise ValueError(f'nothing compares {sorted(left)}')
  return rows


def given(a: dict[str, np.ndarray]) -> tuple[source_adapters.Sources, dict]:
  """Returns (Sources, {leaf of one site: value}) of a file."""
  n, m, d = a['down_w'].shape
  adapters = [
    {
      'x/adapter_down_kernel': a['down_w'][t].T,
      'x/adapter_down_bias': a['down_b'][t],
      'x/adapter_up_kernel': a['up_w'][t].T,
      'x/adapter_up_bias': a['up_b'][t],
    }
    for t in range(n)
  ]
  stacked = source_adapters.stack(adapters)
  own = {name.removeprefix('x/'): x for name, x in stacked.items()}
  return source_adapters.Sources(n, m, d, jax.nn.relu), own


def run(
  a: dict[str, np.ndarray],
  plugs: tuple[Plug, ...],
  site: dict[str, np.ndarray],
  leaves: dict[str, np.ndarray],
  layers: int = 1,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Returns (output, {leaf: gradient of sum(output * cotangent)}).

  Args:
    a: the file's arrays.
    plugs: around the layers.
    site: leaves of every layer's LayerNorm.
    leaves: further leaves by whole name; of these there are gradients.
    layers: how many in a row.
  """
  norm = {'scale': a['ln_weight'], 'bias': a['ln_bias']}
  fixed = {
    f'encoder/layer_{i}/ln_ffn/{name}': jnp.asarray(x)
    for i in range(layers)
    for name, x in (norm | site).items()
  }
  apply = Apply(Model(layers), plugs)
  batch = {'f': a['ffn_out'], 'a': a['input_tensor']}
  leaves = {name: jnp.asarray(x) for name, x in leaves.items()}
  fresh = jax.eval_shape(apply.init, jax.random.key(0), batch)
  gap = tree.diff(fresh, tree.unflatten(fixed | leaves))
  if gap:
    raise ValueError(f'other leaves than the plugs make:\n{gap}')

  def loss(leaves):
    y = apply(tree.unflatten(fixed | leaves), batch)['y']
    return jnp.sum(y * a['cotangent']), y

  gradients, y = jax.jit(jax.grad(loss, has_aux=True))(leaves)
  return y, gradients


def _gradient(name, ours, theirs, rtol=GRADIENT_RTOL):
  atol = max(rtol * np.abs(theirs).max(), GRADIENT_FLOOR)
  return (name, ours, theirs, atol, 0.0)


def _single(a) -> Rows:
  """The layer without adapters, with one, and every adapter's output."""
  found, site = given(a)
  plain, _ = run(a, (), {}, {})
  rows = [
    (name, plain, a[name], *VALUE)
    for name in ('no_adapter_out', 'adapter_input')
  ]
  plug = adapter.pfeiffer_plug(SITES, found.size, 'relu', 0.02)
  own = {
    'adapter_down_kernel': a['down_w'][0].T,
    'adapter_down_bias': a['down_b'][0],
    'adapter_up_kernel': a['up_w'][0].T,
    'adapter_up_bias': a['up_b'][0],
  }
  one, _ = run(a, (plug,), own, {})
  rows.append(('single_adapter_out', one, a['single_adapter_out'], *VALUE))
  down = (site['source_down_kernel'], site['source_down_bias'])
  stacked = source_adapters.Stacked(
    down, (site['source_up_kernel'], site['source_up_bias'])
  )
  each = [
    adapter.bottleneck(plain, *scaling.wide(stacked, row[:, None]), jax.nn.relu)
    for row in np.eye(found.count, dtype=np.float32)
  ]
  name = 'adapter_up_outputs'
  return rows + [(name, jnp.stack(each, -2), a[name], *VALUE)]


def _forms(a) -> Rows:
  """ScaLearn, its forms and the ablations, forward and gradient."""
  found, site = given(a)
  rows = []
  for name, omega, options in (
    ('scalearn', 'scalearn_omega', {}),
    ('scalearn_uniform', 'scalearn_uniform_omega', dict(uniform=True)),
    ('scalearn_pp', 'scalearn_omega', dict(shared_at='encoder')),
    (
      'scalearn_uniform_pp',
      'scalearn_uniform_omega',
      dict(uniform=True, shared_at='encoder'),
    ),
    ('ablation_mean', 'scalearn_omega', dict(constraint='mean')),
    ('ablation_softmax', 'scalearn_omega', dict(constraint='softmax')),
  ):
    options = dict(uniform=False, dropout=0.0) | options
    shared = options.get('shared_at')
    leaf = f'{shared or "encoder/layer_0/ln_ffn"}/{scaling.LEAF}'
    y, gradients = run(
      a,
      scaling.plugs(SITES, found, **options),
      site,
      {leaf: a[omega]},
      layers=2 if shared else 1,
    )
    key = f'{name}_two_layer_out' if shared else f'{name}_out'
    loose = name == 'ablation_mean'
    rows.append((key, y, a[key], VALUE[0], LOOSE_RTOL if loose else 0.0))
    key = f'{name}_omega_grad'
    rtol = LOOSE_RTOL if loose else GRADIENT_RTOL
    rows.append(_gradient(key, gradients[leaf], a[key], rtol))
  return rows


def _fusion(a) -> Rows:
  found, site = given(a)
  names = {
    f'encoder/layer_0/ln_ffn/fusion_{part}_{end}': f'fusion_{part}_{theirs}'
    for part, end, theirs in (
      ('query', 'kernel', 'weight'),
      ('query', 'bias', 'bias'),
      ('key', 'kernel', 'weight'),
      ('key', 'bias', 'bias'),
      ('value', 'kernel', 'weight'),
    )
  }
  leaves = {ours: a[theirs].T for ours, theirs in names.items()}
  plug = fusion.plug(SITES, found, dropout=0.0)
  y, gradients = run(a, (plug,), site, leaves)
  rows = [('fusion_out', y, a['fusion_out'], *VALUE)]
  for ours, theirs in names.items():
    key = f'{theirs}_grad'
    rows.append(_gradient(key, gradients[ours].T, a[key]))
  loss = 0.01 * fusion.penalty(tree.unflatten(leaves))
  want = a['fusion_reg_loss']
  return rows + [('fusion_reg_loss', loss, want, VALUE[0], GRADIENT_RTOL)]
