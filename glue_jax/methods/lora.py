"""LoRA. Hu et al. 2021, arXiv 2106.09685. Parts: peft/lora.py.

With `dora`, DoRA. Liu et al. 2024, arXiv 2402.09353. Parts: peft/dora.py.

Use it: first: few parameters, little optimizer state, and nothing left of them
  at inference.
Costs: r (in + out) parameters a layer, and their two small products in every
  training pass; with `dora` a magnitude an output and the norms of W + s A B.
Not with: mixers without the targets (FNet, PoNet, Hydra; name others), GaLore
  (no kernel learns), packed weights (there `qlora`).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from glue_jax import tree
from glue_jax.config.ranges import Count, Filled, Names, Positive, Rate, Whole
from glue_jax.layers.kinds import WORDS
from glue_jax.method import HEAD, Context, Facts, Method, matching
from glue_jax.models import model as models
from glue_jax.peft import dora as dora_part
from glue_jax.peft import lora

Blocks = Annotated[Sequence[Whole], Filled()]
FACTS = Facts(
  small=dict(rank=2),
  identity=True,
  sizes=((dict(rank=8), lambda c: c.num_layers * 2 * 2 * 8 * c.hidden_size),),
  axis='tune',
  cell=dict(rank=4),
  refuses={
    'has no layer': ('fnet', 'hydra', 'ponet'),
    'match none of the leaves': ('galore', 'natural_galore'),
  },
  arms={'dora': dict(dora=True, layers=[1], rank_pattern={'value': 3})},
  peft_type='LORA',
)


def make(
  ctx: Context,
  *,
  rank: Count = 8,
  alpha: Positive = 8.0,
  dropout: Rate = 0.0,
  targets: Names | Literal['all-linear'] = ('query', 'value'),
  layers: Blocks | None = None,
  rank_pattern: Mapping[str, Count] | None = None,
  alpha_pattern: Mapping[str, Positive] | None = None,
  rank_stabilised: bool = False,
  dora: bool = False,
  tables: Sequence[str] = (),
  also: Sequence[str] = (),
) -> Method:
  """Returns LoRA on the named linear layers of every block.

  The backbone is frozen; the factors and the head learn; export merges.

  Args:
    ctx: see `Context`.
    rank, alpha, rank_stabilised: see `lora.scale`.
    dropout: on the input of A.
    targets: names of linear layers inside a block, or whole paths
      ('pooler/dense'); 'all-linear' = every linear layer but the head's.
    layers: the blocks that have factors, counted from 0; None = all, and
      layers outside blocks.
    rank_pattern, alpha_pattern: {pattern: r or alpha} of layers that have
      another; a pattern matches a layer's path, or the end of it; the first
      that does counts.
    dora: learn the magnitude of each output too, see peft/dora.py.
    tables: embedding tables with factors too: 'word', 'position',
      'token_type'.
    also: patterns of further leaves that learn (in pre-training, embeddings).

  Raises:
    ValueError: `tables` and a masked-LM head, whose decoder is the word table:
      looking up and scoring would see different tables; `tables` and `dora`; a
      block that isn't there; a pattern that names no layer with factors.
  """
  if 'word' in tables and ctx.model.kind in WORDS:
    raise ValueError(
      "lora.tables: 'word' is the decoder of the masked-LM head too, where its "
      'factors would be missing; leave it out'
    )
  if dora and tables:
    raise ValueError(
      f'lora.dora has magnitudes of linear layers only; leave out one of '
      f'dora=True and tables={list(tables)}'
    )
  _check_layers(ctx, layers)
  if targets == lora.ALL_LINEAR:
    targets = lora.all_linear(models.shapes(ctx.model), layers)
  part = dora_part if dora else lora
  rank_of = lora.by_layer(rank, rank_pattern)
  alpha_of = lora.by_layer(alpha, alpha_pattern)
  sites = '|'.join([lora.sites(targets, layers), *map(lora.table_site, tables)])

  def factor(path):
    return lora.scale(rank_of(path), alpha_of(path), rank_stabilised)

  def surgery(rng, params):
    del rng
    _check_patterns(params, rank_pattern, alpha_pattern)
    return dora_part.start(params) if dora else params

  def truncate(params, smaller):
    # The scale stays alpha / r: LoRA's directions have no order.
    largest = max([rank, *(rank_pattern or {}).values()])
    lora.check_rank(smaller, 1, largest)
    return lora.truncate(params, sites, smaller)

  learning = ('.*/lora_[ab]', *([f'.*/{dora_part.LEAF}'] if dora else []))
  return Method(
    name='lora',
    plugs=(
      *(lora.table_plug(table, rank_of, factor) for table in tables),
      *part.plugs(targets, rank_of, factor, dropout, layers),
    ),
    surgery=surgery,
    learns=matching(*learning, HEAD, *also),
    truncate=truncate,
    export=lambda params: part.merge(params, factor),
  )


def _check_layers(ctx, layers):
  """Refuses blocks that the model doesn't have."""
  if layers is not None:
    there = range(ctx.model.config.num_layers)
    if not set(layers) <= set(there):
      raise ValueError(
        f'lora.layers={list(layers)}: expected some of the blocks 0 to '
        f'{there[-1]}'
      )


def _check_patterns(params, *patterns):
  """Refuses a pattern that names no layer with factors."""
  end = '/lora_a'
  paths = [
    name.removesuffix(end)
    for name in tree.flatten(params)
    if name.endswith(end)
  ]
  for key, given in zip(('rank_pattern', 'alpha_pattern'), patterns):
    for pattern in given or {}:
      if not any(lora.names_layer(pattern, path) for path in paths):
        raise ValueError(
          f'lora.{key}: {pattern!r} names none of the layers with factors, '
          f'{paths}'
        )
