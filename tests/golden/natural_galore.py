"""Golden vectors of GaLore and Natural GaLore: the official optimizers' steps.

What is projected follows from the arrays: both factors, one `projector` whose
shape tells the side, or none. The transform of Natural GaLore is on in files
named natural_*; nothing among the arrays says it.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from glue_jax.optim import adam as moments
from glue_jax.optim import galore, natural_galore
from tests.quick import jit

Rows = list[tuple]
RESULTS = ('params', 'exp_avg', 'exp_avg_sq', 'projector')
RESULTS += ('factor_left', 'factor_right')


def compare(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  a = arrays
  projection, natural = _projection(a), _is_natural(a)
  found = run(a, projection, natural)
  moment = 1e-3 if natural else 1e-5
  tolerances = {
    'params': 5e-5 if projection == 'full' else 2e-6,
    'exp_avg': moment * np.abs(a['exp_avg']).max(),
    'exp_avg_sq': moment * np.abs(a['exp_avg_sq']).max(),
  }
  left = sorted(set(RESULTS) & set(a) ^ set(found))
  if left:
    raise ValueError(f'nothing compares {left}')
  return [
    # Of vectors whose singular values lie close, rounding decides more.
    (name, value, a[name], tolerances.get(name, 1e-4), 0.0)
    for name, value in found.items()
  ]


def run(
  a: dict[str, np.ndarray], projection: str | None, natural: bool
) -> dict[str, jax.Array]:
  """Results of every step, by the names of the arrays."""
  # The shortest decimal: 1 - float32(0.999) is off by 1e-5 of itself.
  value = {n: float(str(a[n])) for n in a if not a[n].ndim}
  value |= {n: int(value[n]) for n in ('rank', 'update_proj_gap', 'history')}
  adam = moments.scale_by_adam(value['beta1'], value['beta2'], value['eps'])
  inner = adam
  if projection:
    kwargs = dict(
      rank=min(value['rank'], *a['w0'].shape),
      update_proj_gap=value['update_proj_gap'],
      scale=value['scale'],
      projection=projection,
      targets=('w',),
    )
    inner = galore.scale_by_galore(adam, **kwargs)
    if natural:
      inner = natural_galore.scale_by_natural_galore(
        adam, history=value['history'], damping=value['damping'], **kwargs
      )
  tx = optax.chain(
    inner,
    optax.scale_by_learning_rate(value['lr']),
    galore.decay_after(value['lr'], value['weight_decay']),
  )

  def step(carry, gradient):
    params, state = carry
    updates, state = tx.update({'w': gradient}, state, params)
    params = optax.apply_updates(params, updates)
    return (params, state), (params, state[0])

  params = {'w': jnp.asarray(a['w0'])}
  scan = jit(lambda *args: jax.lax.scan(step, *args))
  _, (params, states) = scan((params, tx.init(params)), a['grads'])
  state = states
  if projection:
    state = states.inner[1] if natural else states.inner
  found = {
    'params': params['w'],
    'exp_avg': state.mu['w'],
    'exp_avg_sq': state.nu['w'],
  }
  if projection == 'full':
    found['factor_left'] = states.left['w']
    found['factor_right'] = states.right['w'].mT
  elif projection:
    side = states.left if projection == 'left' else states.right
    found['projector'] = side['w']
  return found


def _projection(a):
  if 'factor_left' in a:
    return 'full'
  if 'projector' not in a:
    return None
  n = a['w0'].shape[1]
  shape = a['projector'].shape[1:]
  return 'right' if shape == (min(a['rank'], *a['w0'].shape), n) else 'left'


def _is_natural(a):
  """Whether the first moments aren't those of the gradient itself."""
  g = a['grads'][0]
  if 'factor_left' in a:
    g = a['factor_left'][0].T @ g @ a['factor_right'][0]
  elif 'projector' in a:
    p = a['projector'][0]
    g = g @ p.T if _projection(a) == 'right' else p.T @ g
  plain = (1 - a['beta1']) * g
  return bool(
    np.abs(plain - a['exp_avg'][0]).max() > 1e-2 * np.abs(plain).max()
  )
