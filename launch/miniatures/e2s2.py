"""What E2S2's label task adds to an encoder: a probe for replaced tokens.

Lines of 22 words of a Markov chain, written to files: 60 words, each with 4
successors of Dirichlet(1) weights. The recipe configs/pretrain/e2s2.py at a
small size, trained by the usual loop: BART of two encoder and one decoder layer
of width 48, rows of 24 tokens, 0.15 of the words in spans, one shuffled triple,
0.08 replaced, AdamW 2e-3 with 50 steps of warm-up and linear decay, batch 32,
600 steps. Two arms read the same noisy rows: reconstruction alone, and with 0.1
times the loss of labels. Then a logistic probe "was replaced", both classes of
the same weight, is fitted on the frozen encoder's states of 256 new rows and
scored on 256 others.

Required of every seed: an area under the ROC curve 0.01 above that of
reconstruction alone, and a reconstruction no more than 0.02 nats worse. The
margin is small, and the probe is fitted alike for both.

With --workdir a run that was stopped goes on, and one that has ended is read.
"""

import json
import pathlib
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from configs.pretrain import e2s2 as recipe
from glue_jax.config import config as config_lib
from glue_jax.data import tokenizing
from glue_jax.objectives import e2s2
from glue_jax.training import runs
from glue_jax.weights import saved_model
from launch.miniatures.parts import chain, seeded, verdict

FLAGS = flags.FLAGS
WORDS, SUCCESSORS, LINE = 60, 4, 22
LENGTH = LINE + 2  # with the tokens that begin and end a row
BATCH, WARMUP, VALID_LINES, PROBED = 32, 50, 512, 256
RATE, SHARES = 0.15, (0.05, 0.08)  # of spans; of centres, of replaced tokens
ARMS = {'reconstruction': 0.0, 'with labels': 0.1}


def define_flags() -> None:
  """The flags of this miniature."""
  seeded.define_flags(3, 600, WARMUP + 1)


def main(argv: list[str]) -> bool:
  """Prints the table; returns whether the required figures were reached."""
  del argv
  with seeded.workdir() as folder:
    return compared(folder, FLAGS.steps)


def compared(folder: pathlib.Path, steps: int) -> bool:
  """Trains, probes, prints and judges.

  Args:
    folder: of texts and runs.
    steps: updates of each run.
  """
  words = chain.transitions(0, WORDS, SUCCESSORS)
  found: dict[str, list[tuple[float, float]]] = {arm: [] for arm in ARMS}
  for seed in range(FLAGS.seeds):
    text = folder / f'text_{seed}'
    train, valid, rows = (
      chain.lines(words, count, LINE, 3 * seed + i)
      for i, count in enumerate((steps * BATCH, VALID_LINES, 2 * PROBED))
    )
    chain.write(text, {'train': train, 'valid': valid})
    for arm, weight in ARMS.items():
      workdir = folder / f'{arm.replace(" ", "_")}_{seed}'
      runs.run(small(text, steps, seed, weight), workdir)
      result = json.loads((workdir / 'result.json').read_text())
      loss = result['metrics']['validation']['loss']
      found[arm].append((probed(workdir, rows), loss))
  for arm, pairs in found.items():
    print(f'{arm:15} AUC', *(f'{auc:.3f}' for auc, _ in pairs),
          'loss', *(f'{loss:.3f}' for _, loss in pairs))  # fmt: skip
  without, labelled = (np.array(pairs) for pairs in found.values())
  gains, losses = (labelled - without).T
  print('gain', *(f'{gain:.3f}' for gain in gains))
  return verdict.say(
    verdict.Bound('least gain of AUC', gains.min(), '>', 0.01),
    verdict.Bound('most nats of reconstruction', losses.max(), '<=', 0.02),
  )


def small(text: pathlib.Path, steps: int, seed: int, weight: float) -> Any:
  """The recipe's first stage at the miniature's size.

  Args:
    text: the corpus.
    steps: updates.
    seed: of the run.
    weight: of the loss of labels.
  """
  first = dict(recipe.get_config('rte').stages)['pretrain']
  changes = dict(
    data=chain.section(text, LENGTH, BATCH, 160),
    model=dict(
      weights=None,
      name='bart',
      preset='tiny',
      hidden_size=48,
      num_heads=4,
      intermediate_size=192,
      decoder=(('num_layers', 1),),
      dropout=0.0,
      attention_dropout=0.0,
      dtype='float32',
    ),
    objective=dict(
      rate=RATE,
      shuffle=SHARES[0],
      replace=SHARES[1],
      label_weight=weight,
      contrastive_weight=0.0,
    ),
    optimizer=dict(lr=2e-3, warmup=WARMUP, args=dict(b2=0.999, eps=1e-8)),
    train=dict(steps=steps, eval_every=steps, log_every=100, accumulate=1),
    seeds=(seed,),
  )
  return config_lib.override(first, changes)


def probed(workdir: pathlib.Path, rows: list[str]) -> float:
  """Area under the ROC curve of a probe on the frozen encoder of a run."""
  module, params = saved_model.load(workdir)
  tokenizer = tokenizing.get_tokenizer(saved_model.find(workdir))
  encoded = tokenizer.encode(rows, max_length=LENGTH + 1)
  ids = encoded.ids.reshape(len(rows), LENGTH)  # fails if a word was cut
  place = jnp.broadcast_to(jnp.arange(-1, LENGTH - 1), ids.shape)
  batch = {
    'input_ids': jnp.asarray(ids),
    'attention_mask': jnp.ones(ids.shape, jnp.int32),
    'word_ids': jnp.where(place < LINE, place, -1),
  }
  ctx = types.SimpleNamespace(model=module, tokenizer=tokenizer)
  corrupt = e2s2.CORRUPTIONS['infill'](ctx, RATE, 3.0)
  noisy, _, mask, labels, _ = e2s2.views(
    ctx, batch, jax.random.key(0), corrupt, SHARES
  )
  given = {'input_ids': noisy, 'attention_mask': mask}
  states = module.apply({'params': params}, given, method='encode')
  states = np.asarray(states['last_hidden'], np.float64)
  replaced, real = np.asarray(labels) == 2, np.asarray(mask)
  parts = slice(None, PROBED), slice(PROBED, None)
  fitted, scored = ((states[p][real[p]], replaced[p][real[p]]) for p in parts)
  mean, spread = fitted[0].mean(0), fitted[0].std(0) + 1e-6
  weights = probe((fitted[0] - mean) / spread, fitted[1])
  return area((scored[0] - mean) / spread @ weights[1:], scored[1])


def probe(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Weights of a logistic regression by Newton's steps, the constant's first.

  Args:
    x: (n, D), of unit variance.
    y: (n,) bool; both classes count the same.
  """
  x = np.concatenate([np.ones((len(x), 1)), x], 1)
  balance = np.where(y, 0.5 / y.mean(), 0.5 / (1 - y.mean())) / len(y)
  weights = np.zeros(x.shape[1])
  for _ in range(30):
    p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
    slope = x.T @ (balance * (p - y)) + 1e-4 * weights
    curve = (x.T * (balance * p * (1 - p))) @ x + 1e-4 * np.eye(len(weights))
    weights -= np.linalg.solve(curve, slope)
  return weights


def area(scores: np.ndarray, positive: np.ndarray) -> float:
  """Area under the ROC curve: how often a positive is above a negative."""
  rank = np.argsort(np.argsort(scores)) + 1.0
  count = positive.sum()
  above = rank[positive].sum() - count * (count + 1) / 2
  return float(above / (count * (~positive).sum()))
