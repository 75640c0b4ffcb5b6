"""Pallas kernels: what lowers for TPU and GPU, and times on the device here.

Every module `launch/benchmarks/_kernels_<name>.py` gives `lowerings()`, whose
programs are lowered without the device, and `timings()`, which run on the one
that is here. Rows: {"kernel", "platform", "shape", "lowers"} and {"kernel",
"name", "shape", "device", "ours", "reference", "floor", "ratio", "unit"}. The
floor is the larger of bytes over the copy rate and operations over the matrix
rate, both measured in the same run; ratio is reference / ours. Where no kernel
serves the device, `ours` is what the public function chooses there.

  python -m launch.benchmark kernels --json=FILE
"""

import importlib
import json
import pathlib
from typing import Any

import jax
from absl import flags

from glue_jax.kernels import lowering
from launch.benchmarks.parts import timing

FLAGS = flags.FLAGS
FOLDER = pathlib.Path(__file__).parent / 'parts'


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  flags.DEFINE_string('json', None, 'File for the rows.')
  flags.DEFINE_list('kernels', None, 'Which kernels; all by default.')
  flags.DEFINE_integer('turns', 5, 'Runs of each side for a time.')
  flags.DEFINE_boolean('lower', True, 'Lower for TPU and GPU.')
  flags.DEFINE_boolean('time', True, 'Time on this device.')


def names() -> list[str]:
  """Names of the kernels that have rows here."""
  found = sorted(FOLDER.glob('kernels_*.py'))
  return [path.stem.removeprefix('kernels_') for path in found]


def main(argv: list[str]) -> None:
  """Lowers, measures, prints the rows, writes `--json`."""
  del argv
  wanted = FLAGS.kernels or names()
  unknown = sorted(set(wanted) - set(names()))
  if unknown:
    raise SystemExit(f'no kernels {unknown}; there are {names()}')
  rows = []
  for name in wanted:
    module = importlib.import_module(f'launch.benchmarks.parts.kernels_{name}')
    if FLAGS.lower:
      rows += [show(_lowered(*case)) for case in module.lowerings()]
    if FLAGS.time:
      rates = timing.copy_rate(), timing.matrix_rate()
      rows += [show(_timed(*case, *rates)) for case in module.timings()]
  failed = [row for row in rows if row.get('lowers') is False]
  print(f'{len(rows)} rows, {len(failed)} that do not lower')
  if FLAGS.json:
    pathlib.Path(FLAGS.json).write_text(json.dumps(rows, indent=2) + '\n')
  if failed:
    raise SystemExit(1)


def show(row: dict[str, Any]) -> dict[str, Any]:
  """Prints a row and gives it back."""
  number = lambda x: f'{x:.4g}' if isinstance(x, float) else str(x)
  print(*(f'{key}={number(value)}' for key, value in row.items()), flush=True)
  return row


def _lowered(kernel, platform, shape, fn, args):
  row = {'kernel': kernel, 'platform': platform, 'shape': shape}
  try:
    lowering.lower(fn, platform, args)
  except Exception as error:  # whatever the compiler says is the finding
    return row | {'lowers': False, 'error': str(error).splitlines()[0]}
  return row | {'lowers': True}


def _timed(kernel, shape, ours, reference, args, moved, operations, copy, dot):
  times = timing.alternate(
    [jax.jit(ours), jax.jit(reference)], args, FLAGS.turns
  )
  return {
    'kernel': kernel,
    'name': 'time',
    'shape': shape,
    'device': jax.devices()[0].device_kind,
    'ours': 1e3 * times[0],
    'reference': 1e3 * times[1],
    'floor': 1e3 * max(moved / copy, operations / dot),
    'ratio': times[1] / times[0],
    'unit': 'ms',
  }
