"""Trains what a config says.

  python -m launch.train --config=configs/quickstart.py --workdir=runs/quick
  python -m launch.train --config=configs/glue.py:rte --config.optimizer.lr=3e-5
    --workdir=runs/rte

The same command goes on with a run that was stopped. On several hosts, start it
on each with --distributed (see launch/clusters).
"""

import sys

from absl import app, flags, logging

from glue_jax.devices import cpu, distributed
from launch.cli import config_flag

_CONFIG = config_flag.define()
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_PRINT = flags.DEFINE_bool('print_config', False, 'Print the config and stop.')
_ALLOW = flags.DEFINE_bool(
  'allow_config_change', False, 'Go on with a run under a changed config.'
)
_CACHE = flags.DEFINE_string(
  'compilation_cache',
  '~/.cache/glue_jax/xla',
  "Folder for compiled programs, '' for none.",
)
_DISTRIBUTED = flags.DEFINE_enum(
  'distributed',
  'off',
  distributed.KINDS,
  'How hosts find each other: a TPU pod, SLURM and Kubernetes tell by '
  'themselves (auto); else give the address.',
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator', None, 'host:port of process 0, for --distributed=address.'
)
_COUNT = flags.DEFINE_integer('num_processes', None, 'Number of processes.')
_ID = flags.DEFINE_integer('process_id', None, 'Number of this process.')


def main(argv: list[str]) -> None:
  """Runs the config; exits 1 with a message if something doesn't fit."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags need --')
  logging.get_absl_handler().addFilter(distributed.own_messages)
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax import config
  from glue_jax.data.tasks import synthetic
  from glue_jax.reporting import outcome
  from glue_jax.training import checkpoint, monitor, runs, train

  try:
    if _PRINT.value:
      print(config.dumps(config.complete(_CONFIG.value)), end='')
      return
    if _WORKDIR.value is None:
      raise app.UsageError('--workdir is needed')
    distributed.initialize(
      _DISTRIBUTED.value, _COORDINATOR.value, _COUNT.value, _ID.value
    )
    cpu.keep_memory()
    distributed.compilation_cache(_CACHE.value)
    result = runs.run(
      _CONFIG.value, _WORKDIR.value, allow_config_change=_ALLOW.value
    )
  except train.Interrupted as stopped:
    logging.warning('%s', stopped)
    sys.exit(128 + 15)  # as the shell reports a process that SIGTERM ended
  except (ValueError, checkpoint.CheckpointError, monitor.NonFinite) as error:
    logging.debug('', exc_info=True)
    sys.exit(f'error: {error}')
  if distributed.is_first():
    print(outcome.table(result, synthetic.bag_of_words_score))
    print(f'written to {_WORKDIR.value}')


if __name__ == '__main__':
  flags.mark_flag_as_required('config')
  app.run(main)
