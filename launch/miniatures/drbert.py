"""A decoder of pre-training trains, and leaves BERT behind as it was.

The text and the sizes of the miniature pretraining-baselines (lines of 32 words
of a Markov chain, BERT of 2 layers of width 64, single tokens, all of them
[MASK]), its 1,200 steps, by the shipped recipe configs/pretrain/drbert.py: BERT
alone, and BERT with a decoder of two blocks, half of the chosen tokens seen by
the first, half of the outputs the encoder's. Scored on new lines in which the
17th word alone is masked: BERT, the whole model, and its encoder under the same
head, which is what is left of it.

Required of every seed: BERT and the whole model below 1 nat (uniform: 4.61), so
that the path through the decoder trains, and no leaf of the finished model that
isn't bit for bit the trained one's. After 1,000 steps the whole model was still
above. No gain over BERT is claimed: at this size there is none.

With --workdir a run that was stopped goes on, and one that has ended is read.
"""

import pathlib
from typing import Any

import jax
import numpy as np
from absl import flags

from configs.pretrain import drbert as recipe
from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.inference import open_run
from glue_jax.objectives import mlm_decoder
from glue_jax.training import runs
from glue_jax.weights import saved_model
from launch.miniatures import pretraining_baselines as baselines
from launch.miniatures.parts import chain, seeded, verdict

FLAGS = flags.FLAGS
LEAST = 60  # steps, so that there are some behind the warm-up


def define_flags() -> None:
  """The flags of this miniature."""
  seeded.define_flags(2, 1200, LEAST)


def main(argv: list[str]) -> bool:
  """Prints the table; returns whether the required figures were reached."""
  del argv
  with seeded.workdir() as folder:
    return compared(folder, FLAGS.steps)


def compared(folder: pathlib.Path, steps: int) -> bool:
  """Trains, prints and judges.

  Args:
    folder: of texts and runs.
    steps: updates of each run.
  """
  words = chain.transitions(0, baselines.WORDS, baselines.SUCCESSORS)
  worst, changed = 0.0, 0
  print('held-out loss of BERT, with its decoder, of the encoder left of that')
  for seed in range(FLAGS.seeds):
    text = folder / f'text_{seed}'
    baselines.write(text, words, steps, seed)
    bert = folder / f'bert_{seed}'
    runs.run(small('rte,bert', text, steps, seed), bert)
    alone, _ = left(bert, words, seed)
    workdir = folder / f'decoder_{seed}'
    config = small('rte', text, steps, seed)
    runs.run(config, workdir)
    whole, trained = with_decoder(workdir, config, words, seed)
    encoder, exported = left(workdir, words, seed)
    print(f'seed {seed}', *(f'{x:.3f}' for x in (alone, whole, encoder)))
    worst = max(worst, alone, whole)
    changed += sum(
      not np.array_equal(trained[name], x) for name, x in exported.items()
    )
  return verdict.say(
    verdict.Bound('most nats of BERT and of the whole model', worst, '<=', 1),
    verdict.Bound('leaves that the export has changed', changed, '<=', 0),
  )


def small(form: str, text: pathlib.Path, steps: int, seed: int) -> Any:
  """The recipe's first stage at the size of pretraining-baselines."""
  first = dict(recipe.get_config(form).stages)['pretrain']
  config = baselines.small(first, text, steps, seed)
  return config_lib.override(config, baselines.PLAIN)


def left(
  workdir: pathlib.Path, words: np.ndarray, seed: int
) -> tuple[float, dict[str, Any]]:
  """(loss, leaves) of a finished model as any user finds it."""
  module, params = saved_model.load(workdir)
  batch = baselines.one_masked(workdir, words, seed)
  logits = module.apply({'params': params}, batch)['logits']
  return baselines.score(logits, batch), tree.flatten(params)


def with_decoder(
  workdir: pathlib.Path, config: Any, words: np.ndarray, seed: int
) -> tuple[float, dict[str, Any]]:
  """(loss, leaves) of the last checkpoint, decoder included."""
  run = open_run.load_run(workdir)
  settings = config['objective']
  draws = mlm_decoder.Draws(
    settings['layers'], settings['first_visible'], settings['mix'], 'token'
  )
  batch = baselines.one_masked(workdir, words, seed)
  # As trained: what is exported from it has no decoder.
  params = run.host.state.all_params()
  logits = mlm_decoder.decoded(
    run.parts.apply, params, batch, jax.random.key(0), draws, False
  )
  return baselines.score(logits, batch), tree.flatten(params)
