"""The peer: the DSIR authors' package `data-selection`, as its README says."""

import argparse

from data_selection import HashedNgramDSIR


def main() -> None:
  """Fits on all tokens, weighs, resamples; its own pieces go to --work."""
  parser = argparse.ArgumentParser(description=main.__doc__)
  for name in ('raw', 'target', 'out', 'work'):
    parser.add_argument(f'--{name}', required=True)
  for name in ('k', 'min_length', 'workers'):
    parser.add_argument(f'--{name}', type=int, required=True)
  args = parser.parse_args()
  dsir = HashedNgramDSIR(
    [args.raw],
    [args.target],
    args.work,
    num_proc=args.workers,
    min_example_length=args.min_length,
  )
  dsir.fit_importance_estimator('all')
  dsir.compute_importance_weights()
  dsir.resample(args.out, args.k, cache_dir=f'{args.work}/resampled')


if __name__ == '__main__':
  main()
