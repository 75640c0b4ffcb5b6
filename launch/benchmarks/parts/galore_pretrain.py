"""Masked language models from scratch by four optimizers; see galore.py."""

import pathlib
import statistics
from collections.abc import Iterator
from typing import Any

from absl import app, flags

from glue_jax.config import config
from glue_jax.layers import paths
from glue_jax.reporting import files, plots
from glue_jax.training import runs
from launch.benchmarks.parts import corpus

FLAGS = flags.FLAGS
ARMS = ('adamw', 'galore', 'natural_galore', 'lora')
# The papers' LoRA arm, too, trains whatever isn't a linear layer of a block.
OTHER_LEAVES = (paths.STACK + '/embeddings/.*', paths.of('ln_.*'), '.*/bias')


def define_flags() -> None:
  """The flags of the part `pretrain`."""
  flags.DEFINE_string('corpus', None, 'pretrain: has train/ and valid/.')
  flags.DEFINE_string('workdir', None, 'pretrain: the runs and curves.png.')
  flags.DEFINE_list('arms', list(ARMS), 'pretrain: which.')
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'pretrain: one run for each.')
  flags.DEFINE_list(
    'rates', ['1e-3', '3e-3', '1e-2'], 'pretrain: learning rates to try.'
  )
  flags.DEFINE_integer('steps', 1000, 'pretrain: updates.')
  flags.DEFINE_integer('layers', 4, 'pretrain: blocks.')
  flags.DEFINE_integer('hidden', 128, 'pretrain: width; heads of 32.')
  flags.DEFINE_float(
    'damping', 0.1, 'pretrain: of Natural GaLore, relative to the gradients.'
  )


def rows() -> Iterator[dict[str, Any]]:
  """Rows of the arms, with their curves drawn at the end."""
  if not FLAGS.corpus or not FLAGS.workdir:
    raise app.UsageError(
      '--part=pretrain needs --corpus=DIR, with train/ and valid/, and '
      '--workdir=DIR'
    )
  unknown = sorted(set(FLAGS.arms) - set(ARMS))
  if unknown:
    raise app.UsageError(f'no arms {unknown}; there are {ARMS}')
  curves = {}
  first, *others = (int(seed) for seed in FLAGS.seeds)
  for arm in FLAGS.arms:
    tried = {rate: curve(arm, rate, first) for rate in FLAGS.rates}
    rate = min(tried, key=lambda rate: final(tried[rate]))
    seed_curves = [tried[rate], *(curve(arm, rate, seed) for seed in others)]
    curves[f'{arm}, lr {rate}'] = seed_curves
    losses = [final(values) for values in seed_curves]
    spread = statistics.stdev(losses) if len(losses) > 1 else None
    yield {
      'arm': arm,
      'lr': rate,
      'loss': round(statistics.mean(losses), 4),
      'std': spread and round(spread, 4),
      'losses': [round(loss, 4) for loss in losses],
      'tried': {rate: round(final(x), 4) for rate, x in tried.items()},
      'steps': FLAGS.steps,
      'rank': None if arm == 'adamw' else FLAGS.rank,
    }
  draw(curves, pathlib.Path(FLAGS.workdir) / 'curves.png')


def curve(arm: str, rate: str, seed: int) -> dict[int, float]:
  """Trains one model, or reads what was trained; {step: loss on valid/}."""
  folder = pathlib.Path(FLAGS.workdir) / f'{arm}_{rate}' / f'seed_{seed}'
  runs.run(config.complete(settings(arm, float(rate), seed)), folder)
  lines = files.read_lines(folder / 'metrics.jsonl')
  key = 'validation/loss'
  return {line['step']: line[key] for line in lines if key in line}


def final(values: dict[int, float]) -> float:
  """The loss after the last step; infinite where a run left the numbers."""
  loss = values[max(values)]
  return float('inf') if loss is None else loss


def settings(arm: str, rate: float, seed: int) -> dict[str, Any]:
  """The config of one run."""
  optimizer = dict(
    name='adamw' if arm == 'lora' else arm, lr=rate, schedule='cosine',
    warmup=0.1, final=0.1, weight_decay=0.0, args=dict(eps=1e-6),
  )  # fmt: skip
  methods = ()
  if arm == 'lora':
    layers = ('query', 'key', 'value', 'attn_out', 'ffn_in', 'ffn_out')
    lora = dict(
      rank=FLAGS.rank, alpha=2.0 * FLAGS.rank, targets=layers,
      also=OTHER_LEAVES,
    )  # fmt: skip
    methods = (('lora', lora),)
  elif arm != 'adamw':
    optimizer['args'] |= dict(
      rank=FLAGS.rank, update_proj_gap=FLAGS.gap, scale=0.25
    )
  if arm == 'natural_galore':
    optimizer['args'] |= dict(damping=FLAGS.damping, relative_damping=True)
  return dict(
    **corpus.sections(FLAGS.corpus, 4000, FLAGS.length, FLAGS.batch),
    model=dict(
      name='bert', preset='tiny', num_layers=FLAGS.layers,
      hidden_size=FLAGS.hidden, num_heads=max(1, FLAGS.hidden // 32),
      intermediate_size=4 * FLAGS.hidden, max_positions=FLAGS.length,
      dropout=0.0,
    ),
    methods=methods,
    optimizer=optimizer,
    train=dict(
      steps=FLAGS.steps, eval_every=max(1, FLAGS.steps // 10), log_every=50,
      nonfinite='skip',
    ),
    seeds=(seed,),
  )  # fmt: skip


def draw(curves: dict[str, list[dict[int, float]]], png: pathlib.Path) -> None:
  """Draws each arm's mean over the seeds, and their range."""
  figure, (axis,) = plots.new_figure(1, 1, (6.4, 4.2))
  for name, seed_curves in curves.items():
    steps = sorted(seed_curves[0])
    values = [[run[step] for run in seed_curves] for step in steps]
    (line,) = axis.plot(steps, [statistics.mean(v) for v in values], label=name)
    low, high = [min(v) for v in values], [max(v) for v in values]
    axis.fill_between(steps, low, high, color=line.get_color(), alpha=0.2)
  axis.set_xlabel('step')
  axis.set_ylabel('loss on held-out text, nats a token')
  axis.legend(frameon=False, fontsize=8)
  note = f'mean and range of {len(FLAGS.seeds)} seeds, equal steps'
  plots.save_figure(figure, png, 'Masked language modelling', note)
