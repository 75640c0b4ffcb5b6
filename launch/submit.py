"""Makes the file that a benchmark's board takes, and checks it.

  python -m launch.submit --benchmark=glue --run=runs/cola --run=runs/mnli \\
    --output=glue.zip
  python -m launch.submit --benchmark=squad --run=runs/squad_v2 \\
    --output=predictions.json

GLUE and SuperGLUE (--benchmark=superglue): each run gives the files of its task
(MNLI's also AX.tsv, superglue_rte's also AX-b.jsonl and AX-g.jsonl, from the
same model). Tasks without a run are filled with a constant, because the boards
take complete zips only; the table printed and written beside the zip says
which. MultiRC is filled by its test file, in --data_dir or $GLUE_JAX_DATA. A
run of several stages gives those of every stage, or of --stage. Instead of a
run, --predictions=RTE.tsv=FILE takes what launch.predict wrote.
SQuAD: {id: text} of --split; with SQuAD 2.0 also <output>_odds.json.
"""

from absl import app, flags

from launch.cli import command

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this command."""
  flags.DEFINE_enum(
    'benchmark', None, ['glue', 'superglue', 'squad'], 'Whose board.'
  )
  flags.DEFINE_multi_string('run', [], 'Folder of a run; may be repeated.')
  flags.DEFINE_multi_string(
    'predictions', [], 'FILE_IN_ZIP=PATH.jsonl; may be repeated.'
  )
  command.define_which()
  command.define_choice()
  flags.DEFINE_string('split', 'validation', 'Split for SQuAD.')
  flags.DEFINE_string('output', None, 'File to write.')
  flags.DEFINE_string('data_dir', None, 'Data folder, if not that of the run.')
  flags.mark_flags_as_required(['benchmark', 'output'])


def main(argv: list[str]) -> None:
  """Checks the flags and writes the submission."""
  del argv
  if not FLAGS.run and not FLAGS.predictions:
    raise app.UsageError('give --run or --predictions')
  squad = FLAGS.benchmark == 'squad'
  if squad and (len(FLAGS.run) != 1 or FLAGS.predictions):
    raise app.UsageError('--benchmark=squad takes exactly one --run')
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.inference import open_run, submit_runs
  from glue_jax.reporting import outputs

  given = [entry.partition('=')[2] for entry in FLAGS.predictions]
  outputs.refuse(FLAGS.output, given)

  def opener(workdir, splits):
    return open_run.open_run(
      workdir, FLAGS.which, splits=splits, data_dir=FLAGS.data_dir
    )

  folders = submit_runs.folders(FLAGS.run, FLAGS.seed, FLAGS.stage)
  if squad:
    if len(folders) > 1:
      raise ValueError(f'{FLAGS.run[0]} has several stages; choose --stage')
    said = submit_runs.write_squad(
      FLAGS.output, folders[0], FLAGS.split, opener
    )
  else:
    board = submit_runs.boards()[FLAGS.benchmark]
    records = submit_runs.records(
      board, folders, FLAGS.predictions, opener, FLAGS.data_dir
    )
    said = submit_runs.write_zip(board, FLAGS.output, records, FLAGS.data_dir)
  print(said)
  print(f'written to {FLAGS.output} and read back')


if __name__ == '__main__':
  command.run(__doc__, define_flags, main, computes=True)
