"""ADA-DEFT: density loss, and feed-forward parts that learn to be skipped.

Runwal et al. 2024, arXiv 2402.01911, version 2, names it without details that
could be read; this definition is ours. Each layer has a gate g = sigmoid(theta)
on its feed-forward part: h = LN(x + g FFN(x)). The density loss of a layer is
weighted by its gate, and `gate_weight` * mean(g) is added. At inference a layer
whose gate is below 1/2 is skipped, its products are not computed. Export folds
the gates into ffn_out. Logged besides: `gate` (their mean) and `layers_kept`.
List it after what packs weights (nf4, qlora) and before adapters, which then
act on the gated output.

Use it: for feed-forward parts that compute less, whole layers of them none at
  all.
Costs: one gate a layer, and two numbers a token and layer for the loss.
Not with: experts and Hydra (no dense feed-forward part), `meft` (its blocks
  hand nothing out), `ia3` and adapters listed before it (their effect could not
  be folded).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.config.ranges import NonNegative, Number, Positive
from glue_jax.layers import paths
from glue_jax.method import Context, Facts, Loss, Method
from glue_jax.methods import deft
from glue_jax.objectives import density
from glue_jax.plugs import Plug, Recorder

_FFN = paths.of('ffn')
_LEAF = 'skip_gate'
_KEPT = 0.5
# Leaves of ffn_out that its output is proportional to, and others that the
# methods which know them merge.
_SCALED = ('kernel', 'bias', 'lora_b', 'nf4_absmax', 'nf4_nested', 'nf4_offset')
_OTHERS = ('lora_a', 'nf4_codes')
_UNKNOWN = rf'.*/ffn_out/(?!({"|".join([*_SCALED, *_OTHERS])})$)[^/]+'

FACTS = Facts(
  # At the published eps = 1e-7 the slope of the density loss turns round-off of
  # an activation into another gradient.
  small=dict(eps=0.1),
  axis='regularizer',
  refuses={
    'has no layer': ('comet', 'hydra'),
    'does not work with': ('ia3',),
    'before its weights are packed': ('qlora',),
  },
)


def make(
  ctx: Context,
  *,
  weight: NonNegative = 1.0,
  gate_weight: NonNegative = 0.1,
  init: Number = 3.0,
  eps: Positive = density.EPS,
  threshold: NonNegative = density.THRESHOLD,
  include_padding: bool = True,
) -> Method:
  """Returns density loss and gates; list it with the method that tunes.

  Args:
    ctx: see `Context`.
    weight, eps, threshold, include_padding: see `deft.make`.
    gate_weight: of the gates' mean.
    init: theta before training; g = 0.95 at 3.
  """
  del ctx

  def wrap(loss: Loss) -> Loss:
    def with_terms(apply, params, batch, rng):
      recorder = Recorder(apply)
      total, metrics = loss(recorder, params, batch, rng)
      outputs = recorder.outputs[-1]
      layers = deft.by_layer(outputs, batch, include_padding)
      gates = _gates(outputs['captured'])
      terms = {n: gates[n] * x for n, x in layers[deft.SURROGATE].items()}
      rows = batch['weight'].astype(jnp.float32)
      count = rows.sum()

      def mean(x):
        return (x * rows).sum() / jnp.maximum(count, 1)

      term = deft.combined(terms)
      gate = jnp.stack(list(gates.values()))
      total += weight * mean(term) + gate_weight * gate.mean()
      share = deft.combined(layers[deft.SHARE])
      logged = {
        'density_loss': mean(term),
        'density': mean(share),
        'gate': gate.mean(),
        'layers_kept': (gate >= _KEPT).sum().astype(jnp.float32),
      }
      return total, metrics | {n: (x * count, count) for n, x in logged.items()}

    return with_terms

  return Method(
    'ada_deft',
    plugs=(
      deft.plug(eps, threshold),
      Plug(rf'{_FFN}/ffn_(in|gate|out)', _product),
      _gates_plug(init),
    ),
    wrap_loss=wrap,
    forbids=(_UNKNOWN,),
    export=fold,
  )


def _gates_plug(init):
  """The plug on the feed-forward parts."""

  def call(site, next_fn, x, context, train):
    if not site.innermost(call):
      raise ValueError(
        f'another method changes the output of {site.path} before its gate, '
        'which export could not fold; list ada_deft before adapters'
      )
    theta = site.param(_LEAF, jax.nn.initializers.constant(init), ())
    gate = jax.nn.sigmoid(theta)
    site.capture('gate_value', gate)
    y = next_fn(x, context, train)
    return _kept(gate, train).astype(y.dtype) * y

  return Plug(_FFN, call)


def _product(site, next_fn, x):
  """The plug on its products: not computed in a part that is skipped."""
  layer = site.module
  if site.train or layer.is_initializing():
    return next_fn(x)
  theta = layer.parent.get_variable('params', _LEAF)
  zeros = jnp.zeros((*x.shape[:-1], layer.features), layer.dtype)
  kept = jax.nn.sigmoid(theta) >= _KEPT
  return jax.lax.cond(kept, next_fn, lambda _: zeros, x)


def _kept(gate, train):
  return gate if train else jnp.where(gate >= _KEPT, gate, 0)


def _gates(captured: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
  """{path of a block: ()}."""
  found = sorted(tree.match([f'{_FFN}/gate_value'], captured))
  return {path.rpartition('/ffn/')[0]: captured[path] for path in found}


def fold(params: tree.Tree) -> tree.Tree:
  """Multiplies ffn_out by the gates as at inference; they are dropped."""
  flat = tree.flatten(params)
  for name in [n for n in flat if n.endswith(f'/{_LEAF}')]:
    gate = _kept(jax.nn.sigmoid(flat.pop(name)), train=False)
    for leaf in _SCALED:
      path = f'{name.rpartition("/")[0]}/ffn_out/{leaf}'
      # Scales in 8 bits are indices: those of `nf4_nested` are multiplied.
      if path in flat and jnp.issubdtype(flat[path].dtype, jnp.floating):
        flat[path] = flat[path] * gate
  return tree.unflatten(flat)
