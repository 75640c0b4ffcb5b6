"""DEFT's density loss: fewer non-zero activations at equal accuracy.

A frozen random residual MLP of two blocks (width 32, inner width 128, LayerNorm
before each), LoRA of rank 8 and a bias on each first product; these and the
head learn. Four classes by a random network of the same width, 2048 examples to
learn from and as many to score, Adam 3e-3, batch 128, 600 steps. Arms: weight 0
and 1 of the density loss, with ReLU and with GELU; budget, data and seeds are
the same. Required of ReLU: density at least 35 % lower with accuracy within 1
point of the arm without the loss, on the mean of the seeds. GELU hardly ever
gives an exact zero; its row is shown as it is.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from glue_jax.layers import activations as activations_lib
from glue_jax.objectives import density
from glue_jax.peft import lora
from launch.miniatures.parts import verdict

FLAGS = flags.FLAGS
WIDTH, INNER, BLOCKS, CLASSES, RANK = 32, 128, 2, 4, 8
ROWS, BATCH, STEPS, RATE = 2048, 128, 600, 3e-3


def define_flags() -> None:
  """The flags of this miniature."""
  flags.DEFINE_integer('seeds', 3, 'runs of each arm')


def main(argv: list[str]) -> bool:
  """Prints the table; returns whether the required figures were reached."""
  del argv
  if FLAGS.seeds < 1:
    return verdict.say()
  means = {}
  print(
    'activation  weight  accuracy' + ' ' * 7 * (FLAGS.seeds - 1) + 'density'
  )
  for kind in ('relu', 'gelu'):
    for weight in (0.0, 1.0):
      over_seeds = jax.vmap(lambda s, k=kind, w=weight: run(k, w, s))
      accuracy, share = map(np.asarray, over_seeds(jnp.arange(FLAGS.seeds)))
      means[kind, weight] = accuracy.mean(), share.mean()
      cells = [*(f'{x:.3f}' for x in accuracy), *(f'{x:.3f}' for x in share)]
      print(f'{kind:<11} {weight:6.1f}  {"  ".join(cells)}')
  (plain, dense), (sparse_accuracy, sparse) = (
    means['relu', weight] for weight in (0.0, 1.0)
  )
  fall, points = 1 - sparse / dense, 100 * (sparse_accuracy - plain)
  print(
    f'ReLU: density {100 * fall:.1f} % lower, accuracy {points:+.2f} points'
  )
  return verdict.say(
    verdict.Bound('fall of the density', fall, '>=', 0.35),
    verdict.Bound('points of accuracy', points, '>=', -1),
  )


@functools.partial(jax.jit, static_argnums=(0, 1))
def run(kind: str, weight: float, seed: int) -> tuple[jax.Array, jax.Array]:
  """Trains one arm; returns its accuracy and density on new rows.

  Args:
    kind: activation.
    weight: of the density loss.
    seed: of the backbone, the task, the rows and their order.
  """
  keys = jax.random.split(jax.random.key(seed), 5)
  backbone, start = init(keys[0])
  label = teacher(keys[1])
  x = jax.random.normal(keys[2], (ROWS, WIDTH))
  optimizer = optax.adam(RATE)

  def loss(tuned, rows):
    logits, activations = forward(kind, backbone, tuned, x[rows])
    layers = [density.surrogate(a) for a in activations]
    task = optax.softmax_cross_entropy_with_integer_labels(
      logits, label(x[rows])
    )
    return task.mean() + weight * density.combine(layers).mean()

  def step(carry, rows):
    tuned, state = carry
    updates, state = optimizer.update(jax.grad(loss)(tuned, rows), state)
    return (optax.apply_updates(tuned, updates), state), None

  epochs = -(-STEPS * BATCH // ROWS)
  order = jax.vmap(lambda k: jax.random.permutation(k, ROWS))(
    jax.random.split(keys[3], epochs)
  )
  batches = order.reshape(-1, BATCH)[:STEPS]
  (tuned, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), batches)
  new = jax.random.normal(keys[4], (ROWS, WIDTH))
  logits, activations = forward(kind, backbone, tuned, new)
  share = density.combine([density.density(a) for a in activations]).mean()
  return (logits.argmax(-1) == label(new)).mean(), share


def init(key: jax.Array) -> tuple[list, dict]:
  """The frozen blocks, and what learns beside them."""
  blocks, tuned = [], {'blocks': []}
  last, *keys = jax.random.split(key, BLOCKS + 1)
  for k in keys:
    first, second, factor = jax.random.split(k, 3)
    blocks.append((
      jax.random.normal(first, (WIDTH, INNER)) * WIDTH**-0.5,
      jax.random.normal(second, (INNER, WIDTH)) * INNER**-0.5,
    ))  # fmt: skip
    tuned['blocks'].append({
      'lora_a': lora.initial_a(factor, (WIDTH, RANK)),
      'lora_b': jnp.zeros((RANK, INNER)),
      'bias': jnp.zeros(INNER),
    })  # fmt: skip
  head = jax.random.normal(last, (WIDTH, CLASSES)) * WIDTH**-0.5
  return blocks, tuned | {'head': head, 'head_bias': jnp.zeros(CLASSES)}


def forward(
  kind: str, blocks: list, tuned: dict, x: jax.Array
) -> tuple[jax.Array, list[jax.Array]]:
  """Logits (B, 4), and the activations (B, 128) of each block."""
  activations = []
  for (first, second), own in zip(blocks, tuned['blocks'], strict=True):
    h = jax.nn.standardize(x)
    h = h @ first + (h @ own['lora_a']) @ own['lora_b'] + own['bias']
    activations.append(activations_lib.activation(kind)(h))
    x += activations[-1] @ second
  return x @ tuned['head'] + tuned['head_bias'], activations


def teacher(key: jax.Array) -> Callable[[jax.Array], jax.Array]:
  """The labels of rows (B, 32): the largest output of a random network."""
  first, second = jax.random.split(key)
  inner = jax.random.normal(first, (WIDTH, WIDTH)) * WIDTH**-0.5
  outer = jax.random.normal(second, (WIDTH, CLASSES))
  return lambda x: (jnp.tanh(2 * x @ inner) @ outer).argmax(-1)
