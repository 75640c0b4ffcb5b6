"""Masked language modelling against the entropy that no model can go below.

Lines of 32 words of a Markov chain, written to files: 100 words, each with 4
successors of Dirichlet(1) weights. The recipe configs/pretrain/mlm.py at a
small size, trained by the usual loop: BERT of 2 layers of width 64, single
tokens, all of them [MASK], AdamW 2e-3 with a decay of 1e-4, 50 steps of warm-up
and linear decay, batch 32, 1200 steps, from weights of N(0, 0.1^2). Scored on
new lines in which the 17th word alone is masked. Required for every seed: a
loss at most 0.35 nats above the exact H(x_t | x_t-1, x_t+1).

Then configs/pretrain/electra.py on the same text, one seed, without clipping.
The better its generator, the less can be told: samples of a perfect one are
distributed as the originals, so that there is no bound to come near to.
Required on lines that it has not seen: a discriminator that is no worse than
one that knows the share of replaced tokens alone, a generator at 2.5 nats or
less (uniform: 4.61), and no leaf of it in the finished model. No figure is
published for text like this.

With --workdir a run that was stopped goes on, and one that has ended is read.
"""

import json
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
from absl import flags

from configs.pretrain import electra
from configs.pretrain import mlm as recipe
from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.data import tokenizing
from glue_jax.objectives import mlm
from glue_jax.training import runs
from glue_jax.weights import saved_model
from launch.miniatures.parts import chain, seeded, verdict

FLAGS = flags.FLAGS
WORDS, SUCCESSORS = 100, 4
# Words of a line; the one that is asked for; the line's tokens.
LINE, PLACE, LENGTH = 32, 16, 34
BATCH, WARMUP, VALID_LINES, TEST_LINES = 32, 50, 512, 4096
# Single tokens, each of which becomes [MASK]; plain AdamW.
PLAIN = dict(
  objective=dict(whole_word=False, mask_share=1.0, random_share=0.0),
  optimizer=dict(weight_decay=1e-4, clip_norm=None),
)


def define_flags() -> None:
  """The flags of this miniature."""
  seeded.define_flags(2, 1200, WARMUP + 1)


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
  words = chain.transitions(0, WORDS, SUCCESSORS)
  bound = chain.entropy(words, PLACE)
  for seed in range(FLAGS.seeds):
    write(folder / f'text_{seed}', words, steps, seed)
  losses = [masked(folder, words, steps, seed) for seed in range(FLAGS.seeds)]
  print(f'bound {bound:.3f}, uniform {np.log(WORDS):.2f}, held-out loss',
        *(f'{loss:.3f}' for loss in losses))  # fmt: skip
  found = replaced(folder, steps)
  share = found['replaced']
  known = -share * np.log(share) - (1 - share) * np.log(1 - share)
  print(f'electra: {share:.3f} of the tokens replaced, entropy {known:.3f}, '
        f'discriminator {found["loss"]:.3f}, '
        f'generator {found["generator_loss"]:.3f}')  # fmt: skip
  # A loss below the bound would be a leak of the masked word.
  above = [loss + 1e-3 - bound for loss in losses]
  return verdict.say(
    verdict.Bound('least nats above the bound', np.min(above), '>=', 0),
    verdict.Bound('most nats above the bound', np.max(above), '<=', 0.35),
    verdict.Bound(
      'of the entropy of the share', found['loss'] / known, '<=', 1
    ),
    verdict.Bound('nats of the generator', found['generator_loss'], '<=', 2.5),
    verdict.Bound('leaves of the generator', found['left'], '<=', 0),
  )


def write(
  folder: pathlib.Path, words: np.ndarray, steps: int, seed: int
) -> None:
  """Writes the lines that a run of so many steps reads, each once."""
  splits = (('train', steps * BATCH), ('valid', VALID_LINES))
  texts = {
    split: chain.lines(words, rows, LINE, 10 * seed + i)
    for i, (split, rows) in enumerate(splits)
  }
  chain.write(folder, texts)


def small(first: Any, text: pathlib.Path, steps: int, seed: int) -> Any:
  """A recipe's first stage at the miniature's size."""
  changes = dict(
    data=chain.section(text, LENGTH, BATCH),
    model=dict(
      preset='tiny',
      num_heads=4,
      intermediate_size=128,
      max_positions=LENGTH,
      dropout=0.0,
      attention_dropout=0.0,
      init_range=0.1,
      dtype='float32',
    ),
    optimizer=dict(lr=2e-3, warmup=WARMUP),
    train=dict(steps=steps, eval_every=steps, log_every=100),
    seeds=(seed,),
  )
  return config_lib.override(first, changes)


def masked(
  folder: pathlib.Path, words: np.ndarray, steps: int, seed: int
) -> float:
  """Trains on masked words; returns the mean loss of the word asked for."""
  first = dict(recipe.get_config('rte').stages)['pretrain']
  config = small(first, folder / f'text_{seed}', steps, seed)
  config = config_lib.override(config, PLAIN)
  workdir = folder / f'mlm_{seed}'
  runs.run(config, workdir)
  module, params = saved_model.load(workdir)
  batch = one_masked(workdir, words, seed)
  return score(module.apply({'params': params}, batch)['logits'], batch)


def one_masked(
  workdir: pathlib.Path, words: np.ndarray, seed: int
) -> dict[str, Any]:
  """Returns new lines whose word at PLACE is asked for, as a batch.

  Args:
    workdir: of the run whose tokenizer is taken.
    words: the chain.
    seed: of the run.
  """
  tokenizer = tokenizing.get_tokenizer(saved_model.find(workdir))
  encoded = tokenizer.encode(
    chain.lines(words, TEST_LINES, LINE, 10 * seed + 2), max_length=LENGTH + 1
  )
  ids = encoded.ids.reshape(TEST_LINES, LENGTH)  # fails if a word was cut
  at = PLACE + 1  # behind [CLS]
  return {
    'input_ids': jnp.asarray(ids).at[:, at].set(tokenizer.mask_id),
    'attention_mask': jnp.ones_like(ids),
    'positions': jnp.full((TEST_LINES, 1), at),
    'labels': jnp.asarray(ids[:, at : at + 1]),
    'weight': jnp.ones(TEST_LINES),
  }


def score(logits: Any, batch: dict[str, Any]) -> float:
  """Returns the mean loss of the words asked for, in nats."""
  losses, _, count = mlm.score(logits, batch)
  return float(losses.sum() / count.sum())


def replaced(folder: pathlib.Path, steps: int) -> dict[str, float]:
  """Trains ELECTRA; returns what its last evaluation and its folder say."""
  first = dict(electra.get_config('rte').stages)['pretrain']
  config = small(first, folder / 'text_0', steps, 0)
  # A generator of width 32 beside the discriminator's 64, on tables of 64.
  changes = dict(
    objective=dict(generator_size=0.5),
    optimizer=dict(clip_norm=None),
    model=dict(embedding_size=64),
  )
  config = config_lib.override(config, changes)
  workdir = folder / 'electra'
  runs.run(config, workdir)
  result = json.loads((workdir / 'result.json').read_text())
  _, params = saved_model.load(workdir)
  left = [n for n in tree.flatten(params) if n.startswith('generator')]
  return result['metrics']['validation'] | {'left': len(left)}
