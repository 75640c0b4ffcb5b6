"""RegMean (Jin et al. 2023, arXiv 2212.09849): linear layers by regression.

The merged kernel W minimises sum_t |X_t W - X_t W_t|^2 over the inputs X_t that
each model's layer sees on its own data: W = (sum G_t)^-1 sum G_t W_t with
G_t = X_t^T X_t. Biases, norms and embeddings are averaged.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from glue_jax.merging import average
from glue_jax.merging.stream import Tensor, Weights

# (params, batch) -> {layer: X^T X / rows, (d_in, d_in)}.
GramsFn = Callable[[Any, Mapping[str, Any]], Mapping[str, jax.Array]]


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


def gather(
  grams_fn: GramsFn,
  params: Any,
  batches: Iterable[Mapping[str, Any]],
  num_examples: int,
  **jit: Any,
) -> dict[str, np.ndarray]:
  """Averages the layers' Gram matrices over batches.

  Args:
    grams_fn: see `GramsFn`.
    params: its first argument.
    batches: with 'weight' (B,); taken until num_examples examples were seen.
    num_examples: N.
    **jit: further arguments of `jax.jit`.

  Returns:
    {layer: (d_in, d_in) float32}.

  Raises:
    ValueError: there are fewer examples.
  """
  step = jax.jit(
    lambda params, total, batch: jax.tree.map(
      jnp.add, total, dict(grams_fn(params, batch))
    ),
    **jit,
  )
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


def solve(
  grams: Sequence[np.ndarray], kernels: Sequence[np.ndarray], alpha: float
) -> np.ndarray:
  """Returns the merged kernel.

  Solved for the difference to the mean kernel, which is the same where the sum
  of the Gram matrices can be inverted; where it can't (an input that is always
  zero), the mean stays.

  Args:
    grams: of each model, (d_in, d_in).
    kernels: of each model, (d_in, ...): a flat kernel (d_in, d_out), or one of
      attention, (d_in, heads, width) or (heads, width, d_out) with
      d_in = heads * width.
    alpha: off-diagonal entries of the Gram matrices are multiplied by it.

  Returns:
    float32, of the kernels' shape.
  """
  shape, width = kernels[0].shape, grams[0].shape[0]
  flat = [np.asarray(k, np.float64).reshape(width, -1) for k in kernels]
  mean = sum(flat) / len(flat)
  total, right = np.zeros((width, width)), np.zeros_like(mean)
  for one, kernel in zip(grams, flat, strict=True):
    reduced = alpha * np.asarray(one, np.float64)
    np.fill_diagonal(reduced, np.diag(one))
    total += reduced
    right += reduced @ (kernel - mean)
  try:
    factor = scipy.linalg.cho_factor(total)
    change = scipy.linalg.cho_solve(factor, right)
  except scipy.linalg.LinAlgError:
    change = scipy.linalg.lstsq(total, right)[0]
  return (mean + change).reshape(shape).astype(np.float32)


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
    alpha: see `solve`; 0 to 1.
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
    mine = [found[name] for found in grams]
    width = one.shape[0]
    size = parts[0].rows * parts[0].row_size
    if size % width or (transpose and parts[0].shape[-1] != width):
      raise ValueError(
        f'{parts[0].where} has shape {parts[0].shape}, its layer {width} inputs'
      )
    tensors[name] = _solved(parts, mine, alpha, transpose)
  return dataclasses.replace(merged, tensors=tensors)


def _solved(parts, grams, alpha, transpose) -> Tensor:
  def read(start, stop):
    kernels = [part.array() for part in parts]
    if transpose:
      kernels = [kernel.T for kernel in kernels]
    found = solve(grams, kernels, alpha)
    found = np.ascontiguousarray(found.T) if transpose else found
    return found[start:stop]

  return dataclasses.replace(parts[0], read=read, whole=True)
