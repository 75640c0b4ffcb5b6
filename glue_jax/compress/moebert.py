"""Experts from a dense feed-forward part, by the importance of its neurons.

MoEBERT, Zuo et al. 2022, arXiv 2204.07675, section 3.2. The neurons that matter
most go to every expert, the others are dealt out; the router starts afresh.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.layers import paths

_LAYER = paths.of('ffn/ffn_(in|out)/kernel')
_SIDES = ('in', 'out')
_EXPERTS = rf'({paths.STACK}/(layer_\d+))/ffn/experts_in/kernel'


def layer_importance(
  kernel_in: jax.Array,
  gradient_in: jax.Array,
  kernel_out: jax.Array,
  gradient_out: jax.Array,
) -> jax.Array:
  """Contribution of one example to each neuron of one layer.

  |sum_d W1[i,d] dL/dW1[i,d] + sum_d W2[d,i] dL/dW2[d,i]|, (F,).

  Args:
    kernel_in, gradient_in: (D, F).
    kernel_out, gradient_out: (F, D).
  """
  inputs = (kernel_in * gradient_in).sum(0)
  return jnp.abs(inputs + (kernel_out * gradient_out).sum(1))


def importance(
  loss: Callable[..., jax.Array], params: tree.Tree, batch: Mapping[str, Any]
) -> dict[str, jax.Array]:
  """Sums `layer_importance` over the examples of a batch.

  Args:
    loss: (params, batch) -> mean loss of a batch, without dropout.
    params: of the dense model.
    batch: rows (B, ...); `weight` 0 marks rows that don't count.

  Returns:
    {'layer_{i}': (F,)}.

  Raises:
    ValueError: the model has no dense feed-forward part, or two stacks.
  """
  flat = tree.flatten(params)
  kernels, blocks = _dense(flat)
  layers = sorted(blocks)

  def of_kernels(kernels, row):
    merged = tree.unflatten(flat | kernels)
    return loss(merged, {k: v[None] for k, v in row.items()})

  def one(total, row):
    gradients = jax.grad(of_kernels)(kernels, row)
    new = {}
    for i in layers:
      first, last = (f'{blocks[i]}/ffn/ffn_{s}/kernel' for s in _SIDES)
      scores = layer_importance(
        kernels[first], gradients[first], kernels[last], gradients[last]
      )
      new[f'layer_{i}'] = total[f'layer_{i}'] + scores * row['weight']
    return new, None

  def width(i):
    return kernels[f'{blocks[i]}/ffn/ffn_in/kernel'].shape[1]

  zeros = {f'layer_{i}': jnp.zeros(width(i)) for i in layers}
  return jax.lax.scan(one, zeros, dict(batch))[0]


def _dense(flat):
  """Returns the kernels of a model's layers, and {number: path of a block}."""
  kernels = {n: x for n, x in flat.items() if re.fullmatch(_LAYER, n)}
  places = {paths.split(name) for name in kernels}
  blocks = {place.number: place.block for place in places}
  if not blocks or any(name.endswith('/ffn_gate/kernel') for name in flat):
    raise ValueError(
      'no dense feed-forward part without a gate: importance is that of its '
      'neurons'
    )
  if len({place.stack for place in places}) > 1:
    raise ValueError(
      'importance is that of one stack; an encoder-decoder has two'
    )
  return kernels, blocks


def neurons(
  scores: np.ndarray, experts: int, shared: int, size: int
) -> np.ndarray:
  """Which neurons each expert gets: (n, size), the most important first.

  Every expert gets the `shared` most important; the others are dealt round
  robin (expert e gets ranks shared + e, shared + e + n, ...) and cut to `size`.

  Args:
    scores: importance (F,); ties go to the first neuron.
    experts: n.
    shared: neurons that all have.
    size: neurons of an expert.

  Raises:
    ValueError: sizes that don't fit together.
  """
  total = len(scores)
  rest = total - shared
  if not 0 <= shared <= min(size, total) or rest % experts:
    raise ValueError(
      f'{total} neurons, {shared} of them shared, do not divide among '
      f'{experts} experts of {size}: expected shared <= size and '
      f'{total} - shared divisible by {experts}'
    )
  if shared + rest // experts < size:
    raise ValueError(
      f'an expert can have at most {shared + rest // experts} of the {total} '
      f'neurons ({shared} shared, {rest // experts} own), not {size}'
    )
  ranked = np.argsort(-np.asarray(scores), kind='stable')
  own = ranked[shared:].reshape(-1, experts).T
  common = np.broadcast_to(ranked[:shared], (experts, shared))
  return np.concatenate([common, own], axis=1)[:, :size]


def experts_from_dense(
  params: tree.Tree,
  teacher: tree.Tree,
  scores: Mapping[str, np.ndarray],
  shared: int,
) -> tree.Tree:
  """Fills stacked experts with neurons of a dense model's layers.

  W1, b1 and W2 are picked neuron by neuron, b2 and the LayerNorm copied whole,
  so that an expert starts as the pruned dense layer.

  Args:
    params: of the model with experts; everything else in it stays.
    teacher: of the dense model.
    scores: {'layer_{i}': (F,)}, from `importance`.
    shared: neurons that all experts get.

  Raises:
    ValueError: a dense model that `importance` refuses, layers without scores,
      or sizes that don't fit.
  """
  flat, dense = tree.flatten(params), tree.flatten(teacher)
  hits = (re.fullmatch(_EXPERTS, name) for name in flat)
  layers = {m[1]: m[2] for m in hits if m}
  missing = sorted(set(layers.values()) - set(scores))
  if not layers or missing:
    raise ValueError(
      f'the model has experts in {sorted(layers.values())}; there is no '
      f'importance for {missing or "any of them"}'
    )
  _dense(dense)
  new = dict(flat)
  for path, layer in layers.items():
    new |= _expert_leaves(flat, dense, path, scores[layer], shared)
  return tree.unflatten({n: jnp.asarray(new[n]) for n in flat})


def _expert_leaves(flat, dense, path, scores, shared):
  """The leaves of one layer's experts."""
  start = f'{path}/ffn'
  experts, width, size = flat[f'{start}/experts_in/kernel'].shape

  def theirs(name):
    return np.asarray(dense[name])

  kernel = theirs(f'{start}/ffn_in/kernel')
  if kernel.shape != (width, len(scores)):
    raise ValueError(
      f'{start}/ffn_in/kernel is {kernel.shape}; importance and experts expect '
      f'{(width, len(scores))}'
    )
  pick = neurons(scores, experts, shared, size)

  def copies(name):
    return np.repeat(theirs(name)[None], experts, axis=0)

  new = {
    f'{start}/experts_in/kernel': kernel.T[pick].swapaxes(1, 2),
    f'{start}/experts_in/bias': theirs(f'{start}/ffn_in/bias')[pick],
    f'{start}/experts_out/kernel': theirs(f'{start}/ffn_out/kernel')[pick],
    f'{start}/experts_out/bias': copies(f'{start}/ffn_out/bias'),
  }
  for leaf in ('scale', 'bias'):
    name = f'{start}/ln_experts/{leaf}'
    if name in flat:
      new[name] = copies(f'{path}/ln_ffn/{leaf}')
  return new
