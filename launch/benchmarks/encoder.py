"""Training and inference of MiniLM-L6 beside `transformers` in PyTorch.

Both sides do the same work in processes of their own, taking turns in one run
on the same cores; figures are medians over the turns. Rows:

  train_padded        batch 32 x 128, all tokens real; examples/s
  train_real_lengths  RTE, MRPC and SST-2 in equal parts: our length buckets
                      against the peer's padding to 128; examples/s
  infer_b32 infer_b1  forward passes at length 128; examples/s
  matrix_rate         the step's matrix products alone, GFLOP/s
  floor               those products in ms, beside our whole step
  peak_rss            of the two training processes, MB
  overhead            host time of the loop in ms, beside our step
  first_step          seconds from the command to the first step: with an empty
                      compilation cache, beside those with the cache filled

  python -m launch.benchmark encoder --json=FILE [--data_dir=DIR]

Without --data_dir, lengths are drawn from the quantiles in parts/lengths.py.
"""

import pathlib
import statistics
import tempfile
from typing import Any

import numpy as np
from absl import app, flags

from launch.benchmarks.parts import lengths, rows, worker
from launch.benchmarks.parts import loop as _loop

FLAGS = flags.FLAGS
ROWS = (
  'train_padded',
  'train_real_lengths',
  'infer_b32',
  'infer_b1',
  'floor',
  'overhead',
  'first_step',
)
SIZES = {
  'layers': 5,
  'keys_only': 1,
  'width': 384,
  'heads': 12,
  'inner': 1536,
  'length': 128,
}
BATCH = 32
UP, DOWN = 'higher is better', 'lower is better'


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  rows.define_file()
  flags.DEFINE_string('data_dir', None, 'Folder of the glue_data layout.')
  flags.DEFINE_string(
    'weights', None, "HF folder; default: MiniLM-L6's package."
  )
  flags.DEFINE_integer('threads', 0, 'Cores of either side; 0 for all.')
  flags.DEFINE_integer('turns', 7, 'Turns of either side for each figure.')
  flags.DEFINE_list('rows', list(ROWS), 'Which measurements to make.')


class Comparison:
  """Two workers, the batches they share, and the rows found so far."""

  def __init__(self, weights: str | None, threads: int, turns: int, folder):
    settings = {'weights': weights, 'threads': threads}
    self.ours = worker.Worker('launch.benchmarks.parts.ours', settings)
    self.peer = worker.Worker('launch.benchmarks.parts.peer', settings)
    self.turns = turns
    self.folder = pathlib.Path(folder)
    self.rows: list[dict[str, Any]] = []
    self.device = self.ours('device')
    self.peer_device = self.peer('device')

  def write(self, batches: list[dict[str, np.ndarray]]) -> list[str]:
    """Writes batches for the workers; returns their paths."""
    paths = []
    for batch in batches:
      number = len(list(self.folder.iterdir()))
      paths.append(str(self.folder / f'{number}.npz'))
      np.savez(paths[-1], **batch)
    return paths

  def alternate(
    self, op: str, ours: list[str], peer: list[str], repeat: int = 1
  ) -> tuple[list[float], list[float]]:
    """Returns seconds of each turn of ours and of the peer."""
    seconds = []
    for turn in range(self.turns + 1):
      pair = [
        side(op, paths=paths, repeat=repeat)
        for side, paths in ((self.ours, ours), (self.peer, peer))
      ]
      if turn:  # The first compiles, and fills caches.
        seconds.append(pair)
    return tuple(zip(*seconds))

  def add(self, name: str, ours: float, peer: float, unit: str, **more: Any):
    """Adds a row; `ratio` is ours to peer."""
    row = {'name': name, 'ours': ours, 'peer': peer, 'ratio': ours / peer}
    row |= {'unit': unit, 'device': self.device, **more}
    self.rows.append(row)
    print(line(row), flush=True)

  def rates(
    self,
    name: str,
    op: str,
    ours: list[str],
    peer: list[str],
    size: int,
    **more,
  ) -> float:
    """Adds a row of examples/s; returns our median seconds for all batches."""
    repeat = more.pop('repeat', 1)
    times = self.alternate(op, ours, peer, repeat)
    count = size * repeat
    medians = [statistics.median(t) for t in times]
    best = {
      f'{side}_best': count / min(t) for side, t in zip(('ours', 'peer'), times)
    }
    more |= best | {'peer_device': self.peer_device, 'turns': self.turns}
    self.add(
      name,
      count / medians[0],
      count / medians[1],
      'examples/s',
      better=UP,
      **more,
    )
    return medians[0] / repeat


