"""SlimFit: memory of static masks, and accuracy with a fifth of the layers.

--part=memory: temporary memory of the compiled gradient of 6 feed-forward
blocks (width 128, inner width 512) on 8 x 128 rows. Required: with 2 of 18
tensors learning at most 0.80 of what all need, and at most 0.35 with GELU's
input stored in 4 bits. A mask inside the program is shown for comparison.

--part=accuracy: a residual network, 4 pre-norm blocks of width 48 (15 layers of
the schedule), on 20 Gaussian inputs and 4 classes [x0 x1 > 0] + 2 [x2 + x3 x4 >
0]: 700 steps at 2e-3, then 300 steps of 64 rows with linear decay on the
classes [x0 x1 + x5/2 > 0] + 2 [x2 - x3 x4 > 0]; accuracy on 4,000 new rows,
mean of the seeds. Both arms have three learning rates. Required: the best of
freezing rate 0.8 within 3 points of the best of full training, and at the
lowest learning rate, which serves full training, clearly worse: by 5 points.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from glue_jax import tree
from glue_jax.compress import saved_activations
from glue_jax.layers import activations
from glue_jax.layers.norms.layer import standardise
from glue_jax.optim import layer_schedule
from glue_jax.optim.per_leaf_count import by_leaf
from launch.miniatures.parts import verdict

FLAGS = flags.FLAGS
PARTS = ('memory', 'accuracy')
# Memory: blocks, rows, tokens, width, inner width.
BLOCKS, SHAPE, INNER = 6, (8, 128, 128), 512
# Accuracy.
INPUTS, WIDTH, DEPTH, CLASSES = 20, 48, 4, 4
BATCH, FIRST_STEPS, STEPS, TEST_ROWS = 64, 700, 300, 4000
FULL_RATES, FROZEN_RATES = (1e-3, 2e-3, 4e-3), (1e-3, 3e-3, 6e-3)
FREEZING_RATE = 0.8


def define_flags() -> None:
  """The flags of this miniature."""
  flags.DEFINE_multi_enum('part', list(PARTS), PARTS, 'which to run')
  flags.DEFINE_integer('seeds', 3, 'runs of each cell of the accuracy table')


def main(argv: list[str]) -> bool:
  """Prints the tables; returns whether the required figures were reached."""
  del argv
  parts = {'memory': memory, 'accuracy': accuracy}
  return verdict.say(*(bound for part in FLAGS.part for bound in parts[part]()))


def memory() -> list[verdict.Bound]:
  """Prints the memory table; returns what is required of it."""
  few = ('block_1/in', 'block_4/out')
  cases = {
    'all learn': temporary(None, activations.gelu),
    'gradients masked in the program': temporary(
      None, activations.gelu, masked=True
    ),
    '2 of 18 learn': temporary(few, activations.gelu),
    '2 of 18, 4-bit GELU': temporary(few, saved_activations.gelu4),
    'last scale, 4-bit GELU': temporary(
      ('block_5/ln',), saved_activations.gelu4
    ),
  }
  whole = cases['all learn']
  for name, size in cases.items():
    print(f'{name:<32} {size / 2**20:6.1f} MiB {size / whole:5.2f}')
  return [
    verdict.Bound(f'share, {name}', cases[name] / whole, '<=', most)
    for name, most in (('2 of 18 learn', 0.80), ('2 of 18, 4-bit GELU', 0.35))
  ]


def temporary(
  learning: tuple[str, ...] | None, gelu: Any, masked: bool = False
) -> int:
  """Returns the bytes of temporary memory of a compiled gradient.

  Args:
    learning: names of the tensors that learn; None for all.
    gelu: activation.
    masked: zero the gradients inside the program by an argument instead.
  """
  width = SHAPE[-1]
  shapes = {'ln': (width,), 'in': (width, INNER), 'out': (INNER, width)}
  params = {
    f'block_{i}/{name}': jax.ShapeDtypeStruct(shape, jnp.float32)
    for i in range(BLOCKS)
    for name, shape in shapes.items()
  }
  keep = params if learning is None else learning
  learns = {n: x for n, x in params.items() if n in keep}
  frozen = {n: x for n, x in params.items() if n not in keep}

  def loss(learns, frozen, x):
    p = learns | frozen
    for i in range(BLOCKS):
      y = standardise(x, 1e-12)[0] * p[f'block_{i}/ln']
      x = x + gelu(y @ p[f'block_{i}/in']) @ p[f'block_{i}/out']
    return jnp.square(x).mean()

  def gradient(learns, frozen, x, mask):
    grads = jax.grad(loss)(learns, frozen, x)
    if masked:
      grads = {n: jnp.where(mask[n], g, 0) for n, g in grads.items()}
    return grads

  x = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
  mask = {n: jax.ShapeDtypeStruct((), jnp.bool) for n in learns}
  program = jax.jit(gradient).lower(learns, frozen, x, mask).compile()
  return program.memory_analysis().temp_size_in_bytes


def accuracy() -> list[verdict.Bound]:
  """Prints the accuracy table; returns what is required of it."""
  means = {}
  starts = [first_task(seed) for seed in range(FLAGS.seeds)]
  for rate, grid in ((0.0, FULL_RATES), (FREEZING_RATE, FROZEN_RATES)):
    for lr in grid:
      accuracies = [
        second_task(start, rate, lr, seed) for seed, start in enumerate(starts)
      ]
      means[rate, lr] = float(np.mean(accuracies or [0.0]))
      print(
        f'freezing rate {rate:.1f} lr {lr:.0e} {means[rate, lr]:.3f}',
        *(f'{value:.3f}' for value in accuracies),
      )
  best = {
    rate: max(value for (r, _), value in means.items() if r == rate)
    for rate in (0.0, FREEZING_RATE)
  }
  low = means[FREEZING_RATE, FROZEN_RATES[0]]
  gap = best[0.0] - best[FREEZING_RATE]
  print(f'best of full - best of frozen: {100 * gap:.1f} points')
  return [
    verdict.Bound('best of full - best of frozen', gap, '<=', 0.03),
    verdict.Bound(
      "frozen at full's rate", low, '<=', means[0.0, FULL_RATES[0]] - 0.05
    ),
  ]


def initial(key: jax.Array) -> dict[str, jax.Array]:
  """Returns {name: array}: kernels, biases and scales of the network."""
  flat = {}

  def dense(name, rows, columns):
    nonlocal key
    key, own = jax.random.split(key)
    flat[f'{name}/kernel'] = jax.random.normal(own, (rows, columns)) * (
      rows**-0.5
    )
    flat[f'{name}/bias'] = jnp.zeros(columns)

  dense('first', INPUTS, WIDTH)
  for i in range(DEPTH):
    flat[f'block_{i}/ln/scale'] = jnp.ones(WIDTH)
    flat[f'block_{i}/ln/bias'] = jnp.zeros(WIDTH)
    dense(f'block_{i}/in', WIDTH, 2 * WIDTH)
    dense(f'block_{i}/out', 2 * WIDTH, WIDTH)
  flat['ln/scale'], flat['ln/bias'] = jnp.ones(WIDTH), jnp.zeros(WIDTH)
  dense('last', WIDTH, CLASSES)
  return flat


def logits(p: dict[str, jax.Array], x: jax.Array) -> jax.Array:
  """Maps inputs (B, 20) to logits (B, 4)."""

  def dense(name, x):
    return x @ p[f'{name}/kernel'] + p[f'{name}/bias']

  def norm(name, x):
    return standardise(x, 1e-6)[0] * p[f'{name}/scale'] + p[f'{name}/bias']

  x = dense('first', x)
  for i in range(DEPTH):
    h = dense(f'block_{i}/in', norm(f'block_{i}/ln', x))
    x = x + dense(f'block_{i}/out', activations.gelu(h))
  return dense('last', norm('ln', x))


def sample(key: jax.Array, rows: int, second: bool) -> tuple:
  """Draws inputs (rows, 20) and classes (rows,) of the first or second task."""
  x = jax.random.normal(key, (rows, INPUTS))
  if second:
    low, high = x[:, 0] * x[:, 1] + x[:, 5] / 2, x[:, 2] - x[:, 3] * x[:, 4]
  else:
    low, high = x[:, 0] * x[:, 1], x[:, 2] + x[:, 3] * x[:, 4]
  return x, (low > 0).astype(jnp.int32) + 2 * (high > 0)


def loss(p: dict[str, jax.Array], x: jax.Array, y: jax.Array) -> jax.Array:
  """Mean cross-entropy, ()."""
  return optax.softmax_cross_entropy_with_integer_labels(logits(p, x), y).mean()


def optimizer(rate: Any, names: list[str]) -> optax.GradientTransformation:
  """Adam with a count for each leaf, and the layers' distances."""
  return optax.chain(
    by_leaf(optax.scale_by_adam()),
    optax.scale_by_learning_rate(rate),
    layer_schedule.track(names),
  )


