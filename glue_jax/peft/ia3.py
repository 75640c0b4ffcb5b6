"""(IA)3: learned vectors that rescale activations.

Liu et al. 2022, arXiv 2205.05638, section 3.3: k <- l_k k and v <- l_v v, after
the bias and before the heads are split, and in the feed-forward part the second
layer's input <- l_ff act(.). All start at one, so that fresh vectors are the
identity.
"""

import jax

from glue_jax import tree
from glue_jax.layers import paths
from glue_jax.plugs import Plug, Site

LEAF = 'ia3_scale'
# What the outputs are scaled of.
OUTPUTS = tuple(
  paths.of(f'{paths.ATTENTION}/{name}') for name in ('key', 'value')
)
# Which layers' inputs are scaled.
FORMS = {
  'paper': paths.of('ffn/ffn_out'),
  'library': paths.of(f'({paths.ATTENTION}/attn_out|ffn/ffn_out)'),
}


def output_plug(pattern: str) -> Plug:
  """Multiplies every match's output by a vector (out,)."""

  def call(site: Site, next_fn, x):
    y = next_fn(x)
    return y * _vector(site, y)

  return Plug(pattern, call)


def input_plug(pattern: str) -> Plug:
  """Multiplies every match's input by a vector (in,)."""

  def call(site: Site, next_fn, x):
    return next_fn(x * _vector(site, x))

  return Plug(pattern, call)


def merge(params: tree.Tree, inputs: str) -> tree.Tree:
  """Folds the vectors into their linear layers; the leaves are dropped.

  Args:
    params: a tree with vectors.
    inputs: pattern of the layers whose input is scaled; the others' output is.
  """
  flat = tree.flatten(params)
  for name in [n for n in flat if n.endswith(f'/{LEAF}')]:
    site = name.removesuffix(f'/{LEAF}')
    vector = flat.pop(name)
    by_input = tree.matches(inputs, site)
    factors = {'kernel': vector[:, None] if by_input else vector}
    if not by_input:
      factors['bias'] = vector
    for leaf, factor in factors.items():
      if f'{site}/{leaf}' in flat:
        # Not in place: the arrays may be the caller's.
        flat[f'{site}/{leaf}'] = flat[f'{site}/{leaf}'] * factor
  return tree.unflatten(flat)


def _vector(site, x):
  ones = jax.nn.initializers.ones
  return site.param(LEAF, ones, (x.shape[-1],)).astype(x.dtype)