def line(row: dict[str, Any]) -> str:
  """Returns a row of the printed table."""
  figures = f'{row["ours"]:10.3f} {row["peer"]:10.3f} {row["ratio"]:8.3f}'
  return f'{row["name"]:<26} {figures}  {row["unit"]:<12} {row["better"]}'


def random_batch(rows: int, length: int) -> dict[str, np.ndarray]:
  """Returns a batch of real tokens only."""
  rng = np.random.default_rng(0)
  ids = rng.integers(1000, 30000, (rows, length)).astype(np.int32)
  return {
    'input_ids': ids,
    'attention_mask': np.ones_like(ids),
    'token_type_ids': np.zeros_like(ids),
    'labels': rng.integers(0, 2, rows).astype(np.int32),
    'weight': np.ones(rows, np.float32),
    'idx': np.arange(rows, dtype=np.int32),
  }


def training(c: Comparison, wanted: set[str], data_dir: str | None) -> float:
  """Rows of training and memory; returns the seconds of our padded step."""
  paths = c.write([random_batch(BATCH, SIZES['length'])])
  step = c.rates('train_padded', 'train', paths, paths, BATCH)
  c.add(
    'peak_rss',
    c.ours('rss'),
    c.peer('rss'),
    'MB',
    better=DOWN,
    after='training',
  )
  if 'train_real_lengths' in wanted:
    pairs, about = lengths.batches(data_dir, FLAGS.weights, BATCH)
    ours, peer = (c.write(list(batches)) for batches in zip(*pairs))
    c.rates(
      'train_real_lengths',
      'train',
      ours,
      peer,
      BATCH * len(pairs),
      lengths=about,
    )
  return step


def inference(c: Comparison, wanted: set[str]) -> None:
  """Rows of forward passes."""
  for size, repeat in ((32, 1), (1, 20)):
    if f'infer_b{size}' in wanted:
      paths = c.write([random_batch(size, SIZES['length'])])
      c.rates(f'infer_b{size}', 'infer', paths, paths, size, repeat=repeat)


def floor(c: Comparison, step: float) -> None:
  """Rows of the matrix products of the padded step."""
  costs = {}
  for side in (c.ours, c.peer):
    products = side('products', rows=BATCH * SIZES['length'], sizes=SIZES)
    costs[side] = [sum(column) for column in zip(*products)]
  rate = {side: work / s / 1e9 for side, (s, work) in costs.items()}
  c.add('matrix_rate', rate[c.ours], rate[c.peer], 'GFLOP/s', better=UP)
  c.add(
    'floor',
    costs[c.ours][0] * 1e3,
    step * 1e3,
    'ms',
    better=UP,
    note='matrix products / whole step, both ours',
  )


def loop(c: Comparison, wanted: set[str], step: float, data_dir: str) -> None:
  """Rows of the loop around the step: host time, time to the first step."""
  with tempfile.TemporaryDirectory() as folder:
    if 'overhead' in wanted:
      c.add(
        'overhead',
        _loop.host_seconds(folder) * 1e3,
        step * 1e3,
        'ms',
        better=DOWN,
        note='host time of the loop / our step',
      )
    if 'first_step' in wanted:
      cold, warm = _loop.first_steps(folder, FLAGS.weights, data_dir)
      c.add(
        'first_step',
        warm['seconds'],
        cold['seconds'],
        's',
        better=DOWN,
        note='cache filled / cache empty',
        cold=cold,
        warm=warm,
      )


def main(argv: list[str]) -> None:
  """Measures, prints the table, writes `--json`."""
  del argv
  unknown = set(FLAGS.rows) - set(ROWS)
  if unknown:
    raise app.UsageError(f'unknown rows {sorted(unknown)}; have {list(ROWS)}')
  wanted = set(FLAGS.rows)
  if FLAGS.weights is None:
    FLAGS.weights = lengths.packaged_weights()
  with tempfile.TemporaryDirectory() as folder:
    c = Comparison(FLAGS.weights, FLAGS.threads, FLAGS.turns, folder)
    print(f'ours: {c.device}\npeer: {c.peer_device}')
    print(f'{"":<26} {"ours":>10} {"peer":>10} {"ratio":>8}')
    step = None
    if wanted & {'train_padded', 'train_real_lengths', 'floor', 'overhead'}:
      step = training(c, wanted, FLAGS.data_dir)
    inference(c, wanted)
    if 'floor' in wanted:
      floor(c, step)
    c.ours.close()
    c.peer.close()
    loop(c, wanted, step, FLAGS.data_dir)
  rows.write(c.rows, FLAGS.json)
