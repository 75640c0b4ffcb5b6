"""Weights and gradients of files that name them as `transformers` does."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.models import names
from glue_jax.models.model import Model, shapes

# Of a file's largest gradient: what stands for one that is zero in exact
# arithmetic (a key's bias).
FLOOR = 1e-6


def params(
  arrays: Mapping[str, np.ndarray], model: Model, prefix: str
) -> tree.Tree:
  """Returns a model's tree from the arrays <prefix><library name>."""
  flat = {}
  for name, target in names.targets(model, shapes(model)).items():
    flat[name] = jnp.asarray(target.ours(arrays[prefix + target.name]))
  return tree.unflatten(flat)


def gradients(
  arrays: Mapping[str, np.ndarray],
  model: Model,
  found: tree.Tree,
  prefix: str,
  rtol: float,
) -> list[tuple]:
  """Rows of the gradient of every leaf, compared as a whole array.

  Single elements are sums that cancel, so they are held against the largest
  value of their array.

  Args:
    arrays: of the file, gradients by <prefix><library name>.
    model: whose leaves they are.
    found: our gradients.
    prefix: of the arrays' names.
    rtol: of the largest value of an array.
  """
  flat, rows = tree.flatten(found), []
  scale = max(
    np.abs(v).max() for k, v in arrays.items() if k.startswith(prefix)
  )
  targets = names.targets(model, shapes(model))
  for name, ours in names.tensors(targets, flat).items():
    theirs = arrays[prefix + name]
    atol = max(rtol * np.abs(theirs).max(), FLOOR * scale)
    rows.append((prefix + name, np.asarray(ours), theirs, atol, 0.0))
  return rows
