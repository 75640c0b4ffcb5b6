"""BitFit. Ben Zaken et al. 2021, arXiv 2106.10199.

Every bias of the model learns, those of LayerNorms and of the pooler too, and
the head; nothing is added.

Use it: as the smallest change to a model that is exported as it was, with no
  new leaf.
Costs: 0.1 % of BERT-base's parameters learn; the backward pass is whole.
Not with: GaLore (no matrix learns), or a method that freezes the biases.
"""

from collections.abc import Iterable

from glue_jax import tree
from glue_jax.method import HEAD, Context, Facts, Method, matching

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
    'this model has no biases': ('llama',),
  },
)


def make(ctx: Context) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.

  Its `learns` raises ValueError if the model has no bias below its head, as
  LLaMA and T5.
  """
  biases = matching('.*/bias', HEAD)

  def learns(names, variant):
    if not has_biases(names):
      raise ValueError(
        f'bitfit: this model has no biases ({ctx.model.family}), and nothing '
        'below its head would learn; take another method, as lora or ia3'
      )
    return biases(names, variant)

  return Method('bitfit', learns=learns)


def has_biases(names: Iterable[str]) -> bool:
  """Says whether one of the leaves is a bias below the head."""
  return any(n.endswith('/bias') and not tree.matches(HEAD, n) for n in names)
