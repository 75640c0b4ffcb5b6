"""Hydra: growth with the length, and eight matrix mixers side by side.

  python -m launch.benchmark hydra --part=growth --json=FILE
  python -m launch.benchmark hydra --part=mixers --corpus=DIR --json=FILE

growth: forward and backward of the mixing alone and of a whole block, by XLA or
by what serves the device, one row of tokens. Rows: {"name", "length", "ms",
"cpu_ms" of this process on all cores, which other processes don't lengthen,
"mb" of temporary memory, "device", ...}.

mixers: masked language models that differ in the matrix only, with equal steps,
batches and seeds and with widths for which the numbers of parameters are as
equal as whole heads allow. DIR has train/ and valid/ with plain text files.
Rows: {"mixer", "seeds", "loss", "std", "parameters", "hidden_size", ...}; the
loss is that of the masked tokens of valid/.
"""

import functools
import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from glue_jax import config as config_lib
from glue_jax import runs
from glue_jax.kernels import quasiseparable as kernel
from glue_jax.layers import hydra, matrices
from glue_jax.layers.spec import EncoderConfig
from glue_jax.models import model as models
from launch.benchmarks import _timing

FLAGS = flags.FLAGS
PARTS = ('growth', 'mixers')
# The controlled study: these see no position otherwise.
WITH_POSITIONS = ('attention', 'cauchy', 'low_rank', 'vandermonde')
HEAD_DIM, QK_DIM, VOCABULARY = 16, 8, 2000


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  flags.DEFINE_enum('part', 'growth', PARTS, 'What to measure.')
  flags.DEFINE_string('json', None, 'File for the rows.')
  flags.DEFINE_list(
    'lengths', ['1024', '4096', '16384', '65536'], 'growth: tokens.'
  )
  flags.DEFINE_integer('width', 128, 'growth: hidden size.')
  flags.DEFINE_integer('state_size', 32, 'growth: N.')
  flags.DEFINE_integer('chunk', None, 'growth: tokens a chunk.')
  flags.DEFINE_integer('turns', 3, 'growth: runs for a time.')
  flags.DEFINE_string('corpus', None, 'mixers: folder with train/ and valid/.')
  flags.DEFINE_list('mixers', list(matrices.MATRICES), 'mixers: which.')
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'mixers: one run for each.')
  flags.DEFINE_integer('steps', 300, 'mixers: updates.')
  flags.DEFINE_integer('length', 64, 'mixers: tokens of a row.')
  flags.DEFINE_integer('batch', 16, 'mixers: rows.')
  flags.DEFINE_integer('layers', 2, 'mixers: blocks.')
  flags.DEFINE_integer('hidden', 64, 'mixers: width of the quasiseparable.')


def main(argv: list[str]) -> None:
  """Measures, prints the rows, writes `--json`."""
  if len(argv) > 1:
    raise SystemExit(f'unexpected arguments {argv[1:]}')
  rows = []
  for row in growth() if FLAGS.part == 'growth' else mixers():
    rows.append(row)
    print(*(f'{key}={value}' for key, value in row.items()), flush=True)
  if FLAGS.json:
    pathlib.Path(FLAGS.json).write_text(json.dumps(rows, indent=2) + '\n')


def growth() -> Iterator[dict[str, Any]]:
  """Rows of the mixing alone and of a block for each length."""
  for length in map(int, FLAGS.lengths):
    for name, (fn, args) in (
      ('mixing', _mixing(length)),
      ('block', _block(length)),
    ):
      program = jax.jit(fn).lower(*args).compile()
      run = functools.partial(program, *args)
      ((seconds, processor),) = _timing.clocks([run], FLAGS.turns)
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