@jax.jit
def first_task(seed: int) -> dict[str, jax.Array]:
  """Returns the parameters trained on the first task."""
  init, data = jax.random.split(jax.random.key(seed))
  params = initial(init)
  tx = optax.adam(2e-3)

  def step(carry, key):
    params, state = carry
    gradient = jax.grad(loss)(params, *sample(key, BATCH, False))
    updates, state = tx.update(gradient, state)
    return (optax.apply_updates(params, updates), state), None

  start = params, tx.init(params)
  return jax.lax.scan(step, start, jax.random.split(data, FIRST_STEPS))[0][0]


def second_task(
  params: dict[str, jax.Array], rate: float, lr: float, seed: int
) -> float:
  """Fine-tunes with a freezing rate and returns the accuracy.

  The layers that learn change in every step, as published; so small a program
  takes the mask as an argument.
  """
  names = layer_schedule.layers(params)
  priority = np.random.default_rng(seed).random(len(names))
  priority = (priority * layer_schedule.START).astype(np.float32)
  data = jax.random.key(1000 + seed)
  state = _init(tuple(names), params)
  for i in range(STEPS):
    frozen = layer_schedule.frozen_layers(priority, rate)
    mask = dict.fromkeys(params, False) | dict(zip(names, frozen.tolist()))
    now = lr * (1 - i / STEPS)
    params, state = _step(
      tuple(names), params, state, mask, now, jax.random.fold_in(data, i)
    )
    updated = layer_schedule.priorities(priority, names, tree.paths(state))
    priority = np.where(frozen, priority, updated)
  return float(_accuracy(params, jax.random.fold_in(data, STEPS)))


