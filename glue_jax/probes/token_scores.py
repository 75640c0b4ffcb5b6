"""Self-questioning: the tokens of a corpus that a masked LM is unsure of.

Stage one of self-evolution (objectives/self_evolution.py): one pass over the
training rows, unmasked and without dropout.
"""

from typing import Any

import jax
import numpy as np

from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.config.ranges import NonNegative, checked
from glue_jax.data import hard_tokens
from glue_jax.data.examples import Examples
from glue_jax.devices import cpu, sharding
from glue_jax.objectives import self_evolution
from glue_jax.training import begin, schema


@checked
def of_config(
  config: Any,
  threshold: NonNegative = 0.1,
  metric: self_evolution.Metric = 'loss',
) -> tuple[Examples, list[np.ndarray], str]:
  """Scores the training rows by the model that a config starts from.

  Args:
    config: of a run on a corpus; its methods are left out.
    threshold, metric: see `self_evolution.unsure`.

  Returns:
    (rows, places of each row's hard tokens with the hardest first, hash of the
    model): what `hard_tokens.write` takes.

  Raises:
    ValueError: the config doesn't fit, has stages, or its model or task is no
      masked LM's.
  """
  changes = {'methods': (), 'data': {'hard_tokens': ''}}
  config = config_lib.complete(config_lib.override(config, changes))
  if config.stages:
    raise ValueError(
      'a config with stages starts from several models; give that of one stage'
    )
  parts = begin.build(schema.bind(config, 1), config.seeds[0])
  batches = parts.train_data().once()
  examples = batches.examples
  if parts.plain.model.kind != 'mlm' or examples.word_ids is None:
    raise ValueError(
      "hard tokens are a masked LM's on a corpus (task.kind="
      f"'language_modeling'); found the head {parts.plain.model.kind!r} and "
      f'the task {parts.bundle.task.kind!r}'
    )
  hard_tokens.check_length(int(examples.lengths.max()))

  def run(params, batch):
    logits = parts.plain(params, batch)['logits']
    ids, mask = batch['input_ids'], batch['attention_mask']
    losses = self_evolution.questioned(logits, ids, mask)
    # Special tokens have no word.
    words = (batch['word_ids'] >= 0) * mask
    found = self_evolution.unsure(logits, ids, words, threshold, metric)
    return losses, found & (words > 0)

  program = jax.jit(run, compiler_options=cpu.compiler_options())
  places: list[np.ndarray] = [np.zeros(0, np.int64)] * len(examples)
  with sharding.enter(parts.mesh):
    for batch in batches:
      whole = sharding.put_batch(batch, parts.mesh)
      scores = sharding.gather(program(parts.params, whole), parts.mesh)
      for row, losses, found in zip(batch['idx'], *scores, strict=True):
        if row >= 0:
          at = np.flatnonzero(found)
          places[row] = at[np.argsort(-losses[at], kind='stable')]
  leaves = tree.flatten(parts.params)
  plain = {name: x for name, x in leaves.items() if name in parts.names}
  return examples, places, hard_tokens.digest(plain)
