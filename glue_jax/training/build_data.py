"""What a config reads: the data of this process, checked against the model."""

import inspect
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from glue_jax.data import pipeline
from glue_jax.data.bundle import DataBundle
from glue_jax.data.tasks.task import Task
from glue_jax.devices import sharding
from glue_jax.training.sections import Sections


def make_data(
  sections: Sections, task: Task, mesh: Mesh, seed: int, **overrides: Any
) -> DataBundle:
  """Returns the data of a config for this process.

  Batches of evaluation and prediction are rounded up to what the devices can
  share: their rows don't meet, so the size changes no result.

  Args:
    sections: the config.
    task: what is learned.
    mesh: whose devices share a batch.
    seed: of the training order.
    **overrides: of the config's data section.

  Raises:
    ValueError: a training batch that the devices can't share; see also
      `pipeline.build`.
  """
  settings = dict(sections.data) | overrides
  defaults = inspect.signature(pipeline.build).parameters
  size, eval_size = (
    settings.get(key, defaults[key].default)
    for key in ('batch_size', 'eval_batch_size')
  )
  multiple = sharding.batch_multiple(mesh)
  if size % multiple and settings.get('train_split') != '':
    raise ValueError(
      f'config.data.batch_size={size} is not divisible by the {multiple} '
      'devices that share a batch (mesh data x fsdp x expert); give a multiple'
    )
  settings['eval_batch_size'] = sharding.shared_rows(eval_size, mesh)
  return pipeline.build(
    task,
    seed=seed,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    **settings,
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
      # Without a table of token types none are looked up.
      if largest >= size and (size or field == 'ids'):
        raise ValueError(
          f'the data has {field} up to {largest}, the model has {size} rows; '
          'give the tokenizer that belongs to the weights'
        )
