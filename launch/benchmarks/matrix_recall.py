"""Recall of what stands 16 tokens away or more, by eight matrix mixers.

  python -m launch.benchmark matrix_recall --output=FOLDER

Rows of 56 tokens: eight keys in an order that is drawn, each followed by one of
eight values, four pairs at either end; in the middle the keys once more, in
another order, where their values are to be told; 16 fillers between. So a value
is 17 to 31 tokens away, out of the convolutions' reach, before or after. Two
blocks of width 64 of the mixers of `matrix_mixers`, Adam, batches of 32, rows
drawn anew at every step; scored on new rows. Chance is 0.125, and about 0.3 for
whoever knows the values of a row but not whose they are.

Each mixer has the rate (of --rates) that is best for the first seed. Cells (a
mixer, a rate, a seed) that cells.json has are not run again: the same command
goes on. Rows, in rows.json: {"mixer", "rate", "accuracy", "before", "after",
"std", ...}.
"""

import functools
import json
import pathlib
import statistics
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import app, flags

from glue_jax.layers.mixers import matrices
from glue_jax.models import model as models
from glue_jax.reporting import files
from launch.benchmarks import matrix_mixers
from launch.benchmarks.parts import rows

FLAGS = flags.FLAGS
KEYS, VALUES, FILLERS, APART = 8, 8, 8, 16
FIRST_VALUE = FILLERS + KEYS
# Pairs at one end; where keys are asked for.
ONE_END = KEYS
ASKED = slice(ONE_END + APART, ONE_END + APART + KEYS)
LENGTH = ASKED.stop + APART + ONE_END
LAYERS, WIDTH, BATCH, TEST = 2, 64, 32, 4096


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  flags.DEFINE_string('output', None, 'Folder of cells.json, rows.json.')
  flags.DEFINE_list('mixers', list(matrices.MATRICES), 'Which.')
  flags.DEFINE_list('rates', ['1e-3', '3e-3', '1e-2'], 'Learning rates.')
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'One run for each.')
  flags.DEFINE_integer('steps', 1000, 'Updates.')


def main(argv: list[str]) -> None:
  """Runs the cells that are missing, prints the rows."""
  del argv
  if not FLAGS.output:
    raise app.UsageError('--output is needed')
  unknown = sorted(set(FLAGS.mixers) - set(matrices.MATRICES))
  if unknown:
    raise app.UsageError(
      f'no mixers {unknown}; there are {[*matrices.MATRICES]}'
    )
  folder = pathlib.Path(FLAGS.output)
  folder.mkdir(parents=True, exist_ok=True)
  rows.collect(table(folder / 'cells.json'), folder / 'rows.json')


def table(path: pathlib.Path) -> Iterator[dict[str, Any]]:
  """Rows of the table; cells that the file lacks are run and written to it."""
  cells = json.loads(path.read_text()) if path.is_file() else {}

  def cell(mixer, rate, seed):
    name = f'{mixer} {rate} {FLAGS.steps} {seed}'
    if name not in cells:
      scores = recall(mixer, float(rate), int(seed), FLAGS.steps)
      cells[name] = [float(score) for score in scores]
      files.replace_text(path, json.dumps(cells, indent=1) + '\n')
      print(name, *(f'{score:.3f}' for score in cells[name]), flush=True)
    return cells[name]

  for mixer in FLAGS.mixers:
    first = FLAGS.seeds[0]
    rate = max(FLAGS.rates, key=lambda r: sum(cell(mixer, r, first)))
    scores = [cell(mixer, rate, seed) for seed in FLAGS.seeds]
    both = [statistics.mean(score) for score in scores]
    before, after = (statistics.mean(side) for side in zip(*scores))
    yield {
      'mixer': mixer,
      'accuracy': round(statistics.mean(both), 4),
      'std': round(statistics.stdev(both), 4) if len(both) > 1 else None,
      'accuracies': [round(score, 4) for score in both],
      'before': round(before, 4),
      'after': round(after, 4),
      'rate': float(rate),
      'steps': FLAGS.steps,
    }


def build(mixer: str) -> models.Model:
  """Two blocks with a mixer, under a classifier of tokens."""
  options = matrix_mixers.model_options(
    mixer, WIDTH, length=LENGTH, layers=LAYERS
  )
  return models.build(
    kind='token_classification', num_outputs=VALUES, init_range=0.12,
    vocab_size=FIRST_VALUE + VALUES, pad_id=FIRST_VALUE + VALUES, **options,
  )  # fmt: skip


def sample(key: jax.Array, count: int) -> tuple[jax.Array, ...]:
  """Draws rows.

  Args:
    key: typed.
    count: B.

  Returns:
    ids (B, LENGTH), the values asked for (B, KEYS), and whether they stand
    before the place where they are asked for (B, KEYS).
  """
  of_fillers, of_values, of_pairs, of_order = jax.random.split(key, 4)

  def orders(key):
    keys = jnp.tile(jnp.arange(KEYS), (count, 1))
    return jax.random.permutation(key, keys, axis=1, independent=True)

  keys, asked = orders(of_pairs), orders(of_order)
  values = jax.random.randint(of_values, (count, KEYS), 0, VALUES)
  pairs = jnp.stack([FILLERS + keys, FIRST_VALUE + values], axis=-1)
  ends = pairs.reshape(count, 2, ONE_END)
  ids = jax.random.randint(of_fillers, (count, LENGTH), 0, FILLERS)
  ids = ids.at[:, :ONE_END].set(ends[:, 0]).at[:, -ONE_END:].set(ends[:, 1])
  ids = ids.at[:, ASKED].set(FILLERS + jnp.take_along_axis(keys, asked, 1))
  return ids, jnp.take_along_axis(values, asked, 1), asked < KEYS // 2


@functools.partial(jax.jit, static_argnums=(0, 3))
def recall(
  mixer: str, rate: float, seed: int, steps: int
) -> tuple[jax.Array, jax.Array]:
  """Trains one mixer; accuracies for pairs before and after the query."""
  model = build(mixer)
  init, learn, test = jax.random.split(jax.random.key(seed), 3)

  def logits(params, ids):
    batch = {'input_ids': ids, 'attention_mask': jnp.ones_like(ids)}
    return model.apply({'params': params}, batch)['logits'][:, ASKED]

  def loss(params, key):
    ids, value, _ = sample(key, BATCH)
    return optax.softmax_cross_entropy_with_integer_labels(
      logits(params, ids), value
    ).mean()

  def schedule(step):  # a tenth of warm-up, then linearly to zero
    share = step / steps
    return rate * jnp.minimum(10 * share, (1 - share) / 0.9)

  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

  def step(carry, key):
    params, state = carry
    updates, state = optimizer.update(jax.grad(loss)(params, key), state)
    return (optax.apply_updates(params, updates), state), None

  params = model.init(init, {'input_ids': sample(init, 2)[0]})['params']
  (params, _), _ = jax.lax.scan(
    step, (params, optimizer.init(params)), jax.random.split(learn, steps)
  )
  ids, value, before = sample(test, TEST)
  right = logits(params, ids).argmax(-1) == value

  def share(where):
    return (right & where).sum() / where.sum()

  return share(before), share(~before)
