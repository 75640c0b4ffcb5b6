"""Tunes thresholds and the temperature of a finished run on labelled rows.

  python -m launch.probe calibrate --workdir=runs/cola
  python -m launch.probe calibrate --workdir=runs/topics --metric=micro_f1
  python -m launch.probe calibrate --workdir=runs/rte --nothresholds

Writes model/decisions.json into the run's folder (of every seed), which from
then on launch.predict, launch.evaluate, launch.export and launch.submit use and
name; delete it to go without. Beside it reliability.png, before and after.

Temperature (Guo et al. 2017): logits are divided by the T that has the least
negative log-likelihood; it changes probabilities, no label. ECE: 15 bins of
equal width of the likeliest class's probability (multilabel: of every label's),
the mean of |share that is right - mean probability| weighted by rows.

Thresholds (two classes: of the second one; multilabel) maximise the task's
first metric, or --metric: accuracy, f1, macro_f1, micro_f1, matthews;
multilabel macro_f1 (one a label, as it is a mean over labels), or micro_f1 and
exact_accuracy (one for all, as these aren't). Scores of the rows tuned on are
optimistic: keep a test split for the figure that you report.
"""

from absl import flags

from launch.cli import command

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this probe."""
  command.define_run('which', 'data_dir', 'batch_size')
  flags.DEFINE_string(
    'split', None, "Split to tune on; default: the task's first evaluation one."
  )
  flags.DEFINE_bool(
    'thresholds', None, 'Tune thresholds; default: where the task has them.'
  )
  flags.DEFINE_bool('temperature', True, 'Tune the temperature.')
  flags.DEFINE_string(
    'metric', None, "What thresholds maximise; default: the task's first."
  )


def main(argv: list[str]) -> None:
  """Tunes every seed of the run and prints what was found."""
  del argv
  # Imported here so that a wrong flag answers at once.
  from glue_jax.inference import calibrate
  from glue_jax.reporting import tables
  from glue_jax.weights import run_folder

  runs = run_folder.list_runs(FLAGS.workdir, FLAGS.stage, FLAGS.seed)
  if len({run.stage for run in runs}) > 1:
    run_folder.one(FLAGS.workdir, None, runs[0].seed)  # says which there are
  for run in runs:
    tuned, said = calibrate.calibrate(
      run.path,
      FLAGS.split,
      FLAGS.which,
      FLAGS.thresholds,
      FLAGS.temperature,
      FLAGS.metric,
      FLAGS.data_dir,
      FLAGS.batch_size,
    )
    print(f'{run.path}: {said}')
    rows = [
      {'metric': name, 'untuned': value, 'tuned': tuned.scores['tuned'][name]}
      for name, value in tuned.scores['untuned'].items()
    ]
    ece = {'untuned': tuned.ece['before'], 'tuned': tuned.ece['after']}
    print(tables.results_table([*rows, {'metric': 'ECE', **ece}]))
    print('\n'.join(tuned.notes))
    print(f'written to {run.path}/model/decisions.json and reliability.png')
