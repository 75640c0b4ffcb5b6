"""WANDA pruning before tuning. Sun et al. 2023, arXiv 2306.11695.

Parts: compress/wanda.py. `python -m launch.probe input-norms` writes the norms.
List it first: the weights are pruned, then packed or tuned. A pruned weight
stays zero while the kernels learn too; merging factors at export fills it.

Use it: to tune a model of which half the weights are zero.
Costs: a pass over data for the norms; arrays stay dense, so nothing gets faster
  by itself.
Not with: factors that are merged at export (`lora`, `dylora`), which fill
  the zeros; what packs weights before it.
"""

import optax

from glue_jax.compress import wanda
from glue_jax.config.ranges import Rate
from glue_jax.method import Context, Facts, Method

FACTS = Facts(small=dict(norms='NORMS'), identity=True)


def make(ctx: Context, *, norms: str, sparsity: Rate = 0.5) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.
    norms: .npz file of the layers' input norms.
    sparsity: share of each output's weights that goes, in [0, 1).

  Raises:
    ValueError: no such file, or norms that don't fit the model.
  """
  del ctx
  by_layer = wanda.read_norms(norms)
  pruned = {f'{path}/kernel' for path in by_layer}

  def wrap_tx(tx):
    return optax.chain(tx, wanda.keep_zeros(lambda name: name in pruned))

  return Method(
    'wanda',
    surgery=lambda _, params: wanda.prune(params, by_layer, sparsity),
    wrap_tx=wrap_tx,
  )
