"""Names, shapes and types of a model's parameters; nothing is computed."""

from typing import Any

import jax
import numpy as np

from glue_jax import tree


def example_batch(model: Any) -> dict[str, np.ndarray]:
  """Returns the smallest batch that the model can be initialised with."""
  shape = (1, 2, 2) if model.kind == 'multiple_choice' else (1, 2)
  return {'input_ids': np.full(shape, model.config.pad_id or 0, np.int32)}


def shapes(model: Any) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns {parameter name: shape and type}; nothing is computed."""
  batch = example_batch(model)
  variables = jax.eval_shape(model.init, jax.random.key(0), batch)
  return tree.flatten(variables['params'])
