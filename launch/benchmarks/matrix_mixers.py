"""Eight matrix mixers side by side, as in Hydra's controlled study.

  python -m launch.benchmark matrix_mixers --corpus=DIR --workdir=FOLDER

Masked language models that differ in the matrix only, with equal steps, batches
and seeds and with widths for which the numbers of parameters are as equal as
whole heads allow. Each mixer has the rate at which its first seed ends best
after --rate_steps steps. DIR has train/ and valid/ with plain text files. Runs
of FOLDER go on where they were stopped. Rows, also in FOLDER/rows.json:
{"mixer", "seeds", "rate", "loss", "below", "std", "parameters", ...}; the loss
is that of the masked tokens of valid/, `below` how much less it is than the
cross-entropy of valid/ under the frequencies of train/.
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
from glue_jax.training import begin, runs, schema
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
  flags.DEFINE_list('rates', ['1e-3', '3e-3', '1e-2'], 'Learning rates.')
  flags.DEFINE_integer('rate_steps', 1000, 'Updates that a rate is tried for.')
  flags.DEFINE_integer('steps', 10_000, 'Updates.')
  flags.DEFINE_integer('length', 128, 'Tokens of a row.')
  flags.DEFINE_integer('batch', 16, 'Rows.')
  flags.DEFINE_integer('layers', 4, 'Blocks.')
  flags.DEFINE_integer('hidden', 128, 'Width of the quasiseparable.')


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
  seeds = [int(seed) for seed in FLAGS.seeds]
  plateau = None
  for mixer in FLAGS.mixers:
    width = _width(mixer, target)
    plateau = plateau or _unigram(_settings(mixer, width, '1', 1, 0))
    rate = _rate(mixer, width, seeds[0])
    losses = [_loss(mixer, width, rate, FLAGS.steps, seed) for seed in seeds]
    spread = statistics.stdev(losses) if len(losses) > 1 else None
    yield {
      'mixer': mixer,
      'loss': round(statistics.mean(losses), 4),
      'std': spread and round(spread, 4),
      'losses': [round(loss, 4) for loss in losses],
      'below': round(plateau - statistics.mean(losses), 4),
      'unigram': round(plateau, 4),
      'rate': float(rate),
      'parameters': _parameters(mixer, width),
      'hidden_size': width,
      'seeds': len(losses),
      'steps': FLAGS.steps,
    }


def model_options(
  mixer: str, width: int, length: int, layers: int
) -> dict[str, Any]:
  """Arguments of `model.build`: encoders that differ in the matrix only."""
  matrix = dict(
    matrix=mixer,
    data_dependent=mixer != 'dense',
    head_dim=HEAD_DIM,
    qk_dim=QK_DIM,
    max_length=length,
  )
  return dict(
    name='hydra',
    preset='tiny',
    mixer='matrix_mixer',
    num_layers=layers,
    hidden_size=width,
    max_positions=length if mixer in WITH_POSITIONS else 0,
    dropout=0.0,
    options={'matrix_mixer': matrix},
  )


def _parameters(mixer: str, width: int) -> int:
  options = model_options(mixer, width, FLAGS.length, FLAGS.layers)
  model = models.build(kind='mlm', vocab_size=VOCABULARY, **options)
  return sum(int(np.prod(y.shape)) for y in models.shapes(model).values())


def _width(mixer: str, target: int) -> int:
  """The width, in whole heads, whose number of parameters is nearest."""
  step = HEAD_DIM // 2  # a block is twice as wide inside
  widths = range(step, 4 * FLAGS.hidden, step)
  return min(widths, key=lambda w: abs(_parameters(mixer, w) - target))


def _rate(mixer: str, width: int, seed: int) -> str:
  """The rate of least loss after a few steps; the only one if there is one."""
  if len(FLAGS.rates) == 1:
    return FLAGS.rates[0]
  return min(
    FLAGS.rates, key=lambda r: _loss(mixer, width, r, FLAGS.rate_steps, seed)
  )


def _settings(
  mixer: str, width: int, rate: str, steps: int, seed: int
) -> dict[str, Any]:
  """The config of one run."""
  return dict(
    **corpus.sections(FLAGS.corpus, VOCABULARY, FLAGS.length, FLAGS.batch),
    model=model_options(mixer, width, FLAGS.length, FLAGS.layers),
    optimizer=dict(
      lr=float(rate), warmup=0.06, final=0.02, weight_decay=0.01,
      args=dict(b1=0.9, b2=0.98, eps=1e-6),
    ),
    train=dict(
      steps=steps, eval_every=steps, log_every=100,
      save_every=min(500, steps),
    ),
    seeds=(seed,),
  )  # fmt: skip


def _loss(mixer: str, width: int, rate: str, steps: int, seed: int) -> float:
  """Trains one model, or goes on; returns the loss on valid/."""
  settings = _settings(mixer, width, rate, steps, seed)
  folder = pathlib.Path(FLAGS.workdir) / f'{mixer}_{rate}_{steps}_{seed}'
  result = runs.run(config.complete(settings), folder)
  loss = float(result['metrics']['validation']['loss'])
  print(f'{folder.name}: {loss:.4f}', flush=True)
  # A run that diverged is the worst, not the first.
  return loss if np.isfinite(loss) else float('inf')


def _unigram(settings: dict[str, Any]) -> float:
  """Nats a token of valid/ under the frequencies of train/, one added to each.

  Args:
    settings: of a run, whose rows are read.
  """
  bundle = begin.build(schema.bind(config.complete(settings), 1), 0).bundle
  tokens = bundle.tokenizer
  special = tokens.cls_id, tokens.sep_id, tokens.pad_id

  def counts(batches):
    total = np.zeros(tokens.vocab_size)
    for batch in batches:
      ids = batch['input_ids']
      total += np.bincount(ids.ravel(), minlength=tokens.vocab_size)
    total[list(special)] = 0
    return total

  seen = counts(bundle.train.once())
  asked = counts(bundle.evals['validation'])
  share = (seen + 1) / (seen + 1).sum()
  return float(-(asked * np.log(share)).sum() / asked.sum())
