"""Consensus of ranks against the mean when metrics are corrupted.

Plackett-Luce ballots of 10 systems, 11 metrics and 12 instances; one metric
after another is replaced by the reversed order, scaled by 1000. Error: Kendall
distance to the true order, 0 to 1. Required, with phi = 0.1: one corrupted
metric puts the mean at 0.99 or more and two levels at 0.15 or less; two levels
beat one for 1, 2, 3 and 5 corrupted metrics. With nothing corrupted the mean is
as good or better: ranks discard how large a difference is.
"""

from absl import flags

from glue_jax.leaderboard.ranking import borda, robustness
from launch.miniatures.parts import verdict

FLAGS = flags.FLAGS
COUNTS = (0, 1, 2, 3, 5)
RANKS = {
  'mean': borda.means,
  'one level': borda.one_level,
  'two levels': robustness.two_level,
}


def define_flags() -> None:
  """The flags of this miniature."""
  flags.DEFINE_integer('seeds', 100, 'draws of the scores', lower_bound=1)


def main(argv: list[str]) -> bool:
  """Prints the table; returns whether the required figures were reached."""
  del argv
  print(f'{"phi":>5} {"corrupted":>9}', *(f'{name:>10}' for name in RANKS))
  for phi in (0.01, 0.1, 0.5):
    errors = {
      name: robustness.corruption_error(COUNTS, rank, phi, FLAGS.seeds)
      for name, rank in RANKS.items()
    }
    for i, count in enumerate(COUNTS):
      row = (f'{error[i]:>10.3f}' for error in errors.values())
      print(f'{phi:>5} {count:>9}', *row)
    if phi == 0.1:
      mean, one, two = errors.values()
      bounds = [
        verdict.Bound('error of the mean, one corrupted', mean[1], '>=', 0.99),
        verdict.Bound('of two levels, one corrupted', two[1], '<=', 0.15),
        verdict.Bound('one level above two', (one - two)[1:].min(), '>', 0),
      ]
  return verdict.say(*bounds)
