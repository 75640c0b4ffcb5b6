"""Data selection beside the authors' package, and its growth.

Both sides select from the same JSONL files, each a command of its own from its
start to the last byte written, in turn on the same cores; figures are medians
over the turns. Rows:

  end_to_end   fit, weights, resample; documents/s
  cpu          seconds of all cores for the same
  peak_memory  of a command with all its processes (sums of resident memory, so
               pages that they share count twice), MB
  growth       ours alone on generated texts, for each of --growth: documents/s,
               seconds, seconds of all cores, MB
  weights      largest relative difference of the two sides' log weights

  python -m launch.benchmark selection --json=FILE [--raw=DIR --target=FILE]

Without --raw, texts are generated. The peer needs `pip install
'glue_jax[bench]'`.
"""

import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from absl import app, flags

from glue_jax.data.selection import corpus_files
from launch.benchmarks.parts import rows

FLAGS = flags.FLAGS
WORDS = 50000  # vocabulary of generated texts
LENGTH = 128  # words of a document in the comparison, as in the paper
GROWTH_LENGTH = 40
PART = 10  # one document in so many is selected
RATIO, MEGABYTES, LINEAR = 3.0, 1000.0, 1.2
_BLOCK = 10000


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  rows.define_file()
  flags.DEFINE_list('raw', [], 'Files or folders of text; default: generated.')
  flags.DEFINE_list('target', [], 'The same for the target.')
  flags.DEFINE_integer('documents', 10000, 'Most documents of the comparison.')
  flags.DEFINE_list(
    'growth', ['125000', '500000', '2000000'], 'Sizes; empty: none.'
  )
  flags.DEFINE_integer('turns', 3, 'Turns of either side; 0: no comparison.')
  flags.DEFINE_integer('threads', 2, 'Cores and processes of either side.')
  flags.DEFINE_string('work_dir', None, 'For the texts, several GB.')


def generated(count: int, length: int, seed: int) -> Iterator[str]:
  """Yields documents of `length` words with a Zipf distribution of `seed`."""
  rng = np.random.default_rng(seed)
  names = np.array([f'w{i}' for i in range(WORDS)], object)
  names = names[rng.permutation(WORDS)]
  edges = np.cumsum(1 / np.arange(1, WORDS + 1))
  for start in range(0, count, _BLOCK):
    size = min(_BLOCK, count - start)
    drawn = edges.searchsorted(rng.random((size, length)) * edges[-1])
    yield from map(' '.join, names[drawn])


def chunks(paths: Sequence[str], length: int) -> Iterator[str]:
  """Yields the words of text files, `length` at a time; rests are dropped."""
  for source in corpus_files.find(paths):
    words: list[str] = []
    (piece,) = corpus_files.cut([source], 1)
    for batch in corpus_files.batches(piece, corpus_files.Documents()):
      for text in batch.texts:
        words += text.split()
      whole = len(words) - len(words) % length
      for start in range(0, whole, length):
        yield ' '.join(words[start : start + length])
      del words[:whole]


def write(path: pathlib.Path, texts: Iterator[str], most: int) -> int:
  """Writes at most so many texts as JSONL; returns how many."""
  count = 0
  with path.open('w') as file:
    for count, text in enumerate(texts, 1):
      file.write(json.dumps({'text': text}) + '\n')
      if count == most:
        break
  return count


def measure(command: Sequence[str]) -> tuple[float, float, float]:
  """Runs a command; returns seconds, seconds of all cores, peak memory in MB.

  Raises:
    subprocess.CalledProcessError: it failed; its messages are on stderr.
  """
  import psutil

  start, before, peak = time.perf_counter(), _cores(), 0
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  tree = psutil.Process(process.pid)
  while process.poll() is None:
    peak = max(peak, _resident(psutil, tree))
    time.sleep(0.05)
  seconds, cpu = time.perf_counter() - start, _cores() - before
  if process.returncode:
    raise subprocess.CalledProcessError(process.returncode, command)
  return seconds, cpu, peak / 1e6


