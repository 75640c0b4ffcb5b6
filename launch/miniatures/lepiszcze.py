"""LEPISZCZE: a task added by one YAML file and its rows, no Python; five seeds.

  python -m launch.miniature lepiszcze

The task (40 symbols, 12 tokens, label = does one of two keywords occur, 200
training rows) is written as task.yaml and rows.jsonl; `launch.data check`,
`launch.train` (a 2-layer encoder of width 64, 30 epochs, batch 16, AdamW 1e-3),
`launch.predict` and `launch.evaluate` are then run on these files, as a user
would. Figures that must be reached: accuracy of 0.95 on 500 fresh rows for each
of five seeds, and the sample standard deviations of accuracy and loss computed
from the prediction files equal to the reported ones to 1e-9. It measures how
easily a task is added and how runs are joined, not language.
"""

import json
import math
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

from absl import flags

from launch.miniatures.parts import verdict

ROOT = pathlib.Path(__file__).parents[2]
SYMBOLS = tuple(f'w{number}' for number in range(40))
KEYWORDS = frozenset(SYMBOLS[:2])
ROWS = {'rows': 200, 'fresh': 500}
REQUIRED, CLOSE = 0.95, 1e-9
PREDICTIONS = 'predictions/validation.jsonl'

TASK = """\
name: keywords
dataset: jsonl:rows.jsonl
columns: {text: text}
target: label
label_names: ['no', 'yes']
kind: classification
metric: [accuracy, f1_macro]
splits:
  train: train
  validation: fresh
max_length: 16
"""

# configs/own_task.py is the recipe: 2 layers of width 64, 30 epochs, batch 16,
# AdamW 1e-3.
SEEDS = '--config.seeds=(0, 1, 2, 3, 4)'
ONCE = '--config.train.eval_every=10000'


def define_flags() -> None:
  """The flags of this miniature."""
  flags.DEFINE_string('workdir', None, 'Folder kept; default: a temporary one.')


def main(argv: list[str]) -> bool:
  """Writes the task, runs the commands, prints the table."""
  del argv
  started = time.time()
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(flags.FLAGS.workdir or folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    write_task(folder)
    done = run(folder)
  print(f'{time.time() - started:.0f} s')
  return done


def write_task(folder: pathlib.Path) -> None:
  """Writes task.yaml and the two JSONL files.

  The rows are drawn without repeats, so no fresh row was trained on.
  """
  rng = random.Random(0)
  seen: set[str] = set()
  for name, count in ROWS.items():
    rows = []
    while len(rows) < count:
      words = [rng.choice(SYMBOLS) for _ in range(12)]
      text = ' '.join(words)
      if text not in seen:
        seen.add(text)
        label = 'yes' if KEYWORDS & set(words) else 'no'
        rows.append({'idx': len(rows), 'text': text, 'label': label})
    lines = ''.join(json.dumps(row) + '\n' for row in rows)
    (folder / f'{name}.jsonl').write_text(lines)
  (folder / 'task.yaml').write_text(TASK)


def command(folder: pathlib.Path, module: str, *arguments: str) -> str:
  """Runs a launcher in `folder`; returns what it prints.

  Raises:
    RuntimeError: it fails; with the end of its messages.
  """
  places = [str(ROOT), os.environ.get('PYTHONPATH', '')]
  done = subprocess.run(
    [sys.executable, '-m', module, *arguments],
    cwd=folder,
    env=os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, places))},
    capture_output=True,
    text=True,
    check=False,
  )
  if done.returncode:
    message = f'{module} {" ".join(arguments)}:\n{done.stdout}{done.stderr}'
    raise RuntimeError(message[-2000:])
  return done.stdout


def run(folder: pathlib.Path) -> bool:
  """Runs all commands; whether both figures are reached."""
  print(command(folder, 'launch.data', 'check', '--task=task.yaml'), end='')
  config = f'--config={ROOT}/configs/own_task.py:task.yaml'
  arguments = (config, SEEDS, ONCE, '--workdir=run')
  print(command(folder, 'launch.train', *arguments), end='')
  result = json.loads((folder / 'run' / 'result.json').read_text())
  scores = [
    read_scores(folder / 'run' / f'seed_{seed}') for seed in result['seeds']
  ]
  same_predictions(folder, 'run/seed_0')
  print(command(folder, 'launch.evaluate', '--workdir=run/seed_0'), end='')
  for seed, (accuracy, loss) in enumerate(scores):
    print(
      f'seed {seed}: accuracy {accuracy:.4f}, loss {loss:.6f} on '
      f'{ROWS["fresh"]} fresh rows'
    )
  least = min(accuracy for accuracy, _ in scores)
  bounds = [verdict.Bound('accuracy', least, '>=', REQUIRED)]
  for name, values in zip(('accuracy', 'loss'), zip(*scores)):
    sd, reported = (
      statistics.stdev(values),
      result['metrics']['validation'][name]['sd'],
    )
    print(
      f'{name}: sample sd {sd:.9f} from the predictions, {reported:.9f} '
      f'reported (difference {abs(sd - reported):.1e})'
    )
    bounds.append(
      verdict.Bound(f'sd of {name}', abs(sd - reported), '<=', CLOSE)
    )
  return verdict.say(*bounds)


def read_scores(folder: pathlib.Path) -> tuple[float, float]:
  """(accuracy, mean negative log probability) by a run's prediction file."""
  rows = [
    json.loads(line) for line in (folder / PREDICTIONS).read_text().splitlines()
  ]
  return (
    statistics.fmean(row['prediction'] == row['label'] for row in rows),
    -statistics.fmean(
      math.log(row['probabilities'][row['label']]) for row in rows
    ),
  )


def same_predictions(folder: pathlib.Path, run_name: str) -> None:
  """Labels the fresh rows as bare texts.

  Raises:
    RuntimeError: a label is another than the run's own.
  """
  lines = (folder / run_name / PREDICTIONS).read_text().splitlines()
  text = command(
    folder, 'launch.predict', f'--workdir={run_name}', '--input=fresh.jsonl'
  )
  ours, theirs = (
    [json.loads(line)['prediction'] for line in side]
    for side in (text.splitlines(), lines)
  )
  if ours != theirs:
    raise RuntimeError("launch.predict differs from the run's predictions")
