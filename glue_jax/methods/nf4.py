"""NF4 storage of the frozen backbone. Dettmers et al. 2023, arXiv 2305.14314.

The linear layers of all blocks are kept in 4 bits and unpacked, layer by layer,
inside the step; parts: compress/nf4.py. A partner for adapters, prefixes,
prompts and the density loss: list it first. Low-rank factors need the merge of
the method `qlora`. What is not packed learns unless other methods
train a part only.

Use it: when the frozen backbone itself is too large.
Costs: 4.127 bits a packed weight; every layer is unpacked in every pass, so a
  step is slower.
Not with: `lora`, `dylora`, `lamda` on packed layers (there `qlora`), GaLore on
  them.
"""

from collections.abc import Callable, Sequence

from glue_jax import tree
from glue_jax.compress import nf4
from glue_jax.config.ranges import Names
from glue_jax.layers import paths
from glue_jax.method import Context, Facts, Method
from glue_jax.models import model as models

# All linear layers of a block with attention, where it has them.
TARGETS = (
  'query', 'key', 'value', 'attn_out', 'ffn_in', 'ffn_gate', 'ffn_out',
)  # fmt: skip

FACTS = Facts(small={})


def make(
  ctx: Context,
  *,
  targets: Names = TARGETS,
  double_quantisation: bool = True,
) -> Method:
  """Returns the method; export gives dequantised kernels.

  Args:
    ctx: see `Context`.
    targets: names of linear layers inside a block.
    double_quantisation: scales in 8 bits; 4.127 bits a weight, not 4.5.
  """
  pattern = sites(targets)
  return Method(
    name='nf4',
    surgery=lambda _, params: nf4.pack_tree(
      params, pattern, double_quantisation
    ),
    plugs=(nf4.plug(pattern, double_quantisation),),
    holds=_packed,
    export=unpacking(ctx),
  )


def sites(targets: Sequence[str]) -> str:
  """The pattern of linear layers with these names in all blocks."""
  return paths.of(f'.*({"|".join(targets)})')


def unpacking(ctx: Context) -> Callable[[tree.Tree], tree.Tree]:
  """The export that gives packed layers of `ctx.model` their kernels back."""
  sizes = {n: x.shape for n, x in models.shapes(ctx.model).items()}
  return lambda params: nf4.unpack_tree(params, sizes)


def _packed(names, variant):
  del variant
  return {name for name in names if name.rpartition('/')[2] in nf4.LEAVES}
