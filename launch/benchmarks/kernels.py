"""Pallas kernels: what lowers for TPU and GPU, and times on the device here.

Every module `launch/benchmarks/parts/kernels_<name>.py` gives `lowerings()`,
whose programs are lowered without the device, and `timings()`, which run on the
one that is here. Rows: {"kernel", "platform", "shape", "lowers"} and {"kernel",
"name", "shape", "device", "ours", "reference", "floor", "ratio", "unit"}. The
floor is the larger of bytes over the copy rate and operations over the matrix
rate, both measured in the same run; ratio is reference / ours. Where no kernel
serves the device, `ours` is what the public function chooses there.

With --compile the lowerings go through the compilers of chips that need not be
here, see parts/compiling.py: {"kernel", "chip", "shape", "compiles"} and what
the compiler counts.

  python -m launch.benchmark kernels --json=FILE [--compile=v5e,sm_90]
"""

import importlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
from absl import app, flags

from glue_jax.kernels import lowering
from launch.benchmarks.parts import compiling, rows, timing

FLAGS = flags.FLAGS
FOLDER = pathlib.Path(__file__).parent / 'parts'


def define_flags() -> None:
  """Defines the flags; only of the benchmark that runs."""
  rows.define_file()
  flags.DEFINE_list('kernels', None, 'Which kernels; all by default.')
  flags.DEFINE_integer('turns', 5, 'Runs of each side for a time.')
  flags.DEFINE_boolean('lower', True, 'Lower for TPU and GPU.')
  flags.DEFINE_list(
    'compile', [], f'Chips to compile for: {", ".join(compiling.CHIPS)}.'
  )
  flags.DEFINE_string('shape', '', 'Lower and compile shapes that hold this.')
  flags.DEFINE_boolean('time', True, 'Time on this device.')


def names() -> list[str]:
  """Names of the kernels that have rows here."""
  paths = sorted(FOLDER.glob('kernels_*.py'))
  return [path.stem.removeprefix('kernels_') for path in paths]


def main(argv: list[str]) -> int:
  """Lowers, measures, prints the rows, writes `--json`; 1 if one fails."""
  del argv
  wanted = FLAGS.kernels or names()
  unknown = sorted(set(wanted) - set(names()))
  if unknown:
    raise app.UsageError(f'no kernels {unknown}; there are {names()}')
  _check_chips(FLAGS.compile)
  measured = rows.collect(measure(wanted), FLAGS.json, line)
  failed = [row for row in measured if row.get('lowers') is False]
  print(f'{len(measured)} rows, {len(failed)} that do not lower')
  refused = [row for row in measured if row.get('compiles') is False]
  if FLAGS.compile:
    print(f'{len(refused)} that do not compile')
  return 1 if failed or refused else 0


def measure(wanted: list[str]) -> Iterator[dict[str, Any]]:
  """Rows of the kernels named."""
  for name in wanted:
    module = importlib.import_module(f'launch.benchmarks.parts.kernels_{name}')
    cases = [case for case in module.lowerings() if FLAGS.shape in case[2]]
    if FLAGS.lower:
      yield from (_lowered(*case) for case in cases)
    for chip in FLAGS.compile:
      platform = 'tpu' if chip in compiling.TPUS else 'gpu'
      yield from (_compiled(chip, *c) for c in cases if c[1] == platform)
    if FLAGS.time:
      rates = timing.copy_rate(), timing.matrix_rate()
      yield from (_timed(*case, *rates) for case in module.timings())


def line(row: dict[str, Any]) -> str:
  """A row with numbers of four digits."""
  short = {
    key: f'{value:.4g}' if isinstance(value, float) else value
    for key, value in row.items()
  }
  return rows.line(short)


def _lowered(kernel, platform, shape, fn, args):
  row = {'kernel': kernel, 'platform': platform, 'shape': shape}
  try:
    lowering.lower(fn, platform, args)
  except Exception as error:  # whatever the compiler says is the finding
    return row | {'lowers': False, 'error': str(error).splitlines()[0]}
  return row | {'lowers': True}


def _check_chips(chips):
  unknown = sorted(set(chips) - set(compiling.CHIPS))
  if unknown:
    raise app.UsageError(f'no chips {unknown}; there are {compiling.CHIPS}')
  for chip in chips:
    if lacking := compiling.missing(chip):
      raise app.UsageError(lacking)


def _compiled(chip, kernel, platform, shape, fn, args):
  del platform
  row = {'kernel': kernel, 'chip': chip, 'shape': shape}
  try:
    counts = compiling.compile_for(chip, fn, args)
  except Exception as error:  # whatever the compiler says is the finding
    return row | {'compiles': False, 'error': str(error).splitlines()[0]}
  return row | {'compiles': True} | counts


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
