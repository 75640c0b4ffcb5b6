"""Golden vectors of SlimFit: the official operations and schedule, float32."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.compress import saved_activations
from glue_jax.optim import layer_schedule

Rows = list[tuple]
FORWARD = (1e-5, 1e-5)
GRADIENT = (1e-5, 1e-4)
DISTANCE = (1e-6, 1e-5)
EXACT = (0.0, 0.0)
EPS = 1e-12


def compare(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  if 'gelu_x' in arrays:
    rows = _operations(arrays)
    given = {'gelu_x', 'mm_a', 'mm_b', 'smm_s', 'smm_v', 'lin_x', 'lin_w',
             'lin_b', 'ln_x', 'ln_w', 'ln_b'}  # fmt: skip
    given |= {name for name in arrays if name.endswith('_gy')}
  elif 'frozen' in arrays:
    rows = _schedule(arrays)
    given = {'sizes', 'p0', 'grads', 'd_init', 'freeze_rate', 'lr'}
  else:
    raise ValueError(f'no known kind of SlimFit file: arrays {sorted(arrays)}')
  left = sorted(arrays.keys() - given - {row[0] for row in rows})
  if left:
    raise ValueError(f'nothing compares {left}')
  return rows


def _operations(a: dict[str, np.ndarray]) -> Rows:
  dense = lambda x, w, b: saved_activations.dense8(x, w.T) + b
  active = lambda x, w, b: saved_activations.layernorm_pruned(x, w, b, EPS)
  frozen = lambda x, b: saved_activations.layernorm_pruned(x, a['ln_w'], b, EPS)
  cases = (
    ('gelu', saved_activations.gelu4, 'x', ''),
    ('mm', saved_activations.matmul8, 'ab', ''),
    ('smm', saved_activations.softmax_matmul8, 'sv', ''),
    ('lin', dense, 'xwb', ''),
    ('ln', active, 'xwb', '_active'),
    ('ln', frozen, 'xb', '_frozen'),
  )
  rows = []
  for prefix, fn, names, ending in cases:
    inputs = [jnp.asarray(a[f'{prefix}_{name}']) for name in names]
    y, pull = jax.vjp(fn, *inputs)
    rows.append((f'{prefix}_y', y, a[f'{prefix}_y'], *FORWARD))
    for name, value in zip(names, pull(jnp.asarray(a[f'{prefix}_gy']))):
      # The bias of the active LayerNorm has the plain name.
      plain = ending == '_active' and name == 'b'
      key = f'{prefix}_g{name}{"" if plain else ending}'
      rows.append((key, value, a[key], *GRADIENT))
  return rows


def _schedule(a: dict[str, np.ndarray]) -> Rows:
  ends = np.cumsum(a['sizes'])
  split = lambda flat: np.split(flat, ends[:-1])
  params, priority = split(a['p0']), a['d_init'].copy()
  rate, lr = float(a['freeze_rate']), a['lr']
  masks, distances, priorities = [], [], []
  for gradient in a['grads']:
    frozen = layer_schedule.frozen_layers(priority, rate)
    distance = np.zeros_like(priority)
    for i, part in enumerate(split(gradient)):
      if not frozen[i]:
        new = params[i] - lr * part
        distance[i] = layer_schedule.distance(params[i], new)
        params[i], priority[i] = new, distance[i]
    masks.append(frozen)
    distances.append(distance)
    priorities.append(priority.copy())
  return [
    ('frozen', np.array(masks), a['frozen'], *EXACT),
    ('distance', np.array(distances), a['distance'], *DISTANCE),
    ('priority_after', np.array(priorities), a['priority_after'], *DISTANCE),
    ('p_final', np.concatenate(params), a['p_final'], *DISTANCE),
  ]
