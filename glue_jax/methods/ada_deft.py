"""ADA-DEFT: density loss, and feed-forward parts that learn to be skipped.

Runwal et al. 2024, arXiv 2402.01911, version 2, names it without details that
could be read; this definition is ours. Each layer has a gate g = sigmoid(theta)
on its feed-forward part: h = LN(x + g FFN(x)). The density loss of a layer is
weighted by its gate, and `gate_weight` * mean(g) is added. At inference a layer
whose gate is below 1/2 is skipped, its products are not computed. Export folds
the gates into ffn_out. Logged besides: `gate` (their mean) and `layers_kept`.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.method import Context, Loss, Method
from glue_jax.methods import deft
from glue_jax.objectives import density
from glue_jax.plugs import Plug, Recorder

_FFN = r'encoder/layer_\d+/ffn'
_LEAF = 'skip_gate'
_KEPT = 0.5


def make(
  ctx: Context,
  *,
  weight: float = 1.0,
  gate_weight: float = 0.1,
  init: float = 3.0,
  eps: float = density.EPS,
  threshold: float = density.THRESHOLD,
  include_padding: bool = True,
) -> Method:
  """Returns density loss and gates; list it with the method that tunes.

  Args:
    ctx: see `Context`.
    weight, eps, threshold, include_padding: see `deft.make`.
    gate_weight: of the gates' mean.
    init: theta before training; g = 0.95 at 3.

  Raises:
    ValueError: see `deft.make`, or a negative weight of the gates.
  """
  del ctx
  deft.check(
    'ada_deft', eps,
    weight=weight, threshold=threshold, gate_weight=gate_weight,
  )  # fmt: skip

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
      mean = lambda x: (x * rows).sum() / jnp.maximum(count, 1)
      term = density.combine(list(terms.values()))
      gate = jnp.stack(list(gates.values()))
      total += weight * mean(term) + gate_weight * gate.mean()
      share = density.combine(list(layers[deft.SHARE].values()))
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
      Plug(rf'{_FFN}/ffn_(in|out)', _product),
      Plug(_FFN, lambda *args: _gated(init, *args)),
    ),
    wrap_loss=wrap,
    export=fold,
  )


def _gated(init, site, next_fn, x, context, train):
  """The plug on the feed-forward part."""
  theta = site.param(_LEAF, jax.nn.initializers.constant(init), ())
  gate = jax.nn.sigmoid(theta)
  site.capture('gate', gate)
  y = next_fn(x, context, train)
  return _kept(gate, train).astype(y.dtype) * y


def _product(site, next_fn, x):
  """The plug on its two products: not computed in a part that is skipped."""
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
  """{'layer_{i}': ()}."""
  paths = sorted(tree.match([f'{_FFN}/gate'], captured))
  return {path.split('/')[1]: captured[path] for path in paths}


def fold(params: tree.Tree) -> tree.Tree:
  """Multiplies ffn_out by the gates as at inference; they are dropped."""
  flat = tree.flatten(params)
  for name in [n for n in flat if n.endswith(f'/{_LEAF}')]:
    gate = _kept(jax.nn.sigmoid(flat.pop(name)), train=False)
    for leaf in ('kernel', 'bias'):
      path = f'{name.rpartition("/")[0]}/ffn_out/{leaf}'
      flat[path] = flat[path] * gate
  return tree.unflatten(flat)