def mixers() -> Iterator[dict[str, Any]]:
  """Rows of the mixer table."""
  if not FLAGS.corpus:
    raise SystemExit('--part=mixers needs --corpus=DIR, with train/ and valid/')
  unknown = sorted(set(FLAGS.mixers) - set(matrices.MATRICES))
  if unknown:
    raise SystemExit(f'no mixers {unknown}; there are {[*matrices.MATRICES]}')
  target = _parameters('quasiseparable', FLAGS.hidden)
  for mixer in FLAGS.mixers:
    width = _width(mixer, target)
    start = time.perf_counter()
    losses = [_loss(mixer, width, int(seed)) for seed in FLAGS.seeds]
    spread = statistics.stdev(losses) if len(losses) > 1 else None
    yield {
      'mixer': mixer,
      'loss': round(statistics.mean(losses), 4),
      'std': spread and round(spread, 4),
      'losses': [round(loss, 4) for loss in losses],
      'parameters': _parameters(mixer, width),
      'hidden_size': width,
      'seeds': len(losses),
      'steps': FLAGS.steps,
      'seconds': round(time.perf_counter() - start),
    }


def model_options(mixer: str, width: int) -> dict[str, Any]:
  """Arguments of `models.build`: encoders that differ in the matrix only."""
  matrix = dict(
    matrix=mixer,
    data_dependent=mixer != 'dense',
    head_dim=HEAD_DIM,
    qk_dim=QK_DIM,
    max_length=FLAGS.length,
  )
  return dict(
    name='hydra',
    preset='tiny',
    mixer='matrix_mixer',
    num_layers=FLAGS.layers,
    hidden_size=width,
    max_positions=FLAGS.length if mixer in WITH_POSITIONS else 0,
    dropout=0.0,
    options={'matrix_mixer': matrix},
  )


def _parameters(mixer: str, width: int) -> int:
  options = model_options(mixer, width)
  model = models.build(kind='mlm', vocab_size=VOCABULARY, **options)
  return sum(int(np.prod(y.shape)) for y in models.shapes(model).values())


def _width(mixer: str, target: int) -> int:
  """The width, in whole heads, whose number of parameters is nearest."""
  step = HEAD_DIM // 2  # a block is twice as wide inside
  widths = range(step, 4 * FLAGS.hidden, step)
  return min(widths, key=lambda w: abs(_parameters(mixer, w) - target))


def _loss(mixer: str, width: int, seed: int) -> float:
  """Trains one model; returns the loss on valid/."""
  corpus = pathlib.Path(FLAGS.corpus)
  settings = dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(
      files=dict(
        train=str(corpus / 'train'), validation=str(corpus / 'valid')
      ),
      tokenizer='train',
      vocab_size=VOCABULARY,
      max_length=FLAGS.length,
      buckets=(FLAGS.length,),
      batch_size=FLAGS.batch,
      eval_batch_size=64,
      eval_limit=512,
      cache_dir='~/.cache/glue_jax/examples',
    ),
    model=model_options(mixer, width),
    objective=dict(name='mlm', rate=0.15, whole_word=False),
    optimizer=dict(
      lr=3e-3, warmup=0.06, final=0.02, weight_decay=0.01,
      args=dict(b1=0.9, b2=0.98, eps=1e-6),
    ),
    train=dict(steps=FLAGS.steps, eval_every=FLAGS.steps, log_every=100),
    seeds=(seed,),
  )  # fmt: skip
  with tempfile.TemporaryDirectory() as folder:
    result = runs.run(config_lib.complete(settings), folder)
  return float(result['metrics']['validation']['loss'])


def _mixing(length: int) -> tuple[Callable[..., Any], tuple]:
  """Gradient of the quasiseparable product, and its arguments."""
  inner, size = 2 * FLAGS.width, 64
  heads = inner // size
  rng = np.random.default_rng(0)
  normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
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
  context = {'mask': jnp.ones((1, length), bool)}
  params = block.init(
    jax.random.key(0), x[:, :8], {'mask': context['mask'][:, :8]}, False
  )['params']

  def loss(params, x):
    return jnp.sum(block.apply({'params': params}, x, context, False))

  return jax.grad(loss, (0, 1)), (params, x)
