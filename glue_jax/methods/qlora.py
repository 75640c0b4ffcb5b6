"""QLoRA. Dettmers et al. 2023, arXiv 2305.14314. Parts: compress/nf4.py,
peft/lora.py.

LoRA on all linear layers of the blocks over weights in NF4; the rank, alpha and
dropout are the paper's for 7B and 13B models (quoted from memory, not
confirmed). The embeddings stay as they are.

Use it: when the backbone is too large even frozen: LoRA over 4 bits.
Costs: r (in + out) parameters a layer; unpacking, in both passes, makes a step
  slower.
Not with: Hydra (no such layers), GaLore, `ada_deft` listed before it (its
  weights are packed then).
"""

from glue_jax.compress import nf4 as packing
from glue_jax.config.ranges import Count, Names, Positive, Rate
from glue_jax.method import HEAD, Context, Facts, Method, matching
from glue_jax.methods import nf4
from glue_jax.peft import lora

FACTS = Facts(
  small=dict(rank=2),
  sizes=(
    (
      dict(rank=8),
      lambda c: (
        c.num_layers * 8 * (10 * c.hidden_size + 2 * c.intermediate_size)
      ),
    ),
  ),
  axis='tune',
  cell=dict(rank=4),
  refuses={
    'has no layer': ('hydra',),
    'match': ('galore', 'natural_galore'),
  },
)


def make(
  ctx: Context,
  *,
  rank: Count = 64,
  alpha: Positive = 16.0,
  dropout: Rate = 0.1,
  targets: Names = nf4.TARGETS,
  rank_stabilised: bool = False,
  double_quantisation: bool = True,
) -> Method:
  """Returns LoRA over packed weights.

  The factors and the head learn; export dequantises and merges.

  Args:
    ctx: see `Context`.
    rank, alpha, rank_stabilised: see `lora.scale`.
    dropout: on the input of A.
    targets: names of linear layers inside a block, packed and tuned.
    double_quantisation: see methods/nf4.py.
  """
  pattern = nf4.sites(targets)
  factor = lora.scale(rank, alpha, rank_stabilised)
  unpack = nf4.unpacking(ctx)
  return Method(
    name='qlora',
    surgery=lambda _, params: packing.pack_tree(
      params, pattern, double_quantisation
    ),
    plugs=(
      packing.plug(pattern, double_quantisation),
      lora.plug(pattern, rank, factor, dropout),
    ),
    learns=matching('.*/lora_[ab]', HEAD),
    export=lambda params: lora.merge(unpack(params), factor),
  )
