"""Time and memory of token mixers as the sequence grows.

For each length and mixer: the median time and the compiler's temporary memory
of forward and backward, of one mixer and of a whole encoder; the mixers run in
turns, so that what else the machine does strikes all alike. `cpu_ms` is the
processor's time of this process. A program whose memory is above --limit_gb
isn't run. Rows: {"name", "mixer", "length", "batch", "ms", "cpu_ms", "mb",
"device", ...}.

  python -m launch.benchmark mixers --json=FILE [--lengths=512,1024,...]
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from glue_jax.layers import spec
from glue_jax.layers.context import BatchContext
from glue_jax.models import model as models
from launch.benchmarks.parts import rows, timing

FLAGS = flags.FLAGS
# Mixer -> the family whose presets have it.
FAMILIES = {
  'attention': 'bert',
  'fourier': 'fnet',
  'ponet': 'ponet',
  'hydra': 'hydra',
}


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  rows.define_file()
  flags.DEFINE_list('mixers', list(FAMILIES), 'Which mixers.')
  flags.DEFINE_list(
    'lengths', ['512', '1024', '2048', '4096', '8192', '16384'], 'Tokens.'
  )
  flags.DEFINE_integer('width', 256, 'Hidden size; heads of 64.')
  flags.DEFINE_integer('layers', 2, 'Blocks of the whole encoder.')
  flags.DEFINE_integer('batch', 1, 'Rows.')
  flags.DEFINE_integer('turns', 3, 'Runs for a time.')
  flags.DEFINE_float('limit_gb', 8.0, 'Memory above which nothing is run.')
  flags.DEFINE_string('dtype', 'float32', 'Of the activations.')


def main(argv: list[str]) -> None:
  """Measures, prints the table, writes `--json`."""
  del argv
  measured = (
    row
    for length in map(int, FLAGS.lengths)
    for name, layers in (('mixer', 1), ('encoder', FLAGS.layers))
    for row in measure(name, length, layers)
  )
  rows.collect(measured, FLAGS.json, line)


def line(row: dict[str, Any]) -> str:
  """One line of the table."""
  return (
    f'{row["name"]:<8} {row["mixer"]:<10} L={row["length"]:<6} '
    f'{row["ms"] or "-":>9} ms '
    f'{row["cpu_ms"] or "-":>9} CPU ms {row["mb"]:>9} MB'
  )


def measure(name: str, length: int, layers: int) -> list[dict[str, Any]]:
  """A row for each mixer; times are None above the memory limit."""
  measured, runs = [], {}
  for mixer in FLAGS.mixers:
    program, args = compiled(mixer, name, length, layers)
    megabytes = program.memory_analysis().temp_size_in_bytes / 1e6
    if megabytes <= FLAGS.limit_gb * 1e3:
      runs[mixer] = functools.partial(program, *args)
    measured.append(
      {
        'name': name,
        'mixer': mixer,
        'length': length,
        'batch': FLAGS.batch,
        'width': FLAGS.width,
        'layers': layers,
        'mb': round(megabytes, 1),
        'device': jax.devices()[0].device_kind,
      }
    )
  times = dict(zip(runs, timing.clocks(list(runs.values()), FLAGS.turns)))
  for row in measured:
    clocks = times.get(row['mixer'], (None, None))
    for key, seconds in zip(('ms', 'cpu_ms'), clocks):
      row[key] = None if seconds is None else round(1e3 * seconds, 2)
  return measured


def compiled(
  mixer: str, name: str, length: int, layers: int
) -> tuple[jax.stages.Compiled, tuple[Any, ...]]:
  """The gradient of a mixer or of a whole encoder, with its arguments."""
  module = build(mixer, length, layers)
  batch = {
    'input_ids': jnp.full((FLAGS.batch, length), 7, jnp.int32),
    'attention_mask': jnp.ones((FLAGS.batch, length), jnp.int32),
    'segment_ids': jnp.broadcast_to(
      jnp.arange(length) // 24, (FLAGS.batch, length)
    ),
  }
  params = module.init(jax.random.key(0), batch)['params']
  if name == 'mixer':
    fn, args = _mixer_step(module, params, batch)
  else:
    fn, args = _encoder_step(module), (params, batch)
  return jax.jit(fn).lower(*args).compile(), args


def build(mixer: str, length: int, layers: int) -> models.Model:
  """The encoder of a family at the flags' size."""
  if mixer not in FAMILIES:
    raise app.UsageError(
      f'unknown mixer {mixer!r}; there are {sorted(FAMILIES)}'
    )
  width = FLAGS.width
  return models.build(
    FAMILIES[mixer], 'tiny', num_layers=layers, hidden_size=width,
    num_heads=max(1, width // 64), intermediate_size=4 * width, vocab_size=64,
    max_positions=length, dropout=0.0, attention_dropout=0.0,
    dtype=FLAGS.dtype,
  )  # fmt: skip


def _encoder_step(module: models.Model) -> Any:
  def loss(params, batch):
    out = module.apply({'params': params}, batch)['last_hidden']
    return jnp.sum(jnp.square(out.astype(jnp.float32)))

  return jax.grad(loss)


def _mixer_step(module: models.Model, params: Any, batch: Any) -> Any:
  """Gradient of the first block's mixer alone."""
  shape = (*batch['input_ids'].shape, module.config.hidden_size)
  x = np.random.default_rng(0).normal(size=shape)
  mask = batch['attention_mask'] == 1
  # What the encoder hands its mixers: nothing is padded, so the bias is zero.
  bias = jnp.zeros((shape[0], 1, 1, shape[1]))
  context = BatchContext(
    mask, bias, batch['input_ids'], batch.get('segment_ids')
  )
  config = module.config
  mixer = spec.make('mixer', config.mixer, config)

  def loss(params, x, context):
    out = mixer.apply({'params': params}, x, context, False)
    return jnp.sum(jnp.square(out.astype(jnp.float32)))

  inner = params['encoder']['layer_0'].get('mixer', {})
  args = inner, jnp.asarray(x, module.config.dtype), context
  return jax.grad(loss, (0, 1)), args
