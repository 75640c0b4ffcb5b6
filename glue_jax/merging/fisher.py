"""Fisher-weighted averaging (Matena and Raffel 2022, arXiv 2111.09832).

The official code of DARE doesn't compute the textbook diagonal Fisher
information: it squares the gradient of a whole batch's sum, so products of
different examples and classes are included. `batch_fisher` is that one;
`example_fisher` is the textbook's.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.merging import average
from glue_jax.merging.stream import Weights

# (flat params, batch) -> logits: (B, C) of classes, (B,) of a regression.
LogitsFn = Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]
MINIMAL = 1e-6


def contributions(logits: jax.Array, batch: Mapping[str, Any]) -> jax.Array:
  """Returns what each example adds to the function whose gradient is squared.

  Classes: sum over classes of sqrt(p_c, held constant) * log p_c. One output:
  the squared error.

  Args:
    logits: (B, C) or (B,).
    batch: 'weight' (B,), 0 = padding row; 'labels' (B,) for one output.

  Returns:
    (B,).
  """
  if logits.ndim == 1:
    return (logits - batch['labels']) ** 2 * batch['weight']
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
  root = jax.lax.stop_gradient(jnp.exp(log_p / 2))
  return (root * log_p).sum(-1) * batch['weight']


def batch_fisher(
  logits_fn: LogitsFn, params: Mapping[str, Any], batch: Mapping[str, Any]
) -> dict[str, jax.Array]:
  """Returns the squared gradient of a batch, as the official code takes it.

  Of the sum over the batch for classes, of the mean for one output.
  """

  def total(params):
    logits = logits_fn(params, batch)
    terms = contributions(logits, batch)
    return (
      terms.sum()
      if logits.ndim == 2
      else terms.sum() / jnp.maximum(batch['weight'].sum(), 1)
    )

  return jax.tree.map(jnp.square, jax.grad(total)(params))


def example_fisher(
  logits_fn: LogitsFn, params: Mapping[str, Any], batch: Mapping[str, Any]
) -> dict[str, jax.Array]:
  """Returns the sum over the batch of each example's diagonal Fisher.

  Classes: sum over c of p_c * (d log p_c / d theta)^2. One output: the squared
  gradient of the example's squared error.
  """

  def one(total, row):
    row = jax.tree.map(lambda x: x[None], row)

    def terms(params):  # one number for each square to be summed
      logits = logits_fn(params, row)
      if logits.ndim == 1:
        return contributions(logits, row)
      log_p = jax.nn.log_softmax(logits.astype(jnp.float32))[0]
      root = jax.lax.stop_gradient(jnp.exp(log_p / 2))
      return root * log_p * row['weight'][0]

    values, pull = jax.vjp(terms, params)
    for unit in jnp.eye(values.shape[0], dtype=values.dtype):
      (gradient,) = pull(unit)
      total = jax.tree.map(lambda t, g: t + g**2, total, gradient)
    return total, None

  start = jax.tree.map(jnp.zeros_like, dict(params))
  return jax.lax.scan(one, start, jax.tree.map(jnp.asarray, dict(batch)))[0]


KINDS = {'batch': batch_fisher, 'example': example_fisher}


@functools.lru_cache(maxsize=8)
def _step(logits_fn, kind, options) -> Callable:
  """The compiled sum; models of one function share it."""

  def add(params, total, batch):
    squares = KINDS[kind](logits_fn, params, batch)
    return jax.tree.map(jnp.add, total, squares)

  return jax.jit(add, compiler_options=dict(options) or None)


def gather(
  logits_fn: LogitsFn,
  params: Mapping[str, Any],
  batches: Iterable[Mapping[str, Any]],
  num_examples: int,
  kind: str = 'batch',
  compiler_options: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
  """Averages the Fisher information over batches.

  Args:
    logits_fn: see `LogitsFn`; compiled once for calls with the same object.
    params: flat parameters.
    batches: taken until at least num_examples examples were seen.
    num_examples: N.
    kind: one of KINDS; either sum is divided by the examples seen.
    compiler_options: of `jax.jit`.

  Returns:
    {name: float32 array} like the parameters.

  Raises:
    ValueError: unknown kind, or there are fewer examples.
  """
  if kind not in KINDS:
    raise ValueError(f'Fisher kind {kind!r}: expected one of {sorted(KINDS)}')
  step = _step(logits_fn, kind, tuple((compiler_options or {}).items()))
  params = jax.tree.map(jnp.asarray, dict(params))
  total, seen = jax.tree.map(jnp.zeros_like, params), 0
  for batch in batches:
    total = step(params, total, batch)
    seen += int(np.sum(batch['weight']))
    if seen >= num_examples:
      break
  else:
    raise ValueError(f'{seen} examples; Fisher asks for {num_examples}')
  return {name: np.asarray(x) / seen for name, x in total.items()}


def coefficients(
  fishers: Sequence[Mapping[str, np.ndarray]],
  scaling: Sequence[float] | None = None,
  normalize: bool = True,
  minimal: float = MINIMAL,
) -> list[float]:
  """Returns a_t for each model.

  Args:
    fishers: of each model, over the merged tensors.
    scaling: default 1/M each.
    normalize: divides by the norm of the model's Fisher information, so that
      a model with large gradients doesn't outweigh the others.
    minimal: added to the norms.
  """
  shares = list(scaling or [1 / len(fishers)] * len(fishers))
  if len(shares) != len(fishers):
    raise ValueError(f'{len(shares)} coefficients for {len(fishers)} models')
  if not normalize:
    return shares
  norms = [
    np.sqrt(sum(_square_sum(f.reshape(-1)) for f in one.values()))
    for one in fishers
  ]
  weights = [1 / (norm + minimal) for norm in norms]
  return [a * w / sum(weights) for a, w in zip(shares, weights)]


def _square_sum(x: np.ndarray) -> float:
  # Casts a buffer at a time, not a whole tensor.
  return float(np.einsum('i,i->', x, x, dtype=np.float64))


def fisher_merge(
  models: Sequence[Weights],
  fishers: Sequence[Mapping[str, np.ndarray]],
  scaling: Sequence[float] | None = None,
  normalize: bool = True,
  minimal: float = MINIMAL,
) -> Weights:
  """Returns sum_t a_t F'_t theta_t / sum_t a_t F'_t with F' = F + minimal.

  Args:
    models: with the same names.
    fishers: {name: array of the tensor's shape} of each model.
    scaling, normalize, minimal: see `coefficients`.
  """
  names = list(models[0].tensors)
  fishers = [{name: one[name] for name in names} for one in fishers]
  shares = coefficients(fishers, scaling, normalize, minimal)

  def combine(name, arrays, span):
    top = bottom = np.float64(0)
    for share, one, array in zip(shares, fishers, arrays, strict=True):
      part = one[name][slice(*span)] if array.ndim else one[name]
      weight = share * (part.astype(np.float64) + minimal)
      top, bottom = top + weight * array, bottom + weight
    return (top / bottom).astype(np.float32)

  return average.elementwise(models, combine)
