"""Texts written token by token, beside `transformers` on the same weights.

Both sides write greedily from the same random prompts, without an end token, in
processes of their own that take turns; figures are medians over the turns, in
new tokens of all rows a second, the pass over the prompt included. Rows:
greedy_b1 and greedy_b16, or those of --batches.

  python -m launch.benchmark generate --json=FILE [--weights=FOLDER]

Without --weights, a LLaMA of --preset with random weights.
"""

import pathlib
import statistics
import tempfile

import jax
from absl import flags

from glue_jax.models import model as models
from glue_jax.weights import huggingface
from launch.benchmarks.parts import rows, worker

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  rows.define_file()
  flags.DEFINE_string('weights', None, 'HF folder of a decoder.')
  flags.DEFINE_string('preset', 'smollm2_135m', 'Of LLaMA, for random weights.')
  flags.DEFINE_list('batches', ['1', '16'], 'Rows written at a time.')
  flags.DEFINE_integer('prompt', 64, 'Tokens of a prompt.')
  flags.DEFINE_integer('tokens', 64, 'New tokens of a row.')
  flags.DEFINE_integer('threads', 0, 'Cores of either side; 0 for all.')
  flags.DEFINE_integer('turns', 5, 'Turns of either side for each figure.')


def main(argv: list[str]) -> None:
  """Measures, prints the rows, writes `--json`."""
  del argv
  with tempfile.TemporaryDirectory() as folder:
    weights = FLAGS.weights or random_weights(folder, FLAGS.preset)
    settings = {'weights': str(weights), 'threads': FLAGS.threads}
    sides = [
      worker.Worker(f'launch.benchmarks.parts.writes_{name}', settings)
      for name in ('ours', 'peer')
    ]
    found = (compared(sides, int(size)) for size in FLAGS.batches)
    rows.collect(found, FLAGS.json)
    for side in sides:
      side.close()


def random_weights(folder: str, preset: str) -> pathlib.Path:
  """Writes a LLaMA of random weights as a folder that both sides read.

  Args:
    folder: where.
    preset: key of its PRESETS.
  """
  model = models.build('llama', preset, kind='causal_lm')
  batch = models.example_batch(model)
  params = jax.jit(model.init)(jax.random.key(0), batch)['params']
  huggingface.save_hf(folder, model, params)
  return pathlib.Path(folder)


def compared(sides: list[worker.Worker], size: int) -> rows.Row:
  """Returns the row of one batch size.

  Args:
    sides: ours and the peer.
    size: rows of the batch.
  """
  shape = dict(rows=size, prompt=FLAGS.prompt, tokens=FLAGS.tokens)
  turns = [
    [side('write', **shape) for side in sides] for _ in range(FLAGS.turns + 1)
  ]
  # The first turn compiles, and fills caches.
  ours, peer = (
    size * FLAGS.tokens / statistics.median(seconds)
    for seconds in zip(*turns[1:])
  )
  return {
    'name': f'greedy_b{size}',
    'ours': ours,
    'peer': peer,
    'ratio': ours / peer,
    'unit': 'tokens/s',
    'better': 'higher is better',
    'prompt': FLAGS.prompt,
    'tokens': FLAGS.tokens,
    'turns': FLAGS.turns,
    'device': sides[0]('device'),
    'peer_device': sides[1]('device'),
  }
