"""Masked language modelling with the sentence-structure objective.

Wang et al. 2019 (StructBERT, arXiv 1908.04577) and PoNet (Tan et al. 2022,
arXiv 2110.02442): `mlm_pairs` on the pair's order, of three
(glue_jax/data/sentence_pairs.py).

Use it: to pre-train where [CLS] shall know of whole texts, as PoNet does.
Costs: as `mlm`; the pairs are cut anew `data.copies` times before training.
Not with: tasks of another kind than 'sentence_structure', or ELECTRA, which has
  no such head.
"""

from glue_jax.config.ranges import NonNegative, OpenShare, Share
from glue_jax.method import Context, Facts, Objective
from glue_jax.objectives import mlm, mlm_pairs

FACTS = Facts(
  small=dict(structure_weight=0.5),
  needs=dict(
    task=dict(name='corpus', kind='sentence_structure'),
    data=dict(files='CORPUS'),
  ),
)


def make(
  ctx: Context,
  *,
  rate: OpenShare = 0.15,
  whole_word: bool = True,
  mask_share: Share = 0.8,
  random_share: Share = 0.1,
  structure_weight: NonNegative = 1.0,
) -> Objective:
  """Returns the objective.

  Args:
    ctx: see `Context`; its task is of the kind 'sentence_structure'.
    rate, whole_word, mask_share, random_share: of the masks, see `mlm`.
    structure_weight: of the order's loss; 0 leaves it out (an ablation).

  Raises:
    ValueError: another kind of task, or as `mlm`.
  """
  mlm_pairs.check_kind(ctx, 'mlm_sso', ('sentence_structure',))
  masked = mlm.masker(ctx, rate, whole_word, (mask_share, random_share))
  return mlm_pairs.of_masked(masked, structure_weight)
