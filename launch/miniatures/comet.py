"""COMET's cardinality: four clusters, each with its own linear map.

Four clusters in R^8 (centres N(0, 1), spread 0.15), each with its own linear
map to R^4 (N(0, 1/4)) and noise 0.05 (noise floor 0.0025); 8 linear experts,
k = 2, gamma 1, Adam 5e-3, batch 128, 1500 steps, 2000 test points. Required for
every seed, with the entropy weight 0.1: test MSE at most 0.006 and a share of
tokens with at most 2 experts of at least 0.99; with weight 0 a share of at most
0.7. No gate is claimed to be better than another.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from launch.miniatures.parts import mixture, verdict

FLAGS = flags.FLAGS
COMET = mixture.Design(8, 'comet', (('k', 2), ('gamma', 1.0)))
# Name: design, weight of the entropy term.
VARIANTS = {
  'COMET, entropy 0.1': (COMET, 0.1),
  'COMET, entropy 0': (COMET, 0.0),
  'Top-2': (dataclasses.replace(COMET, gate='topk', options=(('k', 2),)), 0.0),
  'dense softmax': (dataclasses.replace(COMET, gate='soft', options=()), 0.0),
}


def define_flags() -> None:
  """The flags of this miniature."""
  flags.DEFINE_integer('seeds', 3, 'Runs of each gate.', lower_bound=1)
  flags.DEFINE_integer('steps', 1500, 'Updates.', lower_bound=1)


def clusters(rows: int, seed: int) -> dict[str, jax.Array]:
  """Points x (rows, 8) of the four clusters and their y (rows, 1, 4)."""
  fixed, drawn = np.random.default_rng(0), np.random.default_rng(seed)
  centres = fixed.normal(size=(4, 8))
  maps = fixed.normal(size=(4, 8, 4)) / 2
  which = drawn.integers(4, size=rows)
  x = centres[which] + 0.15 * drawn.normal(size=(rows, 8))
  y = np.einsum('bd,bdf->bf', x, maps[which])
  y += 0.05 * drawn.normal(size=y.shape)
  return {
    'x': jnp.asarray(x, jnp.float32),
    'ids': jnp.zeros(rows, jnp.int32),
    'y': jnp.asarray(y, jnp.float32)[:, None],
  }


def error(outputs: jax.Array, y: jax.Array) -> jax.Array:
  """Squared errors, (B, 1, 4) to (B,)."""
  return jnp.square(outputs - y).mean((-2, -1))


def single_expert(train: dict, test: dict) -> float:
  """Test error of the best single linear map."""

  def wide(x):
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)

  y = np.asarray(train['y'])[:, 0]
  weights, *_ = np.linalg.lstsq(wide(train['x']), y, rcond=None)
  return float(np.square(wide(test['x']) @ weights - test['y'][:, 0]).mean())


def main(argv: list[str]) -> bool:
  """Prints the table; returns whether the required figures were reached."""
  del argv
  data, test = clusters(20_000, 1), clusters(2000, 2)
  seeds = jnp.arange(FLAGS.seeds)
  print(f'{"gate":20} {"test MSE":24} {"share <= 2":24} mean experts')
  measured = {}
  for name, (design, weight) in VARIANTS.items():
    settings = {'seed': seeds, 'lr': jnp.full(len(seeds), 5e-3)}
    if weight:
      settings['entropy'] = jnp.full(len(seeds), weight)
    evaluate = mixture.train(
      design, data, error, settings, steps=FLAGS.steps, batch_size=128
    )
    out, losses = evaluate(test)
    used = np.asarray(out['used'])
    measured[name] = np.asarray(losses.mean(-1)), (used <= 2).mean((1, 2))
    columns = (*measured[name], used.mean((1, 2)))
    text = ('/'.join(f'{v:.4f}' for v in column) for column in columns)
    print(f'{name:20}', *(f'{column:24}' for column in text), flush=True)
  print(f'{"single expert":20} {single_expert(data, test):.4f}')
  (mse, share), (_, without) = (measured[n] for n in list(VARIANTS)[:2])
  return verdict.say(
    verdict.Bound('largest test MSE', mse.max(), '<=', 0.006),
    verdict.Bound('least share <= 2', share.min(), '>=', 0.99),
    verdict.Bound('largest share without', without.max(), '<=', 0.7),
  )
