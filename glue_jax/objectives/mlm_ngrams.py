"""Masked language modelling of n-grams: the first two versions of DeBERTa.

He et al. 2021, arXiv 2006.03654, as its code has it: runs of up to three words,
one in each window (objectives/window_masks.py); of the chosen tokens 80 %
become [MASK], 10 % a random token, 10 % stay. With DeBERTa's stack
'mask_decoder' the words are read off its enhanced mask decoder.

Use it: to pre-train DeBERTa without a second network.
Costs: as objectives/mlm.py.
Not with: a tokenizer without [MASK].
"""

import jax

from glue_jax.config.ranges import Count, OpenShare, Share
from glue_jax.method import Context, Facts, Objective
from glue_jax.objectives import mlm, window_masks

FACTS = Facts(
  small={},
  needs=dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files='CORPUS'),
    model=dict(name='deberta_v2', stack='mask_decoder'),
  ),
)


def make(
  ctx: Context,
  *,
  rate: OpenShare = 0.15,
  grams: Count = 3,
  mask_share: Share = 0.8,
  random_share: Share = 0.1,
) -> Objective:
  """Returns the objective.

  Args:
    ctx: see `Context`.
    rate: share of the tokens to choose.
    grams: the most words in a run; 1 chooses single tokens.
    mask_share, random_share: of the chosen tokens, what becomes [MASK] and what
      another token; the rest stays.

  Raises:
    ValueError: the shares aren't parts of 1, or there is no [MASK] token.
  """
  shares = mask_share, random_share
  mlm.check_masks(ctx, shares)
  mask_id, vocab_size = ctx.tokenizer.mask_id, ctx.tokenizer.vocab_size

  def masked(batch, rng):
    choose_rng, *rngs = jax.random.split(rng, 3)
    chosen = window_masks.chosen(choose_rng, batch, rate, grams)
    batch = mlm.corrupted(rngs, batch, chosen, mask_id, vocab_size, shares)
    return mlm.at_chosen(batch, mlm.most(rate, chosen.shape[-1]))

  return mlm.of_masks(masked)
