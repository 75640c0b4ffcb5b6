"""Studies transfer between tasks: adapters of sources, then what combines them.

  python -m launch.transfer --recipe=configs/finetune/scalearn.py:small
    --workdir=runs/scalearn [--sources=rte,mrpc,cb --targets=cb --seeds=0,1
    --forms=adapter,fusion,scalearn --shots=16]

Trains an adapter for every source, then every form on every target with each
seed, and prints one table. The recipe is a config file with a function
`study(argument)` that gives a glue_jax.studies.transfer.Study. With --shots=k
the targets have k training rows, and the other sources all of theirs. The same
command goes on where it was stopped; what is finished is not run again, also
when the lists grow.
"""

import sys

from absl import app, flags, logging

_RECIPE = flags.DEFINE_string('recipe', None, 'FILE[:ARGUMENT].')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the runs.')
_SOURCES = flags.DEFINE_list('sources', None, "Tasks; None = the recipe's.")
_TARGETS = flags.DEFINE_list('targets', None, "Tasks; None = the recipe's.")
_FORMS = flags.DEFINE_list('forms', None, 'None = all.')
_SEEDS = flags.DEFINE_list('seeds', None, "Numbers; None = the recipe's.")
_SHOTS = flags.DEFINE_integer('shots', None, 'Training rows of the targets.')
_CACHE = flags.DEFINE_string(
  'compilation_cache',
  '~/.cache/glue_jax/xla',
  "Folder for compiled programs, '' for none.",
)


def main(argv: list[str]) -> None:
  """Runs the study and prints its table."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags need --')
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.devices import cpu, distributed
  from glue_jax.studies import transfer
  from glue_jax.training import checkpoint, monitor, runs, train

  logging.get_absl_handler().addFilter(distributed.own_messages)
  try:
    study = transfer.read_study(_RECIPE.value)
    config = transfer.plan(
      study.recipe,
      _SOURCES.value or study.sources,
      _TARGETS.value or study.targets,
      _FORMS.value or tuple(transfer.FORMS),
      [int(seed) for seed in _SEEDS.value or study.seeds],
      _SHOTS.value,
    )
    cpu.keep_memory()
    distributed.compilation_cache(_CACHE.value)
    result = runs.run(config, _WORKDIR.value)
    print(transfer.table(transfer.rows(result, _WORKDIR.value)))
  except train.Interrupted as stopped:
    logging.warning('%s', stopped)
    sys.exit(128 + 15)  # as the shell reports a process that SIGTERM ended
  except (
    ValueError,
    OSError,
    checkpoint.CheckpointError,
    monitor.NonFinite,
  ) as error:
    logging.debug('', exc_info=True)
    sys.exit(f'error: {error}')
  print(f'written to {_WORKDIR.value}')


if __name__ == '__main__':
  flags.mark_flags_as_required(['recipe', 'workdir'])
  app.run(main)
