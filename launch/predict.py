"""Predicts with a finished run.

  python -m launch.predict --workdir=runs/rte --split=test --output=rte.jsonl
  python -m launch.predict --workdir=runs/sst2 --input=reviews.txt --format=tsv
  echo 'what a film' | python -m launch.predict --workdir=runs/sst2 --input=-

Own texts: one a line; for tasks with two texts, both with a tab between them;
or a .jsonl file with the task's columns. Rows stay in order. A record has idx,
prediction (label name, number or text) and probabilities by label name.

  python -m launch.predict --workdir=runs/rte --split=validation --seed=0 \\
    --contribution=BOARD/contributions/NAME --authors='A. Name' \\
    --contact=a@example.org

writes a split as a contribution to a leaderboard (see launch.leaderboard), or
adds a task or a seed to one; metadata comes from the run's record.
"""

import json
import sys
from typing import Any

from absl import app, flags, logging

from glue_jax.inference import open_run
from glue_jax.reporting import files as files_lib
from launch import leaderboard

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_WHICH = flags.DEFINE_enum(
  'which',
  None,
  ['best', 'last'],
  'Which checkpoint; by default the one that the config selects.',
)
_SEED = flags.DEFINE_integer('seed', None, 'Which seed of several.')
_SPLIT = flags.DEFINE_string('split', None, 'Split of the task to predict.')
_INPUT = flags.DEFINE_string('input', None, "File of own texts, '-' = stdin.")
_OUTPUT = flags.DEFINE_string('output', '-', "File to write, '-' = stdout.")
_FORMAT = flags.DEFINE_enum(
  'format', None, ['jsonl', 'tsv'], 'Default: by the ending of --output.'
)
_DATA_DIR = flags.DEFINE_string(
  'data_dir', None, 'Data folder, if not that of the run.'
)
_CONTRIBUTION = flags.DEFINE_string(
  'contribution', None, "Folder of a leaderboard's contribution to write."
)
leaderboard.author_flags()


def contribute(found: Any) -> None:
  """Writes the predictions of a split as a contribution.

  Args:
    found: `predict.Predictions`.

  Raises:
    ValueError: the run left no record, or the contribution can't be extended.
  """
  from glue_jax.leaderboard.contribution import write

  folder = write.find_runs([_WORKDIR.value], _SEED.value)[0]
  record = json.loads((folder / 'run.json').read_text())
  run = write.Run(
    found.task.name,
    found.split,
    int(record['result']['seed']),
    list(found.records()),
    record,
  )
  if files_lib.is_first_process():
    files = write.write(_CONTRIBUTION.value, [run], leaderboard.author())
    print(f'{", ".join(files)} written to {_CONTRIBUTION.value}')


def main(argv: list[str]) -> None:
  """Checks the flags, loads the run, writes the predictions."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags need --')
  if (_SPLIT.value is None) == (_INPUT.value is None):
    raise app.UsageError('give either --split or --input')
  if _CONTRIBUTION.value and not _SPLIT.value:
    raise app.UsageError('--contribution needs --split')
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # the reader of checkpoints talks
  # Imported here so that --help and a wrong flag answer at once.
  from glue_jax.devices import cpu
  from glue_jax.inference import predict
  from glue_jax.training import checkpoint

  cpu.keep_memory()
  splits = (_SPLIT.value,) if _SPLIT.value else ()
  try:
    run = open_run.open_run(
      _WORKDIR.value, _WHICH.value, _SEED.value, splits, _DATA_DIR.value
    )
    if _SPLIT.value:
      found = predict.predict_split(run, _SPLIT.value)
    else:
      rows = predict.read_texts(_INPUT.value, run.task)
      found = predict.predict_rows(run, rows, _INPUT.value)
    if _CONTRIBUTION.value:
      contribute(found)
      return
    by_ending = 'tsv' if _OUTPUT.value.endswith('.tsv') else 'jsonl'
    predict.write(found, _OUTPUT.value, _FORMAT.value or by_ending)
  except (ValueError, OSError, checkpoint.CheckpointError) as error:
    logging.debug('', exc_info=True)
    sys.exit(f'error: {error}')
  if _OUTPUT.value != '-':
    print(f'{len(found)} predictions written to {_OUTPUT.value}')


if __name__ == '__main__':
  flags.mark_flag_as_required('workdir')
  app.run(main)