def _init(names, params):
  return optimizer(1.0, list(names)).init(tree.unflatten(params))


@functools.partial(jax.jit, static_argnums=0)
def _step(names, params, state, mask, lr, key):
  """One step; frozen leaves and all of their state stay as they are."""
  gradient = tree.unflatten(jax.grad(loss)(params, *sample(key, BATCH, True)))
  whole = tree.unflatten(params)
  updates, new = optimizer(lr, list(names)).update(gradient, state, whole)
  moved = tree.flatten(optax.apply_updates(whole, updates))

  def pick(name, old, new):
    return jnp.where(mask[name], old, new)

  params = {n: pick(n, x, moved[n]) for n, x in params.items()}
  # A path in the state ends in the leaf's name, or names it before the count.
  owner = {path: _owner(path, mask) for path in tree.paths(state)}
  flat, kind = jax.tree.flatten(state)
  kept = [
    pick(owner[path], old, fresh)
    for (path, old), fresh in zip(
      zip(owner, flat), jax.tree.leaves(new), strict=True
    )
  ]
  return params, jax.tree.unflatten(kind, kept)


def _owner(path, names):
  owners = [n for n in names if f'/{n}/' in f'/{path}/']
  return max(owners, key=len)


@jax.jit
def _accuracy(params, key):
  x, y = sample(key, TEST_ROWS, True)
  return (logits(params, x).argmax(-1) == y).mean()
