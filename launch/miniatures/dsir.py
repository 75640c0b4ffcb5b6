"""Finds a domain's documents in a mixture by their n-grams alone.

Synthetic corpora: V words with a Zipf distribution; a domain mixes it half and
half with the same distribution over permuted words. Raw documents come from the
target's domain and three others; the labels are hidden from the method. Bar,
with laplace 1: at least 0.95 of the selected documents are of the target's
domain, and KL(held-out target || selected) is lower than for a random set of
the same size by at least 0.25 nats.

  python -m launch.miniature dsir [--seeds=0,1,2]
"""

import numpy as np
from absl import flags

from glue_jax.data.selection import dsir
from launch.miniatures.parts import verdict

FLAGS = flags.FLAGS
WORDS, LENGTH = 2000, 40  # vocabulary, words of a document
OWN, OTHERS, TARGET, K = 400, (1200, 1200, 1200), 200, 400
BUCKETS, N = 10000, 2
SHARE, GAIN = 0.95, 0.25


def define_flags() -> None:
  """Defines the flags."""
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds of corpora and draws.')


def make_corpora(seed: int) -> tuple[list[str], np.ndarray, list, list]:
  """Returns (raw texts, whether each is the target's, target, held-out)."""
  rng = np.random.default_rng(seed)
  zipf = 1 / np.arange(1, WORDS + 1)
  zipf /= zipf.sum()

  def documents(domain, count):
    drawn = rng.choice(WORDS, (count, LENGTH), p=domain)
    return [' '.join(f'w{word}' for word in row) for row in drawn]

  domains = [(zipf + zipf[rng.permutation(WORDS)]) / 2 for _ in range(4)]
  raw = documents(domains[0], OWN)
  for domain, count in zip(domains[1:], OTHERS):
    raw += documents(domain, count)
  own = np.arange(len(raw)) < OWN
  order = rng.permutation(len(raw))
  texts = [raw[i] for i in order]
  target, heldout = (documents(domains[0], TARGET) for _ in range(2))
  return texts, own[order], target, heldout


def measure(seed: int) -> list[tuple[str, float, float]]:
  """Rows (set, share of the target's domain, KL(held-out || set))."""
  texts, own, target, heldout = make_corpora(seed)
  hasher = dsir.Hasher(N, BUCKETS)
  ids, sizes = hasher(texts)

  def distribution(documents, laplace=0.0):
    counts = dsir.bucket_counts(hasher(documents)[0], BUCKETS)
    return dsir.probabilities(counts, laplace)

  def noise(target, ids):
    return dsir.gumbel(seed, target, ids)

  valid = np.ones(len(texts), bool)
  q, unseen = distribution(texts), distribution(heldout)
  weights = {'random': np.zeros((len(texts), 1))}
  for laplace in (0.0, 1.0):
    log_diff = dsir.log_ratio(distribution(target, laplace), q)
    weights[f'laplace {laplace:g}'] = dsir.log_weights(
      ids, sizes, log_diff[None]
    )
  rows = []
  for name, weight in weights.items():
    taken = dsir.select(weight, valid, [K], noise) > 0
    chosen = distribution([texts[i] for i in np.flatnonzero(taken)])
    kl = dsir.kl_divergence(unseen, chosen)
    rows.append((name, float(own[taken].mean()), kl))
  return rows


def main(argv: list[str]) -> bool:
  """Prints a row for each seed and set; whether the bar was reached."""
  del argv
  bounds = []
  print('seed  set        share of domain  KL(held-out || set)  below random')
  for seed in map(int, FLAGS.seeds):
    rows = measure(seed)
    base = rows[0][2]
    for name, share, kl in rows:
      print(f'{seed:<5} {name:<10} {share:15.4f} {kl:20.3f} {base - kl:13.3f}')
    share, kl = rows[-1][1:]
    bounds += [
      verdict.Bound(f'share, seed {seed}', share, '>=', SHARE),
      verdict.Bound(f'nats below random, seed {seed}', base - kl, '>=', GAIN),
    ]
  return verdict.say(*bounds)
