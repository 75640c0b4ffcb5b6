"""A value before or after the query: does the scan run in both directions?

Filler tokens, one value (of 8) among the first or the last 4 of 24 positions
with equal chance, and a query at one of 8..15 where the value is to be told.
One Hydra block (width 32, N = 16, P = 16), Adam at 3e-3, batch 64, 400 steps.
The convolution reaches 3 positions, so only the scan can carry the value. With
everything after the query masked, half of the values cannot be known:
accuracy at most 0.5 + 0.5 / 8 = 0.5625.

Required: 0.98 or more with both directions, 0.60 or less without what follows.
The official layer: 1.000 and 1.000; 0.569 and 0.571 (two seeds).
"""

import functools

import jax
import jax.numpy as jnp
import optax
from absl import flags

from glue_jax.layers.spec import freeze
from glue_jax.models import model as models
from launch.miniatures.parts import verdict

FLAGS = flags.FLAGS
LENGTH, VALUES, FILLERS, EDGE, QUERY = 24, 8, 8, 4, (8, 16)
BATCH, STEPS, RATE, TEST = 64, 400, 3e-3, 2000
REQUIRED = 0.98, 0.60


def define_flags() -> None:
  """The flags of this miniature."""
  flags.DEFINE_list('seeds', ['0', '1'], 'one run of each kind for each')


def main(argv: list[str]) -> bool:
  """Prints the table; returns whether the required figures were reached."""
  del argv
  bounds = []
  print(f'{"seed":>4} {"both":>8} {"prefix":>8}')
  for seed in map(int, FLAGS.seeds):
    both, prefix = (
      float(accuracy(jax.random.key(seed), cut)) for cut in (False, True)
    )
    print(f'{seed:>4} {both:>8.3f} {prefix:>8.3f}', flush=True)
    bounds += [
      verdict.Bound(f'both, seed {seed}', both, '>=', REQUIRED[0]),
      verdict.Bound(f'prefix, seed {seed}', prefix, '<=', REQUIRED[1]),
    ]
  return verdict.say(*bounds)


def build() -> models.Model:
  """One Hydra block under a classifier of tokens."""
  return models.build(
    'hydra', 'tiny', kind='token_classification', num_outputs=VALUES,
    vocab_size=FILLERS + VALUES + 1, pad_id=0, num_layers=1, hidden_size=32,
    dropout=0.0, init_range=0.18,  # a width of 32, not of 768
    options=freeze({'hydra': {'state_size': 16, 'head_dim': 16}}),
  )  # fmt: skip


def sample(key: jax.Array, rows: int, cut: bool) -> tuple:
  """Draws a batch.

  Args:
    key: typed.
    rows: B.
    cut: mask everything after the query.

  Returns:
    the batch, the queries' positions (B,), and the values (B,).
  """
  keys = jax.random.split(key, 4)
  ids = jax.random.randint(keys[0], (rows, LENGTH), 0, FILLERS)
  value = jax.random.randint(keys[1], (rows,), 0, VALUES)
  place = jax.random.randint(keys[2], (rows,), 0, 2 * EDGE)
  place = jnp.where(place < EDGE, place, LENGTH - 2 * EDGE + place)
  query = jax.random.randint(keys[3], (rows,), *QUERY)
  row = jnp.arange(rows)
  ids = ids.at[row, place].set(FILLERS + value)
  ids = ids.at[row, query].set(FILLERS + VALUES)
  seen = jnp.arange(LENGTH) <= query[:, None] if cut else jnp.ones_like(ids)
  return {'input_ids': ids, 'attention_mask': seen}, query, value


@functools.partial(jax.jit, static_argnums=1)
def accuracy(key: jax.Array, cut: bool) -> jax.Array:
  """Trains for STEPS steps and scores TEST new sequences."""
  model = build()
  init, learn, test = jax.random.split(key, 3)
  params = model.init(init, sample(init, 2, cut)[0])['params']
  optimizer = optax.adam(RATE)

  def logits(params, batch, query):
    all_logits = model.apply({'params': params}, batch)['logits']
    return all_logits[jnp.arange(len(query)), query]

  def loss(params, key):
    batch, query, value = sample(key, BATCH, cut)
    losses = optax.softmax_cross_entropy_with_integer_labels(
      logits(params, batch, query), value
    )
    return losses.mean()

  def step(carry, key):
    params, state = carry
    updates, state = optimizer.update(jax.grad(loss)(params, key), state)
    return (optax.apply_updates(params, updates), state), None

  (params, _), _ = jax.lax.scan(
    step, (params, optimizer.init(params)), jax.random.split(learn, STEPS)
  )
  batch, query, value = sample(test, TEST, cut)
  return jnp.mean(logits(params, batch, query).argmax(-1) == value)
