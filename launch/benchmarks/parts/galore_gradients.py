"""How much of the gradients is there at a time; see galore.py."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags

from glue_jax import tree
from glue_jax.method import Method, Objective
from glue_jax.models import model as models
from glue_jax.optim import build as optim
from glue_jax.plugs import Apply
from glue_jax.probes import step_memory as step_memory_lib
from glue_jax.training.state import TrainState
from glue_jax.training.step import make_step

FLAGS = flags.FLAGS
ARMS = ('adamw', 'galore', 'natural_galore')
MB = 1e6


def rows() -> Iterator[dict[str, Any]]:
  """Rows: each optimizer with and without clipping by the global norm."""
  model = models.build('bert', 'base')
  params = tree.unflatten(models.shapes(model))
  whole = tree.nbytes(params) / MB
  for name in ARMS:
    for clip_norm in (None, 1.0):
      temporary = step_memory(model, params, name, clip_norm) / MB
      yield {
        'optimizer': name,
        'clip_norm': clip_norm,
        'temporary_mb': round(temporary, 1),
        'gradients_mb': round(whole, 1),
        'share': round(temporary / whole, 3),
        'device': jax.devices()[0].device_kind,
      }


def step_memory(
  model: Any, params: tree.Tree, name: str, clip_norm: float | None
) -> int:
  """Temporary bytes of the loop's step for one row of 8 tokens.

  So few that activations are next to nothing beside the gradients.
  """
  args = None if name == 'adamw' else dict(rank=FLAGS.rank)
  tx, _ = optim.make(
    total_steps=10, names=tree.flatten(params), name=name,
    clip_norm=clip_norm, args=args,
  )  # fmt: skip

  def loss(apply, params, batch, rng):
    hidden = apply(params, batch, train=True, rng=rng)['last_hidden']
    total = jnp.square(hidden).sum()
    return total, {'loss': (total, jnp.float32(1))}

  step = make_step(
    Apply(model), Objective(loss, predict=None), Method('full'), tx
  )
  state = TrainState(
    step=jax.ShapeDtypeStruct((), jnp.int32),
    params=params,
    frozen={},
    opt_state=jax.eval_shape(tx.init, params),
    extra={},
  )
  ids = jax.ShapeDtypeStruct((1, 8), jnp.int32)
  batch = {'input_ids': ids, 'attention_mask': ids}
  key = jax.eval_shape(lambda: jax.random.key(0))
  return step_memory_lib.temporary(
    step, state, {'params': {}}, batch, key, donate_argnums=0
  )
