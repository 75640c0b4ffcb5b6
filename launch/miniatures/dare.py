"""DARE on an MLP: dropping 90 % of the deltas costs little if rescaled.

An MLP 32-512-512-8 learns the labels of a random tanh teacher (400 Adam steps,
1e-3, batch 256), then twice, from there, those of that teacher plus a second
one (300 steps, 3e-4). Deltas are dropped at several rates; accuracy on 4000
fresh points, the mean of 3 masks.

Required at p = 0.9: DARE within 0.07 of the fine-tuned accuracy, and at least
0.15 above dropping without rescaling, on both tasks. The rates where it fails
are in the table, and the two models merged, where DARE promises nothing.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from glue_jax.merging import average, dare, stream
from launch.miniatures.parts import verdict

Activation = Callable[[jax.Array], jax.Array]
SIZES = (32, 512, 512, 8)
TEACHER = (32, 64, 8)
RATES = (0.1, 0.5, 0.7, 0.9, 0.95, 0.99)
MASKS = 3

Params = dict[str, jax.Array]


def define_flags() -> None:
  """Defines the flags of this miniature."""
  flags.DEFINE_integer('seed', 0, 'of teachers, data and training')


def init(rng: jax.Array, sizes: tuple[int, ...], scale: float = 1.0) -> Params:
  """Returns random weights; `scale` over the root of the width."""
  params = {}
  for i, (d_in, d_out) in enumerate(zip(sizes, sizes[1:])):
    kernel = jax.random.normal(jax.random.fold_in(rng, i), (d_in, d_out))
    params[f'layer_{i}/kernel'] = kernel * scale / d_in**0.5
    params[f'layer_{i}/bias'] = jnp.zeros(d_out)
  return params


def forward(
  params: Params, x: jax.Array, activation: Activation = jnp.tanh
) -> jax.Array:
  """Maps (B, 32) to logits (B, 8)."""
  count = len(params) // 2
  for i in range(count):
    x = x @ params[f'layer_{i}/kernel'] + params[f'layer_{i}/bias']
    x = activation(x) if i < count - 1 else x
  return x


def labels(teachers: list[Params], x: jax.Array) -> jax.Array:
  """Returns the classes (B,) of a sum of teachers."""
  return jnp.argmax(sum(forward(t, x) for t in teachers), -1)


@functools.partial(jax.jit, static_argnames=('steps', 'rate'))
def train(
  params: Params,
  teachers: list[Params],
  rng: jax.Array,
  steps: int,
  rate: float,
) -> Params:
  """Fits the teachers' labels on fresh points, 256 a step."""
  tx = optax.adam(rate)

  def loss(params, x):
    logits = forward(params, x, jax.nn.relu)
    return optax.softmax_cross_entropy_with_integer_labels(
      logits, labels(teachers, x)
    ).mean()

  def step(i, state):
    params, moments = state
    x = jax.random.normal(jax.random.fold_in(rng, i), (256, SIZES[0]))
    updates, moments = tx.update(jax.grad(loss)(params, x), moments)
    return optax.apply_updates(params, updates), moments

  return jax.lax.fori_loop(0, steps, step, (params, tx.init(params)))[0]


@jax.jit
def accuracy(
  params: Params, teachers: list[Params], rng: jax.Array
) -> jax.Array:
  """Returns the accuracy on 4000 fresh points."""
  x = jax.random.normal(rng, (4000, SIZES[0]))
  guesses = jnp.argmax(forward(params, x, jax.nn.relu), -1)
  return (guesses == labels(teachers, x)).mean()


def main(argv: list[str]) -> bool:
  """Trains, drops, prints the table; says whether the bar was reached."""
  del argv
  rng = functools.partial(jax.random.fold_in, jax.random.key(flags.FLAGS.seed))
  teachers = [init(rng(i), TEACHER, 2.0) for i in range(3)]
  start = train(init(rng(3), SIZES, 2**0.5), teachers[:1], rng(4), 400, 1e-3)
  tasks = [[teachers[0], teachers[t]] for t in (1, 2)]
  tuned = [
    train(start, task, rng(5 + t), 300, 3e-4) for t, task in enumerate(tasks)
  ]
  base = stream.from_arrays(start, 'base')
  models = [stream.from_arrays(m, f'task {t}') for t, m in enumerate(tuned)]
  test = rng(7)

  def score(weights, t):
    return float(accuracy(stream.to_arrays(weights), tasks[t], test))

  full = [score(model, t) for t, model in enumerate(models)]
  print(f'fine-tuned         {full[0]:.3f} {full[1]:.3f}')
  accuracies = {}
  for rate in RATES:
    for kind in dare.KINDS:
      seeds = range(1 if kind == 'magnitude' else MASKS)
      drops = [dare.Drop(rate, kind, seed=seed) for seed in seeds]
      accuracies[rate, kind] = [
        np.mean([score(dare.sparsified(model, base, d), t) for d in drops])
        for t, model in enumerate(models)
      ]
      a, b = accuracies[rate, kind]
      print(f'p = {rate:<4} {kind:<9} {a:.3f} {b:.3f}')
  for rate in (0.0, 0.9):
    parts = [dare.sparsified(m, base, dare.Drop(rate)) for m in models]
    merged = average.task_arithmetic(base, parts, 0.5)
    a, b = (score(merged, t) for t in (0, 1))
    print(f'merged, p = {rate:<3}    {a:.3f} {b:.3f}')
  close = [a - b for a, b in zip(full, accuracies[0.9, 'dare'])]
  above = [
    a - b for a, b in zip(accuracies[0.9, 'dare'], accuracies[0.9, 'drop_only'])
  ]
  return verdict.say(
    verdict.Bound('loss of DARE at p = 0.9', max(close), '<=', 0.07),
    verdict.Bound('gain over drop only', min(above), '>=', 0.15),
  )
