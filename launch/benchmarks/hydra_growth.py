"""Growth of Hydra's mixing and block with the length.

  python -m launch.benchmark hydra_growth --json=FILE

Forward and backward, by XLA or by what serves the device, one row of tokens.
Rows: {"name", "length", "ms", "cpu_ms" of this process on all cores, which
other processes don't lengthen, "mb" of temporary memory, "device", ...}.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from glue_jax.kernels.quasiseparable import quasiseparable as kernel
from glue_jax.layers.context import BatchContext
from glue_jax.layers.mixers import hydra
from glue_jax.layers.spec import EncoderConfig
from launch.benchmarks.parts import rows, timing

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  rows.define_file()
  flags.DEFINE_list('lengths', ['1024', '4096', '16384', '65536'], 'Tokens.')
  flags.DEFINE_integer('width', 128, 'Hidden size.')
  flags.DEFINE_integer('state_size', 32, 'N.')
  flags.DEFINE_integer('chunk', None, 'Tokens a chunk.')
  flags.DEFINE_integer('turns', 3, 'Runs for a time.')


def main(argv: list[str]) -> None:
  """Measures, prints the rows, writes `--json`."""
  del argv
  rows.collect(growth(), FLAGS.json)


def growth() -> Iterator[dict[str, Any]]:
  """Rows of the mixing alone and of a block for each length."""
  for length in map(int, FLAGS.lengths):
    for name, (fn, args) in (
      ('mixing', _mixing(length)),
      ('block', _block(length)),
    ):
      program = jax.jit(fn).lower(*args).compile()
      run = functools.partial(program, *args)
      ((seconds, processor),) = timing.clocks([run], FLAGS.turns)
      memory = program.memory_analysis().temp_size_in_bytes
      yield {
        'name': name,
        'length': length,
        'width': FLAGS.width,
        'state_size': FLAGS.state_size,
        'chunk': FLAGS.chunk,
        'ms': round(1e3 * seconds, 2),
        'cpu_ms': round(1e3 * processor, 2),
        'cpu_us_per_token': round(1e6 * processor / length, 3),
        'mb': round(memory / 1e6, 1),
        'device': jax.devices()[0].device_kind,
      }


def _mixing(length: int) -> tuple[Callable[..., Any], tuple]:
  """Gradient of the quasiseparable product, and its arguments."""
  inner, size = 2 * FLAGS.width, 64
  heads = inner // size
  rng = np.random.default_rng(0)

  def normal(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  dt = jnp.asarray(rng.uniform(1e-3, 0.1, (2, 1, length, heads)), jnp.float32)
  group = (2, 1, length, 1, FLAGS.state_size)
  args = (
    normal(1, length, heads, size),
    dt,
    -jnp.ones(heads),
    normal(*group),
    normal(*group),
    normal(1, length, heads),
  )

  def loss(*args):
    return jnp.sum(kernel.quasiseparable(*args, chunk=FLAGS.chunk))

  return jax.grad(loss, tuple(range(6))), args


def _block(length: int) -> tuple[Callable[..., Any], tuple]:
  """Gradient of a block, and its arguments."""
  config = EncoderConfig(hidden_size=FLAGS.width)
  block = hydra.Mixer(config, state_size=FLAGS.state_size, chunk=FLAGS.chunk)
  x = np.random.default_rng(0).normal(size=(1, length, FLAGS.width))
  x = jnp.asarray(x, jnp.float32)
  context = BatchContext(jnp.ones((1, length), bool))
  params = block.init(
    jax.random.key(0), x[:, :8], BatchContext(context.mask[:, :8]), False
  )['params']

  def loss(params, x):
    return jnp.sum(block.apply({'params': params}, x, context, False))

  return jax.grad(loss, (0, 1)), (params, x)
