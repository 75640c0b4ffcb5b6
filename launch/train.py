"""Trains what a config says.

  python -m launch.train --config=configs/quickstart.py --workdir=runs/quick
  python -m launch.train --config=configs/glue.py:rte --config.optimizer.lr=3e-5
    --workdir=runs/rte

The same command goes on with a run that was stopped. On several hosts, start it
on each with --distributed (see launch/clusters).
"""

from absl import app, flags

from launch.cli import command, config_flag

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this command."""
  config_flag.define()
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_bool('print_config', False, 'Print the config and stop.')
  flags.DEFINE_bool(
    'allow_config_change', False, 'Go on with a run under a changed config.'
  )
  flags.DEFINE_integer(
    'few_steps', None, 'Cut every run to so many steps: does it run at all?', 1
  )
  flags.DEFINE_string(
    'profile',
    None,
    'FIRST:COUNT traces COUNT steps from step FIRST on (1 is the first, which '
    'compiles; 20:5 are five of the usual ones) into WORKDIR/profile: '
    'plugins/profile/TIME/HOST.xplane.pb for XProf (xprof --logdir=WORKDIR/'
    'profile), perfetto_trace.json.gz beside it for https://ui.perfetto.dev. '
    'Every stage and seed has its own.',
  )
  command.define_cache()
  flags.DEFINE_enum(
    'distributed',
    'off',
    ['off', 'auto', 'tpu', 'slurm', 'address'],
    'How hosts find each other: a TPU pod, SLURM and Kubernetes tell by '
    'themselves (auto); else give the address.',
  )
  flags.DEFINE_string(
    'coordinator', None, 'host:port of process 0, for --distributed=address.'
  )
  flags.DEFINE_integer('num_processes', None, 'Number of processes.')
  flags.DEFINE_integer('process_id', None, 'Number of this process.')
  flags.DEFINE_integer(
    'start_timeout', 300, 'Seconds to wait for the other processes.', 1
  )
  flags.mark_flag_as_required('config')


def main(argv: list[str]) -> None:
  """Runs the config."""
  del argv
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.config import config

  wanted = FLAGS.config
  if FLAGS.few_steps:
    wanted = config.shortened(wanted, FLAGS.few_steps)
  if FLAGS.print_config:
    print(config.dumps(config.complete(wanted)), end='')
    return
  if FLAGS.workdir is None:
    raise app.UsageError('--workdir is needed')
  from glue_jax.data.tasks import synthetic
  from glue_jax.devices import distributed
  from glue_jax.reporting import outcome
  from glue_jax.training import profile, runs

  window = None if FLAGS.profile is None else profile.parse(FLAGS.profile)
  command.show_training()
  distributed.initialize(
    FLAGS.distributed,
    FLAGS.coordinator,
    FLAGS.num_processes,
    FLAGS.process_id,
    FLAGS.start_timeout,
  )
  distributed.compilation_cache(FLAGS.compilation_cache)
  result = runs.run(
    wanted,
    FLAGS.workdir,
    allow_config_change=FLAGS.allow_config_change,
    profile=window,
  )
  if distributed.is_first():
    print(outcome.table(result, synthetic.bag_of_words_score))
    print(f'written to {FLAGS.workdir}')


if __name__ == '__main__':
  command.run(__doc__, define_flags, main, computes=True)
