"""Activation memory and step time of MEFT beside full fine-tuning and adapters.

Memory is the compiler's own: temporary bytes of the compiled gradient at a
batch and length, with dropout, less those at one row of 8 tokens, which leaves
what grows with the batch. Parameters and gradients are arguments and results
and so not part of either. Nothing is allocated or run for it. On a CPU the
programs are compiled without LLVM's optimizations, which come after the
assignment of memory. `--time` measures the gradient's time instead; on a GPU,
and with one arm, also the peak of the device's memory.

  python -m launch.benchmark meft --json=FILE
  python -m launch.benchmark meft --json=FILE --time --preset=minilm_l6

Rows that FILE has are not measured again. Arms: full fine-tuning; adapters of
the same size (Houlsby's) in the plain stack; meft1 to meft3 with their default
segments; the same with one segment, as published; MEFT1's function with the
ordinary backward pass.
"""

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from glue_jax import tree
from glue_jax.devices import cpu
from glue_jax.methods import houlsby, meft
from glue_jax.models import model as models
from glue_jax.plugs import Apply
from glue_jax.probes import step_memory
from launch.benchmarks.parts import rows, timing

FLAGS = flags.FLAGS
# Options of the reversible stack; None runs the plain one.
ARMS: dict[str, dict[str, Any] | None] = {
  'full': None,
  'adapters': None,
  'meft1': dict(variant='meft1'),
  'meft2': dict(variant='meft2'),
  'meft3': dict(variant='meft3'),
  'meft1_published': dict(variant='meft1', segment=10**6),
  'meft2_published': dict(variant='meft2', segment=10**6),
  'meft3_published': dict(variant='meft3', segment=10**6),
  'meft1_ordinary': dict(variant='meft1', layers=0),
}
SIZE = 8
# The published figure: the share of full fine-tuning's activation memory.
PUBLISHED = 1 - 0.84


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  rows.define_file('File for the rows (JSON), read first.')
  flags.DEFINE_list('arms', list(ARMS), 'Which arms.')
  flags.DEFINE_list('lengths', ['128', '512'], 'Tokens of a row.')
  flags.DEFINE_integer('batch', 32, 'Rows.')
  flags.DEFINE_string('preset', 'base', 'Sizes of models/bert.py.')
  flags.DEFINE_string('dtype', 'float32', 'Type of the computation.')
  flags.DEFINE_boolean('time', False, 'Measure the time of a gradient.')
  flags.DEFINE_integer('turns', 3, 'Runs for a time.')


def main(argv: list[str]) -> None:
  """Measures what is missing, prints the table, writes `--json`."""
  del argv
  unknown = sorted(set(FLAGS.arms) - set(ARMS))
  if unknown:
    raise app.UsageError(f'unknown arms {unknown}; there are {sorted(ARMS)}')
  kept = rows.read(FLAGS.json)
  for length in map(int, FLAGS.lengths):
    for arm in FLAGS.arms:
      key = setting(arm, length)
      if not any(key.items() <= row.items() for row in kept):
        kept.append(key | measure(arm, length))
        rows.write(kept, FLAGS.json)
      row = next(row for row in kept if key.items() <= row.items())
      print(line(row, kept), flush=True)


def setting(arm: str, length: int) -> dict[str, Any]:
  """What tells a row from all others."""
  return {
    'name': 'seconds' if FLAGS.time else 'memory',
    'arm': arm,
    'length': length,
    'batch': FLAGS.batch,
    'preset': FLAGS.preset,
    'dtype': FLAGS.dtype,
    'device': jax.devices()[0].device_kind,
  }


def measure(arm: str, length: int) -> dict[str, Any]:
  """The figures of a row."""
  if FLAGS.time:
    fn, args = gradient(arm, FLAGS.batch, length, abstract=False)
    program = jax.jit(fn, compiler_options=cpu.compiler_options())
    (seconds,) = timing.alternate([program], args, FLAGS.turns)
    figures = {'value': round(seconds, 4)}
    stats = jax.devices()[0].memory_stats() or {}
    if len(FLAGS.arms) == 1 and 'peak_bytes_in_use' in stats:
      figures['peak_mb'] = round(stats['peak_bytes_in_use'] / 1e6, 1)
    return figures
  whole, fixed = (
    temporary(arm, *shape) for shape in ((FLAGS.batch, length), (1, 8))
  )
  return {
    'value': round((whole - fixed) / 1e6, 1),
    'temporary_mb': round(whole / 1e6, 1),
    'fixed_mb': round(fixed / 1e6, 1),
  }


def line(row: dict[str, Any], others: list[dict[str, Any]]) -> str:
  """One line of the table, with the share of full fine-tuning's figure."""
  same = ('name', 'length', 'batch', 'preset', 'dtype', 'device')
  full = next(
    (
      other['value']
      for other in others
      if other['arm'] == 'full' and all(other[k] == row[k] for k in same)
    ),
    None,
  )
  text = f'{row["arm"]:<16} L={row["length"]:<5} {row["value"]:>9}'
  text += ' MB' if row['name'] == 'memory' else ' s '
  if full is None:
    return text
  share = row['value'] / full
  text += f' {100 * share:6.1f} % of full'
  reached = row['name'] == 'memory' and share <= PUBLISHED
  return text + (', the published 84 % less' if reached else '')


def temporary(arm: str, batch: int, length: int) -> int:
  """Temporary bytes of the compiled gradient."""
  fn, args = gradient(arm, batch, length, abstract=True)
  return step_memory.temporary(fn, *args)


def gradient(
  arm: str, batch: int, length: int, abstract: bool
) -> tuple[Any, tuple]:
  """Returns (learning, frozen, batch, key) -> gradient, and its arguments."""
  apply, learns = build(arm, length)
  batch_rows = {
    'input_ids': np.full((batch, length), 7, np.int32),
    'attention_mask': np.ones((batch, length), np.int32),
    'label': np.zeros(batch, np.int32),
  }
  key = jax.random.key(0)
  make = jax.eval_shape if abstract else lambda fn, *args: jax.jit(fn)(*args)
  train, frozen = tree.partition(make(apply.init, key, batch_rows), learns)

  def loss(train, frozen, rows, key):
    params = tree.merge(train, frozen)
    scores = jax.nn.log_softmax(apply(params, rows, True, key)['logits'])
    return -jnp.take_along_axis(scores, rows['label'][:, None], 1).mean()

  return jax.grad(loss), (train, frozen, batch_rows, key)


def build(arm: str, length: int) -> tuple[Apply, Any]:
  """Returns the model of an arm and which leaves learn in it."""
  options = ARMS[arm]
  changes = {}
  if options is not None:
    changes = dict(stack='reversible', options={'reversible': options})
  model = models.build(
    'bert', FLAGS.preset, kind='classification', num_outputs=2,
    dtype=FLAGS.dtype, **changes,
  )  # fmt: skip
  model.config.check_lengths([length])
  if arm == 'full':
    return Apply(model), lambda _: True
  context = types.SimpleNamespace(model=model)
  if options is None:
    # Only the adapters and the head learn, as in MEFT.
    method = houlsby.make(context, size=SIZE, activation='gelu')
  else:
    method = meft.make(context, size=SIZE, measure_every=0)

  def learns(name):
    return '/adapter_' in name or name.startswith('head/')

  return Apply(model, method.plugs), learns
