"""LoRA. Hu et al. 2021, arXiv 2106.09685. Parts: peft/lora.py.

Use it: first: few parameters, little optimizer state, and nothing left of them
  at inference.
Costs: r (in + out) parameters a layer, and their two small products in every
  training pass.
Not with: mixers without the targets (FNet, PoNet, Hydra; name others), GaLore
  (no kernel learns), packed weights (there `qlora`).
"""

from collections.abc import Sequence

from glue_jax.layers.heads import WORDS
from glue_jax.method import Context, Facts, Method, train_only
from glue_jax.peft import lora
from glue_jax.ranges import Count, Names, Positive, Rate

FACTS = Facts(
  small=dict(rank=2),
  identity=True,
  sizes=((dict(rank=8), lambda c: c.num_layers * 2 * 2 * 8 * c.hidden_size),),
  axis='tune',
  cell=dict(rank=4),
  refuses={
    'matches none': ('fnet', 'hydra', 'ponet'),
    'match none of the leaves': ('galore', 'natural_galore'),
  },
  peft_type='LORA',
)


def make(
  ctx: Context,
  *,
  rank: Count = 8,
  alpha: Positive = 8.0,
  dropout: Rate = 0.0,
  targets: Names = ('query', 'value'),
  rank_stabilised: bool = False,
  tables: Sequence[str] = (),
  also: Sequence[str] = (),
) -> Method:
  """Returns LoRA on the named linear layers of every block.

  The backbone is frozen; the factors and the head learn; export merges.

  Args:
    ctx: see `Context`.
    rank, alpha, rank_stabilised: see `lora.scale`.
    dropout: on the input of A.
    targets: names of linear layers inside a block.
    tables: embedding tables with factors too: 'word', 'position',
      'token_type'.
    also: patterns of further leaves that learn (in pre-training, embeddings).

  Raises:
    ValueError: `tables` and a masked-LM head, whose decoder is the word table:
      looking up and scoring would see different tables.
  """
  if 'word' in tables and ctx.model.kind in WORDS:
    raise ValueError(
      "lora.tables: 'word' is the decoder of the masked-LM head too, where its "
      'factors would be missing; leave it out'
    )
  factor = lora.scale(rank, alpha, rank_stabilised)
  sites = '|'.join([lora.sites(targets), *map(lora.table_site, tables)])

  def truncate(params, smaller):
    # The scale stays alpha / r: LoRA's directions have no order.
    lora.check_rank(smaller, 1, rank)
    return lora.truncate(params, sites, smaller)

  return Method(
    name='lora',
    plugs=(
      *(lora.table_plug(table, rank, factor) for table in tables),
      *lora.plugs(targets, rank, factor, dropout),
    ),
    labels=train_only('.*/lora_[ab]', 'head/.*', *also),
    truncate=truncate,
    export=lambda params: lora.merge(params, factor),
  )
