"""BitFit. Ben Zaken et al. 2021, arXiv 2106.10199.

Every bias of the model learns, those of LayerNorms and of the pooler too, and
the head; nothing is added.

Use it: as the smallest change to a model that is exported as it was, with no
  new leaf.
Costs: 0.1 % of BERT-base's parameters learn; the backward pass is whole.
Not with: GaLore (no matrix learns), or a method that freezes the biases.
"""

from glue_jax.method import Context, Facts, Method, matching

FACTS = Facts(
  small={},
  identity=True,
  # Each block's, those of the embeddings' LayerNorm and of the pooler.
  sizes=(
    (
      {},
      lambda c: (
        c.num_layers * (7 * c.hidden_size + c.intermediate_size)
        + 2 * c.hidden_size
      ),
    ),
  ),
  axis='tune',
  refuses={
    'match none of the leaves': ('galore', 'natural_galore'),
    'matches none of these names': ('llama',),  # it has no biases
  },
)


def make(ctx: Context) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.
  """
  del ctx
  return Method('bitfit', learns=matching('.*/bias', 'head/.*'))
