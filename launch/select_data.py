"""Selects documents that are like a target's from a large raw corpus (DSIR).

  python -m launch.select_data --raw=crawl/ --target=books.txt --k=100000 \\
    --out=selected --workers=8
  python -m launch.select_data --raw='crawl/*.jsonl.gz' --id_key=url \\
    --k=100000 --out=selected --target=a.jsonl --target=b1.txt,b2.txt \\
    --separate_targets

A document is a line of a text file or the `--text_key` of a record of a .jsonl
file (also .gz); --chunk_words cuts it to pieces of like length, which the
method wants: its weights grow with the length. Left in --out: selected.txt (or
as --format says), documents.tsv (id, file, line, chunk, target and log weight
of each), report.json and report.png.

With --beam the same selection runs on Apache Beam (pip install
'glue_jax[beam]'); what follows `--` goes to Beam:

  ... --beam -- --direct_running_mode=multi_processing --direct_num_workers=2
  ... --beam -- --runner=DataflowRunner --project=P --region=R \\
    --temp_location=gs://B/tmp --setup_file=./setup.py
  ... --beam -- --runner=FlinkRunner --flink_master=HOST:8081 \\
    --environment_type=DOCKER --environment_config=IMAGE --parallelism=64
  ... --beam -- --runner=SparkRunner --spark_master_url=spark://HOST:7077 \\
    --environment_type=DOCKER --environment_config=IMAGE

There --raw, --target and --out may be anything that Beam's file systems read
(gs://, s3://, hdfs://); selected-* and documents-* are a pair of files for each
piece of the raw corpus, in order.
"""

import json
import pathlib
import tempfile

from absl import flags

from launch.cli import command

FLAGS = flags.FLAGS


def define_flags() -> None:
  """The flags of this command."""
  text, number = flags.DEFINE_string, flags.DEFINE_integer
  flags.DEFINE_multi_string(
    'raw', None, 'Files, folders or patterns to select from, with commas.'
  )
  flags.DEFINE_multi_string(
    'target', None, 'The same for a target; one flag for each target.'
  )
  number('k', None, 'Documents to select.', lower_bound=1)
  text('out', None, 'Folder for the results.')
  flags.DEFINE_enum(
    'format', 'txt', ['txt', 'jsonl', 'txt.gz', 'jsonl.gz'], 'Of the result.'
  )
  flags.DEFINE_bool(
    'separate_targets', False, 'A part of k for each target, not one mixture.'
  )
  flags.DEFINE_list(
    'shares', None, 'Parts of k; default: by the number of n-grams.'
  )
  number('ngrams', 2, 'Longest n-gram.', lower_bound=1)
  number('buckets', 10000, 'Buckets that n-grams are hashed to.', lower_bound=1)
  flags.DEFINE_float('laplace', 0.0, 'Added to each bucket of a target.')
  number('min_length', 100, 'Least tokens of a document.', lower_bound=0)
  flags.DEFINE_bool('quality', False, "Also the paper's quality filter.")
  number('chunk_words', 0, 'Cut documents after so many words; 0: do not.')
  flags.DEFINE_enum(
    'draw',
    'weighted',
    ['weighted', 'top_k', 'random'],
    'By importance, the largest weights, or valid documents at random.',
  )
  number('seed', 0, 'Of the draw.')
  text(
    'fit',
    'all',
    'N-grams to fit raw on: all, a number, auto: 100000 * buckets.',
  )
  text('text_key', 'text', 'Key of the text in JSONL records.')
  text('id_key', '', 'Key of an id that must be unique in JSONL records.')
  flags.DEFINE_bool('report', True, 'Compare with a random set and top-k.')
  number('workers', 1, 'Processes on this machine.', lower_bound=1)
  number('shards', 0, 'Pieces to cut raw into; changes no result; 0: by size.')
  text('work_dir', None, 'For temporary files of the size of raw.')
  flags.DEFINE_bool('beam', False, 'Run on Apache Beam.')
  flags.mark_flags_as_required(['raw', 'target', 'k', 'out'])


