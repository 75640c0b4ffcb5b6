"""SlimFit: what a training step keeps and needs, beside full fine-tuning.

  python -m launch.benchmark slimfit --json=FILE

Programs are compiled for abstract parameters and never run. Rows: {"arm",
"batch", "length", "residual_mb" (what `jax.vjp` keeps between the passes,
without parameters and batch), "temporary_mb" (of the compiled step: residuals,
gradients and scratch), "state_mb" (parameters and optimizer), "total_mb", each
with its ratio "times_less" to full fine-tuning, "compile_s"}. SlimFit's figures
are means over `--masks` choices of layers; 'schedule' is the frozen layers
alone, 'compress' the compressed residuals alone.

Accuracy is measured by training: configs/finetune/slimfit.py:TASK,small.
"""

import itertools
import statistics
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from glue_jax import tree
from glue_jax.compress import saved_activation_plugs
from glue_jax.models import model as models
from glue_jax.optim import build as optim
from glue_jax.optim import layer_schedule
from glue_jax.plugs import Apply
from launch.benchmarks.parts import rows

FLAGS = flags.FLAGS
ARMS = ('full', 'compress', 'schedule', 'slimfit')


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  rows.define_file()
  flags.DEFINE_string('preset', 'base', 'Size of the BERT.')
  flags.DEFINE_list('batches', ['32', '128'], 'Rows of a batch.')
  flags.DEFINE_integer('length', 128, 'Tokens of a row.')
  flags.DEFINE_float('freezing_rate', 0.95, 'Share of frozen layers.')
  flags.DEFINE_integer('masks', 3, 'Drawn choices of layers.')
  flags.DEFINE_multi_enum('arms', list(ARMS), ARMS, 'Which to compile.')


def main(argv: list[str]) -> None:
  """Compiles, prints the rows, writes `--json`."""
  del argv
  rows.collect(study(), FLAGS.json)


def study() -> Iterator[dict[str, Any]]:
  """Rows of all arms and batches."""
  module = models.build(
    'bert', FLAGS.preset, kind='classification', num_outputs=2
  )
  for size in map(int, FLAGS.batches):
    full = None
    for arm in FLAGS.arms:
      figures = measure(module, arm, size)
      full = figures if arm == 'full' else full
      less = {}
      if full and arm != 'full':
        keys = ('residual_mb', 'temporary_mb', 'total_mb')
        less = {f'{k}_times_less': round(full[k] / figures[k], 2) for k in keys}
      yield {
        'arm': arm,
        'batch': size,
        'length': FLAGS.length,
        'freezing_rate': FLAGS.freezing_rate if arm[0] == 's' else 0.0,
        'device': jax.devices()[0].device_kind,
        **figures,
        **less,
      }


def measure(module: models.Model, arm: str, size: int) -> dict[str, float]:
  """Returns the figures of one arm, means over the choices of layers."""
  shapes = models.shapes(module)
  names = layer_schedule.layers(shapes)
  parts = saved_activation_plugs.SITES if arm in ('compress', 'slimfit') else ()
  apply = Apply(
    module,
    saved_activation_plugs.plugs(parts, module.config, value_dropout=True),
  )
  draws = []
  masks = FLAGS.masks if arm in ('schedule', 'slimfit') else 1
  for seed in range(masks):
    frozen = set()
    if arm in ('schedule', 'slimfit'):
      priority = np.random.default_rng(seed).random(len(names))
      mask = layer_schedule.frozen_layers(priority, FLAGS.freezing_rate)
      frozen = set(itertools.compress(names, mask))
    params = tree.unflatten(shapes)
    learning, rest = tree.partition(params, lambda n, f=frozen: n not in f)
    draws.append(_figures(apply, learning, rest, size))
  return {k: round(statistics.mean(f[k] for f in draws), 1) for k in draws[0]}


def _figures(apply, learning, frozen, size) -> dict[str, float]:
  """Figures of one program; all arguments are shapes."""
  ids = jax.ShapeDtypeStruct((size, FLAGS.length), jnp.int32)
  batch = dict.fromkeys(('input_ids', 'attention_mask', 'token_type_ids'), ids)
  batch['labels'] = jax.ShapeDtypeStruct((size,), jnp.int32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  both = tree.merge(learning, frozen)
  tx, _ = optim.make(total_steps=100, names=tree.flatten(both))

  def step(learning, state, frozen, batch, key):
    def loss(p):
      return _loss(apply, p, frozen, batch, key)

    updates, state = tx.update(jax.grad(loss)(learning), state, learning)
    return optax.apply_updates(learning, updates), state

  state = jax.eval_shape(tx.init, learning)
  lowered = jax.jit(step, donate_argnums=(0, 1)).lower(
    learning, state, frozen, batch, key
  )
  start = time.perf_counter()
  program = lowered.compile()
  seconds = time.perf_counter() - start
  temporary = program.memory_analysis().temp_size_in_bytes
  # The optimizer's state of frozen layers is kept as well.
  everything = tree.nbytes(both) + _bytes(jax.eval_shape(tx.init, both))
  kept = residuals(apply, learning, frozen, batch, key)
  return {
    'residual_mb': _bytes(kept) / 1e6,
    'temporary_mb': temporary / 1e6,
    'state_mb': everything / 1e6,
    'total_mb': (temporary + everything) / 1e6,
    'compile_s': seconds,
  }


def residuals(
  apply: Apply, learning: tree.Tree, frozen: tree.Tree, batch: Any, key: Any
) -> list[jax.ShapeDtypeStruct]:
  """Returns what the backward pass keeps, as `jax.vjp` sees it.

  Args:
    apply: the model.
    learning: shapes of the leaves that learn.
    frozen: shapes of the others.
    batch: shapes of a batch with labels (B,).
    key: shape of a typed key.

  Returns:
    shapes of all leaves of the pull-back but those that are arguments.
  """

  def kept(learning, frozen, batch, key):
    _, pull = jax.vjp(lambda p: _loss(apply, p, frozen, batch, key), learning)
    given = [id(x) for x in jax.tree.leaves((learning, frozen, batch, key))]
    return [x for x in jax.tree.leaves(pull) if id(x) not in given]

  return jax.eval_shape(kept, learning, frozen, batch, key)


def _loss(apply, learning, frozen, batch, key):
  params = tree.merge(learning, frozen)
  logits = apply(params, batch, True, key)['logits']
  return optax.softmax_cross_entropy_with_integer_labels(
    logits, batch['labels']
  ).mean()


def _bytes(value) -> int:
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(value))
