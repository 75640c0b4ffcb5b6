"""RegMean (Jin et al. 2023, arXiv 2212.09849): linear layers by regression.

The merged kernel W minimises sum_t |X_t W - X_t W_t|^2 over the inputs X_t that
each model's layer sees on its own data: W = (sum G_t)^-1 sum G_t W_t with
G_t = X_t^T X_t. Biases, norms and embeddings are averaged.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from glue_jax.merging import average
from glue_jax.merging.stream import Tensor, Weights

# (params, batch) -> {layer: X^T X / rows, (d_in, d_in)}.
GramsFn = Callable[[Any, Mapping[str, Any]], Mapping[str, jax.Array]]

# A kernel is solved in so many parts of its columns, and Gram matrices are read
# so many rows at a time: in double precision each would be two tensors more.
_PARTS, _ROWS = 8, 64


def gram(x: jax.Array, weight: jax.Array | None = None) -> jax.Array:
  """Returns X^T X / rows of a layer's inputs.

  Args:
    x: (B, ..., d_in). Every position is a row, padding positions too, as in the
      official code.
    weight: (B,), 0 = a row that only fills up the batch and doesn't count.

  Returns:
    (d_in, d_in) float32.
  """
  rows = x.reshape(x.shape[0], -1, x.shape[-1]).astype(jnp.float32)
  count = rows.shape[0] * rows.shape[1]
  if weight is not None:
    rows = rows * weight[:, None, None]
    count = jnp.maximum(weight.sum(), 1) * rows.shape[1]
  flat = rows.reshape(-1, x.shape[-1])
  return flat.T @ flat / count


@functools.lru_cache(maxsize=8)
def _step(grams_fn, options) -> Callable:
  """The compiled sum; models of one function share it."""

  def add(params, total, batch):
    return jax.tree.map(jnp.add, total, dict(grams_fn(params, batch)))

  return jax.jit(add, compiler_options=dict(options) or None)


def gather(
  grams_fn: GramsFn,
  params: Any,
  batches: Iterable[Mapping[str, Any]],
  num_examples: int,
  compiler_options: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
  """Averages the layers' Gram matrices over batches.

  Args:
    grams_fn: see `GramsFn`; compiled once for calls with the same object.
    params: its first argument.
    batches: with 'weight' (B,); taken until num_examples examples were seen.
    num_examples: N.
    compiler_options: of `jax.jit`.

  Returns:
    {layer: (d_in, d_in) float32}.

  Raises:
    ValueError: there are fewer examples.
  """
  step = _step(grams_fn, tuple((compiler_options or {}).items()))
  total, seen, count = None, 0, 0
  for batch in batches:
    if total is None:
      shapes = jax.eval_shape(grams_fn, params, batch)
      total = {n: jnp.zeros(s.shape, s.dtype) for n, s in shapes.items()}
    total = step(params, total, batch)
    count += 1
    seen += int(np.sum(batch['weight']))
    if seen >= num_examples:
      break
  else:
    raise ValueError(f'{seen} examples; RegMean asks for {num_examples}')
  return {name: np.asarray(x) / count for name, x in total.items()}


def solver(
  grams: Sequence[np.ndarray], alpha: float
) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
  """Returns the function that merges kernels, or some of their columns.

  It solves for the difference to the mean kernel, which is the same where the
  sum of the Gram matrices can be inverted; where it can't (an input that is
  always zero), the mean stays. Beside the Gram matrices there is one more in
  memory, their sum in double precision.

  Args:
    grams: of each model, (d_in, d_in).
    alpha: off-diagonal entries of the Gram matrices are multiplied by it.

  Returns:
    [(d_in, n) of each model] -> (d_in, n) float64.
  """
  try:
    total = _sum(grams, alpha)
    factor = scipy.linalg.cho_factor(total, overwrite_a=True)
    inverse = functools.partial(scipy.linalg.cho_solve, factor)
  except scipy.linalg.LinAlgError:
    inverse = functools.partial(_least, _sum(grams, alpha))

  def solve(kernels):
    mean = sum(np.asarray(k, np.float64) for k in kernels) / len(kernels)
    right = np.zeros_like(mean)
    for one, kernel in zip(grams, kernels, strict=True):
      delta = kernel - mean
      for rows in _blocks(len(one), _ROWS):
        right[rows] += alpha * (one[rows].astype(np.float64) @ delta)
        right[rows] += (1 - alpha) * np.diag(one)[rows, None] * delta[rows]
    mean += inverse(right, overwrite_b=True)
    return mean

  return solve


def _sum(grams, alpha) -> np.ndarray:
  total = np.zeros(grams[0].shape, order='F')  # so it can be factored in place
  for one in grams:
    total += one
  diagonal = np.diag(total).copy()
  total *= alpha
  np.fill_diagonal(total, diagonal)
  return total


def _least(total, right, overwrite_b) -> np.ndarray:
  return scipy.linalg.lstsq(total, right, overwrite_b=overwrite_b)[0]


def _blocks(size: int, step: int) -> Iterator[slice]:
  return (slice(i, min(i + step, size)) for i in range(0, size, step))


def regmean(
  models: Sequence[Weights],
  grams: Sequence[Mapping[str, np.ndarray]],
  alpha: float,
  transpose: bool = False,
) -> Weights:
  """Returns RegMean's merge.

  Args:
    models: with the same names.
    grams: of each model, {kernel's tensor name: (d_in, d_in)}.
    alpha: see `solver`; 0 to 1.
    transpose: the kernels are stored (d_out, d_in), as PyTorch does.

  Raises:
    ValueError: alpha is out of range, a kernel isn't there or doesn't fit its
      Gram matrix.
  """
  if not 0 <= alpha <= 1:
    raise ValueError(f'RegMean alpha {alpha}: expected 0 to 1')
  merged = average.average(models)
  tensors = dict(merged.tensors)
  for name, one in grams[0].items():
    if name not in tensors:
      raise ValueError(f'{models[0].where} has no kernel {name}')
    parts = [model.tensors[name] for model in models]
    mine = [of_model[name] for of_model in grams]
    width = one.shape[0]
    size = parts[0].rows * parts[0].row_size
    if size % width or (transpose and parts[0].shape[-1] != width):
      raise ValueError(
        f'{parts[0].where} has shape {parts[0].shape}, its layer {width} inputs'
      )
    tensors[name] = _solved(parts, mine, alpha, transpose)
  return dataclasses.replace(merged, tensors=tensors)


def _solved(parts, grams, alpha, transpose) -> Tensor:
  width = grams[0].shape[0]
  outputs = parts[0].rows * parts[0].row_size // width

  def columns(part, span):  # (d_in, n); attention's kernels are made flat
    if transpose:
      return part.read(span.start, span.stop).T
    chunks = (chunk.reshape(-1, outputs) for chunk in part.chunks())
    # A copy: a view would keep all of the chunk.
    return np.concatenate([chunk[:, span].copy() for chunk in chunks])

  def read(start, stop):
    solve = solver(grams, alpha)
    solved = np.empty(
      (outputs, width) if transpose else (width, outputs), np.float32
    )
    kernel = solved.T if transpose else solved
    for span in _blocks(outputs, -(-outputs // _PARTS)):
      kernel[:, span] = solve([columns(part, span) for part in parts])
    return solved.reshape(parts[0].shape)[start:stop]

  return dataclasses.replace(parts[0], read=read, whole=True)
