"""Singular values of a pretrained model's matrices."""

import os
from typing import Any

import numpy as np

from glue_jax import tree
from glue_jax.models import model as models
from glue_jax.peft import lamda
from glue_jax.weights import source as source_lib


def of_weights(
  source: str | os.PathLike, pattern: str
) -> dict[str, np.ndarray]:
  """Returns {path of a layer: singular values, descending} of its kernel.

  Args:
    source: a saved model, a workdir that has one, or a Hugging Face folder.
    pattern: full-match regex on the paths of the layers.

  Raises:
    ValueError: no layer matches, or a kernel isn't finite.
  """
  sizes: dict[str, Any] = source_lib.read_sizes(os.fspath(source))
  module = models.build(kind='encoder', **sizes)
  params = source_lib.read_params(
    os.fspath(source), module, new_head=True, cast=True
  )
  kernels = {
    name.removesuffix('/kernel'): value
    for name, value in tree.flatten(params).items()
    if name.endswith('/kernel')
  }
  return {
    name: lamda.spectrum(kernels[name], f'{name}/kernel')[1]
    for name in sorted(tree.match([pattern], kernels))
  }
