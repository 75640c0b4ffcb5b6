"""Golden vectors of LaMDA: adapter, freeze counters, spectral start."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.peft import lamda, rank_allocation
from tests.peft import linear

Rows = list[tuple]
VALUE = (1e-5, 0.0)
# Single elements may cancel.
GRADIENT = (1e-6, 1e-4)
SPECTRUM = (1e-4, 0.0)
EXACT = (0.0, 0.0)
INPUTS = {
  'x', 'cotangent', 'weight', 'bias', 'pma', 'lda', 'pmb', 'scaling',
  'max_steps', 'grad_accum', 'eta',
}  # fmt: skip


def compare(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  rows = [*_layer(arrays), *_counters(arrays), *_spectrum(arrays)]
  left = sorted(arrays.keys() - INPUTS - {row[0] for row in rows})
  if left:
    raise ValueError(f'nothing compares {left}')
  return rows


def _layer(a: dict[str, np.ndarray]) -> Rows:
  rank = len(a['pma'])
  alpha = float(a['scaling']) * rank
  plug = lamda.plug(linear.SITE, lambda path: rank, alpha)
  apply = linear.apply(plug, len(a['weight']))
  params = linear.tree(
    kernel=a['weight'].T,
    bias=a['bias'],
    lamda_a=a['pma'].T,
    lamda_s=a['lda'].T,
    lamda_b=a['pmb'].T,
  )

  def run(params, x):
    y = apply(params, {'x': x})['y']
    return jnp.sum(y * a['cotangent']), y

  gradient = jax.jit(jax.grad(run, (0, 1), has_aux=True))
  (grads, gx), y = gradient(params, jnp.asarray(a['x']))
  merged = lamda.merge(params, alpha)[linear.SITE]
  leaves = grads[linear.SITE]
  return [
    ('out', y, a['out'], *VALUE),
    ('out: merged', a['x'] @ merged['kernel'] + a['bias'], a['out'], *VALUE),
    ('g_lda', leaves['lamda_s'].T, a['g_lda'], *GRADIENT),
    ('g_pmb', leaves['lamda_b'].T, a['g_pmb'], *GRADIENT),
    ('g_x', gx, a['g_x'], *GRADIENT),
  ]


def _counters(a: dict[str, np.ndarray]) -> Rows:
  rank, steps = len(a['pma']), int(a['max_steps'])
  micro = steps * int(a['grad_accum'])
  # The file's float32 is the nearest to a decimal number.
  eta = float(str(np.float32(a['eta'])))

  def counts(total, schedule):
    at = range(1, total + 1)
    found = [lamda.frozen_rows(k, rank, total, eta, schedule) for k in at]
    # The optimizer's mask is the inverse of the same counter.
    first = lamda.freezing_steps(rank, total, eta, schedule)
    assert found == [int((first <= k).sum()) for k in at]
    return np.array(found)

  released = counts(micro, 'released')
  rows = {
    'released_frozen_columns': released,
    'released_fully_frozen': released >= rank,
    'intended_frozen_columns': counts(steps, 'intended'),
  }
  return [(name, ours, a[name], *EXACT) for name, ours in rows.items()]


def _spectrum(a: dict[str, np.ndarray]) -> Rows:
  """Products too; in place of vectors where singular values are close."""
  rank = a['svd_pma'].shape[0]
  alpha = float(a['scaling']) * rank
  found = lamda.decompose(a['weight'].T, rank, alpha, 'svd_residual')
  pma, lda, pmb = (found[f'lamda_{x}'].T for x in 'asb')
  lda = lda * float(a['scaling'])
  _, sigma, _ = lamda.spectrum(a['weight'].T)
  gaps = -np.diff(sigma[: rank + 1])
  rows = [
    ('svd_lda', lda, a['svd_lda'], *SPECTRUM),
    (
      'svd_residual_weight',
      found['kernel'].T,
      a['svd_residual_weight'],
      *SPECTRUM,
    ),
    ('singular_values', sigma, a['singular_values'], *SPECTRUM),
    (
      'normalized_energy',
      rank_allocation.normalised_energy(sigma),
      a['normalized_energy'],
      *SPECTRUM,
    ),
    (
      'svd: product',
      pmb @ lda @ pma,
      a['svd_pmb'] @ a['svd_lda'] @ a['svd_pma'],
      *SPECTRUM,
    ),
  ]
  if gaps.min(initial=np.inf) > 1e-3 * sigma[0]:
    ours = {'svd_pma': pma, 'svd_pmb': pmb}
  else:
    ours = {'svd_pma': pma.T @ pma, 'svd_pmb': pmb @ pmb.T}
    a = dict(
      svd_pma=a['svd_pma'].T @ a['svd_pma'],
      svd_pmb=a['svd_pmb'] @ a['svd_pmb'].T,
    )
  return rows + [(name, x, a[name], *SPECTRUM) for name, x in ours.items()]
