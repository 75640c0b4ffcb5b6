"""GaLore and Natural GaLore against AdamW: state, step time, loss curves.

  python -m launch.benchmark galore --part=memory --json=FILE
  python -m launch.benchmark galore --part=gradients --json=FILE
  python -m launch.benchmark galore --part=time --json=FILE
  python -m launch.benchmark galore --part=pretrain --corpus=DIR --workdir=DIR

memory: bytes of the optimizer's state and, with the weights, of both in GiB,
counted from abstract trees (nothing is allocated), beside the published sum.
Shapes: BERT-base, and the papers' LLaMA models at their ranks, all linear
layers of the blocks projected. Weights, moments and projections are bfloat16 as
in the papers' table, the history of Natural GaLore float32.

gradients: temporary memory of BERT-base's compiled step in the loop, one row of
8 tokens, so that it is nearly all gradients, beside what all gradients take.
Each is freed once its leaf is updated, unless clipping needs the norm of all
before the first update. Nothing is run.

time: one compiled training step at MiniLM-L6's shapes. `overhead` is that of a
step between two refreshes over AdamW's; `refresh_ms` what a step with a refresh
takes longer; `per_step` what that is, in AdamW steps, spread over --gap steps.

pretrain: masked language models of one size from scratch by AdamW, GaLore,
Natural GaLore and LoRA: equal steps, batches and seeds. Each arm has its best
of --rates by the first seed. Started again with the same --workdir it goes on;
there it writes curves.png. DIR has train/ and valid/ with plain text files.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import flags

from glue_jax import tree
from glue_jax.models import model as models
from glue_jax.optim import galore, natural_galore
from launch.benchmarks.parts import galore_gradients, galore_pretrain, rows

FLAGS = flags.FLAGS
PARTS = ('memory', 'gradients', 'time', 'pretrain')
GIB = 2**30

# Width, FFN, layers, rank of the table; published GiB of (full, GaLore).
LLAMA = {
  'llama-60m': (512, 1376, 8, 128, (0.36, 0.24)),
  'llama-130m': (768, 2048, 12, 256, (0.76, 0.52)),
  'llama-350m': (1024, 2736, 24, 256, (2.06, 1.22)),
  'llama-1.1b': (2048, 5461, 24, 512, (7.80, 4.38)),
}
VOCABULARY = 32_000


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  flags.DEFINE_enum('part', 'memory', PARTS, 'What to measure.')
  rows.define_file()
  flags.DEFINE_integer('rank', 8, 'Of BERT-base, MiniLM and the models here.')
  flags.DEFINE_integer('gap', 200, 'time: steps between two refreshes.')
  flags.DEFINE_integer('batch', 32, 'time, pretrain: rows.')
  flags.DEFINE_integer('length', 128, 'time, pretrain: tokens of a row.')
  flags.DEFINE_integer('turns', 5, 'time: runs for a time.')
  galore_pretrain.define_flags()


def main(argv: list[str]) -> None:
  """Measures, prints the rows, writes `--json`."""
  del argv
  parts = {
    'memory': memory,
    'gradients': galore_gradients.rows,
    'time': step_times,
    'pretrain': galore_pretrain.rows,
  }
  rows.collect(parts[FLAGS.part](), FLAGS.json)


def memory() -> Iterator[dict[str, Any]]:
  """Rows of the memory table."""
  bert = models.shapes(models.build('bert', 'base', kind='mlm'))
  settings = {'bert-base': (tree.unflatten(bert), FLAGS.rank, (None, None))}
  for name, (*sizes, rank, published) in LLAMA.items():
    settings[name] = llama_shapes(*sizes), rank, published
  for name, (params, rank, published) in settings.items():
    params = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), params
    )
    weights = _bytes(params)
    adam = None
    for optimizer, tx in optimizers(rank).items():
      state = _bytes(jax.eval_shape(tx.init, params))
      adam = adam or state
      which = 1 if 'GaLore' in optimizer else 0
      yield {
        'model': name,
        'optimizer': optimizer,
        'rank': rank if which else None,
        'parameters': tree.size(params),
        'state_bytes': state,
        'of_adamw': round(state / adam, 3),
        'gib': round((weights + state) / GIB, 2),
        'published_gib': published[which],
      }


def optimizers(rank: int) -> dict[str, optax.GradientTransformation]:
  """The table's optimizers; AdamW comes first."""
  kwargs = dict(rank=rank, dtype='bfloat16')
  natural = natural_galore.core
  return {
    'AdamW': optax.scale_by_adam(),
    'GaLore': galore.core(**kwargs),
    'GaLore, 8-bit': galore.core(bits=8, **kwargs),
    'Natural GaLore, both sides': natural(**kwargs),
    'Natural GaLore, one side': natural(projection='std', **kwargs),
  }


