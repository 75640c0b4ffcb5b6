"""Sparse experts while some tokens are undecided: 'auto' beside its parts.

`--tokens` tokens, k = 2 of 16 experts of 384 -> 768 -> 384 in float32, one
forward pass or one with gradients. An undecided token has a weight for every
expert, as a token in the middle of COMET's trees. Rows: {"undecided" (tokens),
"pass", "auto_ms", "few_ms" (2 experts a token: what it would cost if all were
decided), "pairs_ms" (all pairs in use, none other), "dense_ms", "same" (largest
difference of auto and dense)}; medians of alternating turns.

  python -m launch.benchmark experts --json=FILE
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from glue_jax.layers.activations import activation
from glue_jax.layers.ffn import experts
from launch.benchmarks.parts import rows, timing

FLAGS = flags.FLAGS
EXPERTS, KEEP, WIDTH, INNER = 16, 2, 384, 768
COMPUTE = functools.partial(
  experts.experts_of_rows, act=activation('gelu'), eps=1e-12
)


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  rows.define_file()
  flags.DEFINE_integer('tokens', 1024, 'Of a batch.', lower_bound=1)
  flags.DEFINE_integer('turns', 5, 'Runs of each form for a time.')


def main(argv: list[str]) -> None:
  """Measures, prints the rows, writes `--json`."""
  if argv[1:]:
    raise app.UsageError(f'no arguments are taken; found {argv[1:]}')
  rows.collect(measure(FLAGS.tokens, FLAGS.turns), FLAGS.json)


def measure(tokens: int, turns: int) -> Iterator[dict[str, Any]]:
  """Rows for no, one, a sixteenth, a quarter and all undecided tokens."""
  params, x, weights = _arrays(tokens)
  counts = sorted({0, 1, tokens // 16, tokens // 4, tokens})
  for training in (False, True):
    forms = _forms(training)
    for undecided in counts:
      soft = jnp.where(jnp.arange(tokens)[:, None] < undecided, *weights)
      args = params, x, soft
      times = timing.alternate(list(forms.values()), args, turns)
      found = [np.asarray(forms[name](*args)[0]) for name in ('auto', 'dense')]
      yield {
        'undecided': undecided,
        'pass': 'training' if training else 'forward',
        **{f'{n}_ms': round(1e3 * t, 1) for n, t in zip(forms, times)},
        'same': float(np.abs(found[0] - found[1]).max()),
      }


def _forms(training):
  """{name: compiled function of (params, x, weights)}, each gives (y, ...)."""
  forms = {
    'auto': lambda *given: experts.auto(COMPUTE, *given, KEEP, training),
    'few': lambda *given: experts.sparse(COMPUTE, *given, KEEP),
    'pairs': lambda *given: experts.sparse(COMPUTE, *given, EXPERTS),
    'dense': lambda *given: experts.dense(COMPUTE, *given),
  }

  def passes(form, *given):
    if not training:
      return (form(*given),)
    y, pull = jax.vjp(form, *given)
    return y, pull(y)

  return {n: jax.jit(functools.partial(passes, f)) for n, f in forms.items()}


def _arrays(tokens):
  """Parameters, tokens, and (soft, sparse) weights of all tokens."""
  keys = jax.random.split(jax.random.key(0), 4)
  draw = lambda key, *shape: 0.05 * jax.random.normal(key, shape)
  params = {
    'experts_in': {
      'kernel': draw(keys[0], EXPERTS, WIDTH, INNER),
      'bias': jnp.zeros((EXPERTS, INNER)),
    },
    'experts_out': {
      'kernel': draw(keys[1], EXPERTS, INNER, WIDTH),
      'bias': jnp.zeros((EXPERTS, WIDTH)),
    },
    'ln_experts': {
      'scale': jnp.ones((EXPERTS, WIDTH)),
      'bias': jnp.zeros((EXPERTS, WIDTH)),
    },
  }
  soft = jax.nn.softmax(jax.random.normal(keys[2], (tokens, EXPERTS)))
  least = jax.lax.top_k(soft, KEEP)[0][:, -1:]
  hard = jnp.where(soft >= least, soft, 0)
  hard /= hard.sum(-1, keepdims=True)
  return params, jax.random.normal(keys[3], (tokens, WIDTH)), (soft, hard)
