"""Eight matrix mixers side by side, as in Hydra's controlled study.

  python -m launch.benchmark matrix_mixers --corpus=DIR --workdir=FOLDER

Masked language models that differ in the matrix only, with equal steps, batches
and seeds and with widths for which the numbers of parameters are as equal as
whole heads allow. DIR has train/ and valid/ with plain text files. Finished
runs of FOLDER aren't run again. Rows, also in FOLDER/rows.json: {"mixer",
"seeds", "loss", "std", "parameters", "hidden_size", ...}; the loss is that of
the masked tokens of valid/.
"""

import pathlib
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import app, flags

from glue_jax.config import config
from glue_jax.layers.mixers import matrices
from glue_jax.models import model as models
from glue_jax.training import runs
from launch.benchmarks.parts import corpus, rows

FLAGS = flags.FLAGS
# The controlled study: these see no position otherwise.
WITH_POSITIONS = ('attention', 'cauchy', 'low_rank', 'vandermonde')
HEAD_DIM, QK_DIM, VOCABULARY = 16, 8, 2000


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  flags.DEFINE_string('corpus', None, 'Folder with train/ and valid/.')
  flags.DEFINE_string('workdir', None, 'Folder of the runs.')
  flags.DEFINE_list('mixers', list(matrices.MATRICES), 'Which.')
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'One run for each.')
  flags.DEFINE_integer('steps', 300, 'Updates.')
  flags.DEFINE_integer('length', 64, 'Tokens of a row.')
  flags.DEFINE_integer('batch', 16, 'Rows.')
  flags.DEFINE_integer('layers', 2, 'Blocks.')
  flags.DEFINE_integer('hidden', 64, 'Width of the quasiseparable.')


def main(argv: list[str]) -> None:
  """Trains what is missing, prints the rows."""
  del argv
  if not FLAGS.corpus or not FLAGS.workdir:
    raise app.UsageError(
      '--corpus (with train/, valid/) and --workdir are needed'
    )
  rows.collect(mixers(), pathlib.Path(FLAGS.workdir) / 'rows.json')


def mixers() -> Iterator[dict[str, Any]]:
  """Rows of the mixer table."""
  unknown = sorted(set(FLAGS.mixers) - set(matrices.MATRICES))
  if unknown:
    raise app.UsageError(
      f'no mixers {unknown}; there are {[*matrices.MATRICES]}'
    )
  target = _parameters('quasiseparable', FLAGS.hidden)
  for mixer in FLAGS.mixers:
    width = _width(mixer, target)
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
    }


def model_options(mixer: str, width: int) -> dict[str, Any]:
  """Arguments of `model.build`: encoders that differ in the matrix only."""
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
  settings = dict(
    **corpus.sections(FLAGS.corpus, VOCABULARY, FLAGS.length, FLAGS.batch),
    model=model_options(mixer, width),
    optimizer=dict(
      lr=3e-3, warmup=0.06, final=0.02, weight_decay=0.01,
      args=dict(b1=0.9, b2=0.98, eps=1e-6),
    ),
    train=dict(steps=FLAGS.steps, eval_every=FLAGS.steps, log_every=100),
    seeds=(seed,),
  )  # fmt: skip
  folder = pathlib.Path(FLAGS.workdir) / f'{mixer}_{seed}'
  result = runs.run(config.complete(settings), folder)
  return float(result['metrics']['validation']['loss'])
