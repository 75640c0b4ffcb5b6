"""What a config reads: the data of this process, checked against the model."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from glue_jax.data import pipeline
from glue_jax.data.bundle import DataBundle
from glue_jax.data.tasks import by_name
from glue_jax.devices import sharding
from glue_jax.training.sections import Sections


def make_data(
  sections: Sections, mesh: Mesh, seed: int, **overrides: Any
) -> DataBundle:
  """Returns the data of a config for this process.

  Raises:
    ValueError: a batch size that the mesh doesn't divide; see also
      `pipeline.build`.
  """
  kwargs = sections.data
  multiple = sharding.batch_multiple(mesh)
  for key in ('batch_size', 'eval_batch_size'):
    if kwargs.get(key, multiple) % multiple:
      raise ValueError(
        f'config.data.{key}={kwargs[key]} is not divisible by the '
        f'{multiple} devices that share a batch (mesh data x fsdp x expert)'
      )
  return pipeline.build(
    by_name.make(**sections.task),
    seed=seed,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    **(dict(kwargs) | overrides),
  )


def example_batch(bundle: DataBundle) -> dict[str, np.ndarray]:
  """Returns one row of the greatest length, for shapes only.

  What a part can't do at that length is an error before any training.
  """
  batches = bundle.train or next(iter(bundle.evals.values()), None)
  length = max(bundle.buckets)
  if batches is None:
    row = np.ones((1, length), np.int32)
    return {'input_ids': row, 'attention_mask': row, 'token_type_ids': row * 0}
  examples = batches.examples
  return examples.batch(np.array([-1]), length)


def check_ids(bundle: DataBundle, config: Any) -> None:
  """Refuses ids that a table has no row for: lookups would give NaN.

  Raises:
    ValueError: a token type of the data is not below `type_vocab_size`, or a
      token not below `vocab_size`.
  """
  batches = [bundle.train] if bundle.train else list(bundle.evals.values())
  for examples in (b.examples for b in batches):
    for field, size in (
      ('type_ids', config.type_vocab_size),
      ('ids', config.vocab_size),
    ):
      largest = int(getattr(examples, field).max(initial=0))
      if largest >= size:
        raise ValueError(
          f'the data has {field} up to {largest}, the model has {size} rows; '
          'give the tokenizer that belongs to the weights'
        )
