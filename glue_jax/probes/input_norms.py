"""Input norms of a model's linear layers over calibration data, for `wanda`."""

from typing import Any

import jax
import numpy as np

from glue_jax.compress import wanda
from glue_jax.config import config as config_lib
from glue_jax.devices import cpu, sharding
from glue_jax.layers import paths
from glue_jax.training import begin, schema

_LAYERS = paths.of('.*')


def of_config(
  config: Any, examples: int = 128
) -> tuple[dict[str, np.ndarray], int]:
  """Runs the model that a config starts from over its first training rows.

  Args:
    config: of a run; its methods are left out, its first seed orders the rows.
    examples: rows at most (WANDA's paper uses 128 sequences).

  Returns:
    ({path of a linear layer of the blocks: (in,) float64}, number of rows):
    root of the mean square over the real tokens.

  Raises:
    ValueError: the config doesn't fit, has stages, or has nothing to train on.
  """
  if examples < 1:
    raise ValueError(f'examples={examples}: expected 1 or more')
  config = config_lib.complete(config_lib.override(config, {'methods': ()}))
  if config.stages:
    raise ValueError(
      'a config with stages starts from several models; give that of one stage'
    )
  parts = begin.build(schema.bind(config, 1), config.seeds[0])
  data = parts.train_data()

  def run(params, batch, mask):
    apply = parts.plain.replace(plugs=(wanda.plug(_LAYERS, mask),))
    return wanda.input_squares(apply(params, batch)['captured'])

  program = jax.jit(run, compiler_options=cpu.compiler_options())
  total: dict[str, np.ndarray] = {}
  count = tokens = step = 0
  wanted = min(examples, data.num_examples)
  with sharding.enter(parts.mesh):
    while count < wanted:
      batch = data.batch(step)
      rows = np.flatnonzero(batch['weight'] > 0)[: wanted - count]
      mask = np.zeros_like(batch['attention_mask'])
      mask[rows] = batch['attention_mask'][rows]
      whole = sharding.put_batch(dict(batch, calibration=mask), parts.mesh)
      squares = program(parts.params, whole, whole['calibration'])
      for name, value in sharding.gather(squares, parts.mesh).items():
        total[name] = total.get(name, 0) + np.asarray(value, np.float64)
      count, tokens, step = count + len(rows), tokens + mask.sum(), step + 1
  return {name: np.sqrt(x / tokens) for name, x in total.items()}, count
