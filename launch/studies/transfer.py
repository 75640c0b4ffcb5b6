"""Studies transfer between tasks: adapters of sources, then what combines them.

  python -m launch.study transfer --recipe=configs/finetune/scalearn.py:small
    --workdir=runs/scalearn [--sources=rte,mrpc,cb --targets=cb --seeds=0,1
    --forms=adapter,fusion,scalearn --shots=16]

Trains an adapter for every source, then every form on every target with each
seed, and prints one table. The recipe is a config file with a function
`study(argument)` that gives a glue_jax.studies.transfer.Study. With --shots=k
the targets have k training rows, and the other sources all of theirs. The same
command goes on where it was stopped; what is finished is not run again, also
when the lists grow.
"""

from absl import flags

from launch.cli import command, config_files

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this study."""
  flags.DEFINE_string('recipe', None, 'FILE[:ARGUMENT].')
  flags.DEFINE_string('workdir', None, 'Folder of the runs.')
  flags.DEFINE_list('sources', None, "Tasks; None = the recipe's.")
  flags.DEFINE_list('targets', None, "Tasks; None = the recipe's.")
  flags.DEFINE_list('forms', None, 'None = all.')
  flags.DEFINE_list('seeds', None, "Numbers; None = the recipe's.")
  flags.DEFINE_integer('shots', None, 'Training rows of the targets.')
  command.define_cache()
  flags.mark_flags_as_required(['recipe', 'workdir'])


def main(argv: list[str]) -> None:
  """Runs the study and prints its table."""
  del argv
  # Imported here so that a wrong flag answers at once.
  from glue_jax.devices import cpu, distributed
  from glue_jax.studies import transfer
  from glue_jax.training import runs

  command.show_training()
  path, colon, argument = FLAGS.recipe.partition(':')
  recipe = f'{config_files.find(path)}{colon}{argument}'
  study = transfer.read_study(recipe)
  config = transfer.plan(
    study.recipe,
    FLAGS.sources or study.sources,
    FLAGS.targets or study.targets,
    FLAGS.forms or tuple(transfer.FORMS),
    [int(seed) for seed in FLAGS.seeds or study.seeds],
    FLAGS.shots,
  )
  cpu.keep_memory()
  distributed.compilation_cache(FLAGS.compilation_cache)
  result = runs.run(config, FLAGS.workdir)
  print(transfer.table(transfer.rows(result, FLAGS.workdir)))
  print(f'written to {FLAGS.workdir}')
