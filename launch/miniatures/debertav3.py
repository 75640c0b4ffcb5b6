"""DeBERTaV3's tables: disentangled, the discriminator can't pull at E_G.

A language of 200 words in 10 classes, each class followed by one other one,
rows of 22 words. configs/pretrain/debertav3.py at a small size by the usual
loop: width 32, a generator of 1 layer beside a discriminator of 2, AdamW 1e-3
without decay of rate or weights, batch 32, 400 steps, weight 50; the three ways
to share the tables from the same seeds, batches and masks.

Required for every seed: the gradient of the discriminator's loss for E_G is
exactly 0 before each step under gdes, and above 0 before each under es; the
generator's loss on the step's rows is under gdes what it is under nes, to 1e-6
at every step, and under es it has departed by more than 1e-3 at the 50th. Shown
beside: the discriminator's balanced accuracy on new lines, and the mean cosine
between two words of E_G and of E_D before the last step. Nothing is published
for either at this size.

With --workdir a run that was stopped goes on, and one that has ended is read.
"""

import itertools
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from configs.pretrain import debertav3
from glue_jax import tree
from glue_jax.config import config as config_lib
from glue_jax.method import Hook, Host
from glue_jax.objectives import rtd_shared
from glue_jax.reporting.files import replace_text
from glue_jax.training import runs
from launch.miniatures.parts import chain, seeded, verdict

FLAGS = flags.FLAGS
CLASSES, IN_CLASS, WORDS, LENGTH, BATCH = 10, 20, 22, 24, 32
VALID_LINES, DEPARTED = 256, 50
WORD = 'encoder/embeddings/word/embedding'
LETTERS = 'bcdfghjklmnpqrstvwxz', 'aeiou'
# A syllable each, so that one token each is what the tokenizer learns.
NAMES = [
  a + b
  for pair in (LETTERS, LETTERS[::-1])
  for a, b in itertools.product(*pair)
]


def define_flags() -> None:
  """The flags of this miniature."""
  seeded.define_flags(3, 400, DEPARTED + 2)


def main(argv: list[str]) -> bool:
  """Prints the table; returns whether the required figures were reached."""
  del argv
  with seeded.workdir() as folder:
    return compared(folder)


def compared(folder: pathlib.Path) -> bool:
  """Trains, prints and judges.

  Args:
    folder: of texts and runs.
  """
  bounds = []
  for seed in range(FLAGS.seeds):
    write(folder / f'text_{seed}', FLAGS.steps * BATCH, seed)
    found = {way: trained(folder, way, seed) for way in rtd_shared.SHARINGS}
    for way, one in found.items():
      print(
        f'seed {seed} {way}: balanced accuracy {one["balanced"]:.3f}, '
        f'cosine of E_G {one["E_G"]:.3f}, of E_D {one["E_D"]:.3f}'
      )
    bounds += required(seed, found)
  return verdict.say(*bounds)


def required(seed: int, found: dict[str, dict]) -> list[verdict.Bound]:
  """The bounds of one seed.

  Args:
    seed: of the runs.
    found: {way to share: what `trained` returns}.
  """
  pulls = {way: np.array(one['pull']) for way, one in found.items()}
  losses = {way: np.array(one['mlm']) for way, one in found.items()}
  apart = {way: np.abs(losses[way] - losses['nes']) for way in losses}
  where = f'seed {seed}, '
  return [
    verdict.Bound(f'{where}most pull, gdes', pulls['gdes'].max(), '<=', 0),
    verdict.Bound(f'{where}least pull, es', pulls['es'].min(), '>', 0),
    verdict.Bound(f'{where}gdes off nes', apart['gdes'].max(), '<=', 1e-6),
    verdict.Bound(
      f'{where}es off nes, step {DEPARTED}', apart['es'][DEPARTED], '>', 1e-3
    ),
  ]


