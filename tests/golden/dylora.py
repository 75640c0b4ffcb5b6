"""Golden vectors of DyLoRA: the official linear layer at every rank."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.peft import dylora, lora
from tests.peft import linear

Rows = list[tuple]
VALUE = (3e-5, 0.0)
GRADIENT = (3e-5, 1e-4)
INPUTS = {'x', 'cotangent', 'weight', 'bias', 'lora_A', 'lora_B', 'alpha'}


def compare(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  rank, out = arrays['lora_A'].shape[0], arrays['weight'].shape[0]
  factor = lora.scale(rank, float(arrays['alpha']), rank_stabilised=False)
  apply = linear.apply(lora.plug(linear.SITE, rank, factor), out)
  params = linear.tree(
    kernel=arrays['weight'].T,
    bias=arrays['bias'],
    lora_a=arrays['lora_A'].T,
    lora_b=arrays['lora_B'].T,
  )

  # The rank is traced: one program a mode.
  def run(params, x, active, mode):
    nested = dylora.nested(params, linear.SITE, active, mode)
    y = apply(nested, {'x': x})['y']
    return jnp.sum(y * arrays['cotangent']), y

  program = jax.jit(jax.grad(run, (0, 1), has_aux=True), static_argnames='mode')
  rows = []
  for b in range(1, rank + 1):
    for mode in dylora.MODES:
      (grads, gx), y = program(params, jnp.asarray(arrays['x']), b, mode=mode)
      rows += _results(arrays, f'rank{b}_{mode}', grads[linear.SITE], gx, b)
      rows.append((f'rank{b}_out', y, arrays[f'rank{b}_out'], *VALUE))
    cut = dylora.nested(params, linear.SITE, b)
    merged = lora.merge(cut, factor)[linear.SITE]['kernel']
    delta = (merged - params[linear.SITE]['kernel']).T
    name = f'rank{b}_delta_w'
    rows.append((name, delta, arrays[name], *VALUE))
  left = sorted(arrays.keys() - INPUTS - {row[0] for row in rows})
  if left:
    raise ValueError(f'nothing compares {left}')
  return rows


def _results(arrays, prefix, grads, gx, active) -> Rows:
  """Gradients, and their zeros, which must be exact."""
  ours = {'gA': grads['lora_a'].T, 'gB': grads['lora_b'].T, 'gx': gx}
  rows = []
  for name, value in ours.items():
    theirs = arrays[f'{prefix}_{name}']
    rows.append((f'{prefix}_{name}', value, theirs, *GRADIENT))
  first = active - 1 if prefix.endswith('frozen') else 0
  dead = np.ones(len(arrays['lora_A']), bool)
  dead[first:active] = False
  for name, value in (('gA', ours['gA'][dead]), ('gB', ours['gB'][:, dead])):
    rows.append((f'{prefix}_{name}: zeros', value, value * 0, 0.0, 0.0))
  return rows