def _run(find):
  """The selection that the flags describe; `find` lists a corpus."""
  from glue_jax.data.selection import corpus_files, pieces
  from glue_jax.data.selection import run as selection_run

  targets = [tuple(find(entry.split(','))) for entry in FLAGS.target]
  if not FLAGS.separate_targets:
    targets = [sum(targets, ())]
    if FLAGS.shares:
      raise ValueError('--shares goes with --separate_targets')
  return selection_run.Run(
    raw=tuple(find([p for entry in FLAGS.raw for p in entry.split(',')])),
    targets=tuple(targets),
    k=FLAGS.k,
    settings=pieces.Settings(
      documents=corpus_files.Documents(
        FLAGS.text_key, FLAGS.id_key, FLAGS.chunk_words
      ),
      n=FLAGS.ngrams,
      buckets=FLAGS.buckets,
      min_length=FLAGS.min_length,
      quality=FLAGS.quality,
    ),
    laplace=FLAGS.laplace,
    shares=_shares(),
    draw=FLAGS.draw,
    seed=FLAGS.seed,
    fit_limit=_fit_limit(),
    form=FLAGS.format,
    report=FLAGS.report,
  )


def _shares() -> tuple[float, ...] | None:
  try:
    return tuple(map(float, FLAGS.shares)) if FLAGS.shares else None
  except ValueError as error:
    raise ValueError(f'--shares: {error}; expected numbers') from None


def _fit_limit() -> int | None:
  limits = {'all': None, 'auto': 100000 * FLAGS.buckets}
  if FLAGS.fit in limits:
    return limits[FLAGS.fit]
  if not FLAGS.fit.isdecimal():
    raise ValueError(f'--fit={FLAGS.fit}; expected all, auto or a number')
  return int(FLAGS.fit)


def select(beam_flags: list[str]) -> dict:
  """Runs the selection; returns its report."""
  if FLAGS.beam:
    from glue_jax.data.selection import beam, beam_files

    run = _run(beam_files.find)
    report = beam.run(run, FLAGS.out, beam_flags, FLAGS.shards)
    if run.report:
      png = f'{FLAGS.out.rstrip("/")}/report.png'
      with tempfile.TemporaryDirectory() as folder:
        _figure(report, part := pathlib.Path(folder) / 'report.png')
        with beam_files.whole(png) as file:
          file.write(part.read_bytes())
    return report
  if beam_flags:
    raise ValueError(f'arguments {beam_flags} go with --beam')
  from glue_jax.data.selection import corpus_files, local
  from glue_jax.reporting import files, outputs

  run = _run(corpus_files.find)
  read = [file.path for part in (run.raw, *run.targets) for file in part]
  outputs.refuse(FLAGS.out, read)
  with files.whole_folder(FLAGS.out) as folder:
    report = local.run(run, folder, FLAGS.workers, FLAGS.shards, FLAGS.work_dir)
    path = folder / 'report.json'
    files.replace_text(path, json.dumps(report, indent=2) + '\n')
    if run.report:
      _figure(report, path.with_suffix('.png'))
  return report


def _figure(report: dict, path: pathlib.Path) -> None:
  """Writes the report's figure."""
  from glue_jax.reporting import plots

  plots.plot_selection(report, path, f'k = {report["k"]}')


def main(argv: list[str]) -> None:
  """Selects, and prints the figures."""
  report = select(argv[1:])
  valid, total = report['valid'], report['documents']
  print(f'{report["k"]} of {valid} valid documents ({total} in all)')
  print(f'{"set":<10} {"tokens":>10} {"tokens/doc":>10} {"KL reduction":>12}')
  for name, row in report['sets'].items():
    print(
      f'{name:<10} {row["tokens"]:10d} {row["mean_tokens"]:10.1f} '
      f'{row["kl_reduction"]:12.4f}'
    )
  print(f'written to {FLAGS.out}')


if __name__ == '__main__':
  command.run(__doc__, define_flags, main, arguments=True)