def llama_shapes(width: int, inner: int, layers: int) -> tree.Tree:
  """Abstract parameters of the papers' LLaMA, embeddings not tied."""

  def leaf(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)

  layer = {
    'attn': {
      name: {'kernel': leaf(width, width)} for name in ('q', 'k', 'v', 'o')
    },
    'mlp': {
      'gate': {'kernel': leaf(width, inner)},
      'up': {'kernel': leaf(width, inner)},
      'down': {'kernel': leaf(inner, width)},
    },
    'norms': {'scale': leaf(2, width)},
  }
  return {f'layer_{i}': layer for i in range(layers)} | {
    'embedding': leaf(VOCABULARY, width),
    'norm': {'scale': leaf(width)},
    'head': {'kernel': leaf(width, VOCABULARY)},
  }


def step_times() -> Iterator[dict[str, Any]]:
  """Rows of the times of a step."""
  model = models.build('bert', 'minilm_l6', kind='mlm', dropout=0.0)
  ids = jnp.full((FLAGS.batch, FLAGS.length), 7, jnp.int32)
  batch = {'input_ids': ids, 'attention_mask': jnp.ones_like(ids)}
  params = model.init(jax.random.key(0), batch)['params']
  gap = FLAGS.gap
  kwargs = dict(rank=FLAGS.rank, update_proj_gap=gap)
  arms = {'AdamW': optax.scale_by_adam()}
  for solver in ('svd', 'gram', 'randomised'):
    arms[f'GaLore, {solver}'] = galore.core(solver=solver, **kwargs)
  arms['Natural GaLore'] = natural_galore.core(**kwargs)
  runs = {}
  for name, tx in arms.items():
    runs |= _steps(name, tx, model, params, batch)
  times = _least(runs)
  base = times['AdamW', False]
  for name in arms:
    plain, refreshed = times[name, False], times.get((name, True))
    refresh = None if refreshed is None else refreshed - plain
    yield {
      'optimizer': name,
      'ms': round(1e3 * plain, 1),
      'overhead': round(plain / base - 1, 4),
      'refresh_ms': refresh and round(1e3 * refresh, 1),
      'per_step': refresh and round(refresh / gap / base, 4),
      'gap': gap,
      'rank': FLAGS.rank,
      'device': jax.devices()[0].device_kind,
    }


def _steps(
  name: str, tx: Any, model: Any, params: Any, batch: Any
) -> dict[tuple[str, bool], Callable]:
  """{(name, whether it refreshes): what runs one step}."""
  tx = optax.chain(tx, optax.scale(-1e-4))

  def loss(params):
    out = model.apply({'params': params}, batch)['last_hidden']
    return jnp.mean(jnp.square(out))

  @jax.jit
  def step(params, state):
    updates, state = tx.update(jax.grad(loss)(params), state, params)
    return optax.apply_updates(params, updates), state

  # The first step refreshes; the state after it is due in `gap` - 1 steps.
  first = tx.init(params)
  _, later = jax.block_until_ready(step(params, first))
  programs = {(name, False): lambda: step(params, later)}
  if name != 'AdamW':
    programs[name, True] = lambda: step(params, first)
  return programs


def _least(runs: dict[Any, Callable]) -> dict[Any, float]:
  """Least seconds of each, taken in turns: others only make a step longer."""
  times = {key: [] for key in runs}
  for _ in range(FLAGS.turns):
    for key, run in runs.items():
      start = time.perf_counter()
      jax.block_until_ready(run())
      times[key].append(time.perf_counter() - start)
  return {key: min(values) for key, values in times.items()}


def _bytes(value: Any) -> int:
  leaves = enumerate(jax.tree.leaves(value))
  return tree.nbytes({str(i): leaf for i, leaf in leaves})