def write(folder: pathlib.Path, count: int, seed: int) -> None:
  """Writes train/ and valid/ of a corpus."""
  for split, rows, own in (('train', count, 0), ('valid', VALID_LINES, 1)):
    rng = np.random.default_rng([seed, own])
    after = np.random.default_rng(seed).permutation(CLASSES)
    kind = rng.integers(0, CLASSES, rows)
    columns = []
    for _ in range(WORDS):
      columns.append(kind * IN_CLASS + rng.integers(0, IN_CLASS, rows))
      kind = after[kind]
    lines = [' '.join(NAMES[i] for i in row) for row in np.stack(columns, 1)]
    chain.write(folder, {split: lines})


def trained(folder: pathlib.Path, way: str, seed: int) -> dict[str, Any]:
  """Runs one arm with one seed; returns what `watch` saw, and its scores."""
  text, workdir = folder / f'text_{seed}', folder / f'{way}_{seed}'
  seen = folder / f'{way}_{seed}.json'
  first = dict(debertav3.get_config('rte,xsmall').stages)['pretrain']
  options = {
    'disentangled': dict(buckets=8, span=LENGTH),
    'relative_table': dict(rows=16),
  }
  changes = dict(
    data=chain.section(text, LENGTH, BATCH, 300),
    model=dict(
      num_layers=2, hidden_size=32, num_heads=2, intermediate_size=64,
      max_positions=LENGTH, dropout=0.0, attention_dropout=0.0,
      options=options, dtype='float32', remat=False,
    ),
    objective=dict(sharing=way),
    optimizer=dict(lr=1e-3, schedule='constant', warmup=0, weight_decay=0.0),
    train=dict(steps=FLAGS.steps, eval_every=FLAGS.steps, log_every=100),
    hooks=(
      (f'{__name__}:watch', dict(sharing=way, path=str(seen))),
    ),
    seeds=(seed,),
  )  # fmt: skip
  result = runs.run(config_lib.override(first, changes), workdir)
  scores = result['metrics']['validation']
  balanced = (scores['sensitivity'] + scores['specificity']) / 2
  return json.loads(seen.read_text()) | {'balanced': balanced}


def watch(*, sharing: str, path: str) -> Hook:
  """Returns the hook that measures before each step.

  Args:
    sharing: of the run's objective.
    path: file for what was seen, written before the last step.
  """

  def before_step(host: Host) -> None:
    seen = host.memory.setdefault('watched', {'pull': [], 'mlm': []})
    measure = host.program('watched', _measure(sharing, host.tokenizer))
    leaves = host.state.all_params()
    batch = host.train_data.batch(host.step)
    found = measure(batch, leaves, host.key())
    for name in ('pull', 'mlm'):
      seen[name].append(float(found[name][0]))
    if host.step == host.total_steps - 1:
      last = {name: float(found[name][0]) for name in ('E_G', 'E_D')}
      replace_text(path, json.dumps(seen | last))

  return Hook(before_step=before_step)


def _measure(sharing: str, tokenizer: Any):
  """(apply, params, batch, leaves, key) -> rows of the same figures."""

  def measure(apply, params, batch, leaves, key):
    draws = rtd_shared.drawn(tokenizer.mask_id, 0.15, 1.0)
    phases = rtd_shared.built(draws, sharing, 1.0, True).phases
    join = rtd_shared.joining(apply.companions['generator'].model, sharing)
    mlm, _, carry = phases['generator'].loss(apply, params, batch, key)

    def verdicts(leaves):
      whole = join.reparam(leaves, 0, None)
      return phases['discriminator'].loss(apply, whole, batch | carry, key)[0]

    pulled = tree.flatten(jax.grad(verdicts)(leaves))
    own = WORD if sharing == 'es' else f'generator/{WORD}'
    flat = tree.flatten(params)
    found = {
      'pull': jnp.linalg.norm(pulled[own]),
      'mlm': mlm,
      'E_G': _cosine(flat[f'generator/{WORD}']),
      'E_D': _cosine(flat[WORD]),
    }
    rows = len(batch['weight'])
    return {name: jnp.broadcast_to(x, (rows,)) for name, x in found.items()}

  return measure


def _cosine(table: jax.Array) -> jax.Array:
  """Mean cosine between the vectors of two different tokens; no padding."""
  own = table[1:] / jnp.linalg.norm(table[1:], axis=-1, keepdims=True)
  count = len(own)
  return ((own.sum(0) ** 2).sum() - count) / (count * (count - 1))
