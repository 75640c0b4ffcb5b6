"""LaMDA and LaMDA++. Azizi et al. 2024, arXiv 2406.12832. Parts: peft/lamda.py.

The step has two programs: while rows of B still move, and after eta of the run
when B is a constant, so that neither its gradient nor its optimizer state
exists. LaMDA++ is the same with a rank for each matrix
(peft/rank_allocation.py), given as `ranks`.

Use it: where LoRA's updates and optimizer state are still too much.
Costs: r^2 parameters a layer, and r D more until eta of the run; a
  decomposition of each kernel at the start; at LoRA's rate less accurate than
  LoRA on SST-2.
Not with: mixers without the targets (FNet, PoNet, Hydra), GaLore (no kernel
  learns).
"""

import functools
from collections.abc import Mapping

from glue_jax import tree
from glue_jax.config.ranges import Count, Names, Positive, Rate
from glue_jax.method import HEAD, Context, Facts, Hook, Method, matching
from glue_jax.peft import lamda, lora

# The variant's key: B is a constant.
_FIXED = 'lamda_fixed'

FACTS = Facts(
  small=dict(rank=4, alpha=4.0, eta=0.9),
  # While B learns; afterwards only the square matrices. The same from any
  # start; this one takes no decomposition.
  sizes=(
    (
      dict(rank=8, init='released'),
      lambda c: c.num_layers * 2 * (8 * 8 + 8 * c.hidden_size),
    ),
  ),
  axis='tune',
  cell=dict(rank=4),
  refuses={
    'has no layer': ('fnet', 'hydra', 'ponet'),
    'match none of the leaves': ('galore', 'natural_galore'),
  },
)


def make(
  ctx: Context,
  *,
  rank: Count = 8,
  alpha: Positive = 16.0,
  dropout: Rate = 0.0,
  targets: Names = ('query', 'value'),
  init: lamda.Initialisation = 'svd_residual',
  eta: Rate = 0.3,
  schedule: lamda.Schedule = 'intended',
  ranks: Mapping[str, Count] | None = None,
) -> Method:
  """Returns LaMDA on the named linear layers of every block.

  Args:
    ctx: see `Context`.
    rank: r of every layer.
    alpha: s = alpha / r.
    dropout: on the input of A.
    targets: names of linear layers inside a block.
    init: 'svd_residual', 'svd_zero' or 'released', see peft/lamda.py.
    eta: share of the run in which B is frozen row by row; 0 = from the start.
    schedule: 'intended', or 'released': the official counter, with gradients
      masked in place of updates.
    ranks: LaMDA++: {path of a layer: r}, for all layers; in place of `rank`.

  Raises:
    ValueError: a layer without a rank, or a start from which S could never
      learn.
  """
  given = {'rank': rank} if ranks is None else dict(ranks)
  _check(given, init, eta)
  sites = lora.sites(targets)
  steps_of = functools.cache(
    lambda r: lamda.freezing_steps(r, ctx.total_steps, eta, schedule)
  )

  def rank_of(path):
    if ranks is None:
      return rank
    if path not in ranks:
      raise ValueError(
        f'lamda ranks: none for {path}; there are {sorted(ranks)}'
      )
    return ranks[path]

  def surgery(rng, params):
    del rng
    _check_used(ranks, params)
    if init == 'released':
      return params
    return lamda.initialise(params, sites, alpha, init)

  last = max(steps_of(r)[-1] for r in given.values())

  def before_step(host):
    # `host.step` steps are done; this is the next one, counted from 1.
    if host.step + 1 >= last:
      host.variant[_FIXED] = True

  def holds(names, variant):
    return tree.match(['.*/lamda_b'], names) if _FIXED in variant else set()

  return Method(
    name='lamda',
    surgery=surgery,
    # One for each target, so that none may match nothing.
    plugs=tuple(
      lamda.plug(lora.sites((target,)), rank_of, alpha, dropout)
      for target in targets
    ),
    learns=matching('.*/lamda_[sb]', HEAD),
    holds=holds,
    wrap_tx=lambda tx: lamda.freeze_gradually(
      tx, sites, steps_of, gradient_only=schedule == 'released'
    ),
    hooks=(Hook(before_step=before_step),),
    export=lambda params: lamda.merge(params, alpha),
  )


def _check(given, init, eta):
  """Refuses arguments that make no sense together."""
  if not eta and init == 'released':
    raise ValueError(
      "lamda eta=0 with init='released' freezes B at zero, so that S has no "
      'gradient; give eta above 0 or another init'
    )
  if not given:
    raise ValueError('lamda ranks={}: expected a rank for each layer')


def _check_used(ranks, params):
  """Refuses a rank for a layer that isn't adapted."""
  paths = {
    name.removesuffix('/lamda_a')
    for name in tree.flatten(params)
    if name.endswith('/lamda_a')
  }
  unused = sorted(set(ranks or ()) - paths)
  if unused:
    raise ValueError(
      f'lamda ranks: no adapted layer is named {unused}; there are '
      f'{sorted(paths)}'
    )