def _cores() -> float:
  """Seconds of all cores of the commands that ended, and their processes."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def _resident(psutil, tree) -> int:
  total = 0
  try:
    for process in (tree, *tree.children(recursive=True)):
      total += process.memory_info().rss
  except psutil.NoSuchProcess:  # it ended just now
    pass
  return total


def commands(folder: pathlib.Path, k: int, length: int) -> dict[str, list[str]]:
  """The commands of both sides, with empty folders `ours` and `peer`."""
  for side in ('ours', 'peer'):
    shutil.rmtree(folder / side, ignore_errors=True)
    (folder / side).mkdir()
  same = [f'--raw={folder}/raw.jsonl', f'--target={folder}/target.jsonl']
  same += [f'--k={k}', f'--min_length={length}', f'--workers={FLAGS.threads}']
  ours = ['launch.select_data', f'--out={folder}/ours', '--format=jsonl']
  peer = [
    'launch.benchmarks.parts.selection_peer',
    f'--out={folder}/peer/selected',
  ]
  return {
    'ours': [sys.executable, '-m', *ours, '--noreport', *same],
    'peer': [sys.executable, '-m', *peer, f'--work={folder}/peer', *same],
  }


def difference(folder: pathlib.Path) -> float:
  """Largest relative difference of log weights, of our selected documents."""
  weights = folder / 'peer' / 'log_importance_weights'
  shards = [np.load(weights / f'{i}.npy') for i in range(FLAGS.threads)]
  table = np.loadtxt(
    folder / 'ours' / 'documents.tsv',
    skiprows=1,
    usecols=(0, 5),
    delimiter='\t',
  )
  ids = table[:, 0].astype(int)
  # Document i is number i // S of the peer's shard i mod S.
  theirs = np.array([shards[i % len(shards)][i // len(shards)] for i in ids])
  return float(np.max(np.abs(table[:, 1] - theirs) / np.abs(theirs)))


def compare(folder: pathlib.Path) -> list[dict[str, Any]]:
  """Rows of both sides on the same texts."""
  if FLAGS.raw:
    corpora = chunks(FLAGS.raw, LENGTH), chunks(FLAGS.target, LENGTH)
  else:
    corpora = (
      generated(FLAGS.documents, LENGTH, seed=0),
      generated(FLAGS.documents // 20, LENGTH, seed=1),
    )
  count = write(folder / 'raw.jsonl', corpora[0], FLAGS.documents)
  write(folder / 'target.jsonl', corpora[1], FLAGS.documents)
  measurements: dict[str, list] = {'ours': [], 'peer': []}
  for _ in range(FLAGS.turns):
    # Words may be several tokens, never fewer than one.
    for side, command in commands(folder, count // PART, LENGTH).items():
      measurements[side].append(measure(command))
  about = {
    'documents': count,
    'texts': 'files' if FLAGS.raw else 'generated',
    'turns': FLAGS.turns,
  }
  seconds, cpu, memory = (
    [
      statistics.median(turn[i] for turn in measurements[side])
      for side in measurements
    ]
    for i in range(3)
  )
  worst = difference(folder)
  return [
    row('end_to_end', *(count / s for s in seconds), 'documents/s', **about),
    row('cpu', *cpu, 's', **about),
    row('peak_memory', *memory, 'MB', **about),
    {'name': 'weights', 'difference': worst} | about,
  ]


def row(name: str, ours: float, peer: float, unit: str, **more: Any) -> dict:
  """A row of both sides; `ratio` is ours to the peer's."""
  sides = {'ours': ours, 'peer': peer, 'ratio': ours / peer}
  return {'name': name, **sides, 'unit': unit, **more}


def grow(folder: pathlib.Path, count: int) -> dict[str, Any]:
  """A row for ours on so many generated documents."""
  length = GROWTH_LENGTH
  write(folder / 'raw.jsonl', generated(count, length, seed=0), count)
  write(folder / 'target.jsonl', generated(5000, length, seed=1), count)
  command = commands(folder, count // PART, length)['ours']
  seconds, cpu, memory = measure(command)
  return {
    'name': 'growth',
    'documents': count,
    'words': length,
    'ours': count / seconds,
    'unit': 'documents/s',
    'seconds': seconds,
    'cpu': cpu,
    'MB': memory,
  }


def bars(measured: Sequence[dict[str, Any]]) -> dict[str, bool]:
  """Whether each requirement that was measured is met."""
  named = {entry['name']: entry for entry in measured}
  growth = [entry for entry in measured if entry['name'] == 'growth']
  met = {}
  if 'end_to_end' in named:
    ratio = named['end_to_end']['ratio']
    met[f'{ratio:.2f} times the peer, at least {RATIO:g}'] = ratio >= RATIO
    worst = named['weights']['difference']
    met[f'log weights differ by {worst:.1e}, at most 1e-9'] = worst <= 1e-9
  if growth:
    # Of the cores' time, because another load on the machine isn't growth.
    costs = [entry['cpu'] / entry['documents'] for entry in growth]
    times = max(costs) / costs[0]
    met[f'cost of a document {times:.2f} of the first, at most {LINEAR:g}'] = (
      times <= LINEAR
    )
    peak = max(entry['MB'] for entry in growth)
    met[f'{peak:.0f} MB, below {MEGABYTES:g}'] = peak < MEGABYTES
  return met


def main(argv: list[str]) -> int:
  """Measures, prints the rows, exits 1 if a requirement is missed."""
  del argv
  if bool(FLAGS.raw) != bool(FLAGS.target):
    raise app.UsageError('--raw and --target go together')
  cores = sorted(os.sched_getaffinity(0))[: FLAGS.threads]
  os.sched_setaffinity(0, cores)
  measured = []
  with tempfile.TemporaryDirectory(dir=FLAGS.work_dir) as name:
    folder = pathlib.Path(name)
    if FLAGS.turns:
      measured += rows.collect(compare(folder), FLAGS.json, json.dumps)
    for count in map(int, FLAGS.growth):
      measured.append(grow(folder, count) | {'cores': len(cores)})
      print(json.dumps(measured[-1]), flush=True)
      rows.write(measured, FLAGS.json)
  met = bars(measured)
  for text, good in met.items():
    print(f'{"ok    " if good else "MISSED"} {text}')
  return 0 if all(met.values()) else 1
