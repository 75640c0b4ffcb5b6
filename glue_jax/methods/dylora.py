"""DyLoRA. Valipour et al. 2022, arXiv 2210.07558. Parts: peft/dylora.py.

One run gives an adapter for every rank up to `rank`: `launch.evaluate
--ranks=1..8` scores them, `launch.export --rank=4` merges one. Evaluations
during training, and the run's own model, are at the full rank.

Use it: when the rank isn't known: one run in place of one for each rank.
Costs: as LoRA of the largest rank; each rank gets its share of the steps, so
  few steps are not enough.
Not with: mixers without the targets (FNet, PoNet, Hydra), GaLore (no kernel
  learns).
"""

import jax

from glue_jax.config.ranges import Count, Names, OpenShare, Positive, Rate
from glue_jax.method import HEAD, Context, Facts, Method, matching
from glue_jax.peft import dylora, lora

FACTS = Facts(
  small=dict(rank=4, strict_freeze=True),
  identity=True,
  sizes=((dict(rank=8), lambda c: c.num_layers * 2 * 2 * 8 * c.hidden_size),),
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
  mode: dylora.Mode = 'frozen',
  strict_freeze: bool = False,
  min_rank: Count = 1,
  rank_dist: dylora.Distribution = 'uniform',
  geometric_p: OpenShare = 0.15,
  resample_per_microbatch: bool = False,
) -> Method:
  """Returns DyLoRA on the named linear layers of every block.

  Args:
    ctx: see `Context`.
    rank: r, the largest one.
    alpha: the scale at rank b is alpha / b.
    dropout: on the input of A.
    targets: names of linear layers inside a block.
    mode: 'frozen' (the released GLUE training) or 'nested', see
      `dylora.nested`.
    strict_freeze: see `dylora.strict`; the official code doesn't.
    min_rank, rank_dist, geometric_p: what b is drawn from, see
      `dylora.log_weights`.
    resample_per_microbatch: draw b for every micro-batch, not once a step.

  Raises:
    ValueError: `min_rank` is above `rank`.
  """
  del ctx
  weights = dylora.log_weights(rank_dist, min_rank, rank, geometric_p)
  factor = lora.scale(rank, alpha, rank_stabilised=False)
  sites = lora.sites(targets)

  def at(params, rng):
    active = dylora.sample(rng, weights, min_rank)
    return dylora.nested(params, sites, active, mode)

  def reparam(params, step, rng):
    del step  # the key is folded with it, so all processes draw the same b
    return params if rng is None else at(params, rng)

  def wrap_loss(loss):
    def at_rank(apply, params, batch, rng):
      # A key of its own: that of the micro-batch is dropout's.
      return loss(apply, at(params, jax.random.fold_in(rng, 1)), batch, rng)

    return at_rank

  def truncate(params, active):
    lora.check_rank(active, min_rank, rank)
    return dylora.nested(params, sites, active)

  return Method(
    name='dylora',
    plugs=lora.plugs(targets, rank, factor, dropout),
    learns=matching('.*/lora_[ab]', HEAD),
    reparam=None if resample_per_microbatch else reparam,
    wrap_loss=wrap_loss if resample_per_microbatch else None,
    wrap_tx=(lambda tx: dylora.strict(tx, sites)) if strict_freeze else None,
    truncate=truncate,
    export=lambda params: lora.merge(params, factor),
  )
