"""What a run leaves behind when it ends: record, tables, model card."""

import contextlib
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax import config as config_lib

_PACKAGES = (
  'glue_jax',
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'orbax-checkpoint',
  'grain',
  'numpy',
  'scikit-learn',
  'scipy',
  'tokenizers',
)


def aggregate(
  results: Sequence[Mapping[str, float]],
) -> dict[str, dict[str, Any]]:
  """Mean, sample standard deviation and all points of the same metrics.

  Args:
    results: one {metric: value} a seed.

  Returns:
    {metric: {'mean', 'sd', 'values'}}; sd is None for one seed.

  Raises:
    ValueError: the seeds do not have the same metrics.
  """
  if not results:
    raise ValueError('no results to aggregate')
  for result in results[1:]:
    if result.keys() != results[0].keys():
      odd = sorted(result.keys() ^ results[0].keys())
      raise ValueError(f'seeds differ in their metrics: {odd}')
  table = {}
  for name in results[0]:
    values = [float(result[name]) for result in results]
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    table[name] = {'mean': float(np.mean(values)), 'sd': sd, 'values': values}
  return table


def results_table(
  rows: Sequence[Mapping[str, Any]], markdown: bool = False
) -> str:
  """Rows as an aligned table; columns are the keys in order of appearance.

  Args:
    rows: cells by column; floats are shown with 4 decimals, None and missing
      cells as '-'.
    markdown: with bars, for a README or a model card.
  """
  if not rows:
    raise ValueError('no rows to show')
  columns = list(dict.fromkeys(key for row in rows for key in row))
  cells = [[_cell(row.get(column)) for column in columns] for row in rows]
  numeric = [
    all(isinstance(row.get(c), (int, float, type(None))) for row in rows)
    for c in columns
  ]
  widths = [
    max(len(str(column)), *(len(line[i]) for line in cells))
    for i, column in enumerate(columns)
  ]

  def line(values):
    parts = [
      str(v).rjust(w) if right else str(v).ljust(w)
      for v, w, right in zip(values, widths, numeric)
    ]
    text = ' | '.join(parts) if markdown else '  '.join(parts)
    return f'| {text} |' if markdown else text.rstrip()

  if markdown:
    rule = [
      '-' * (w - 1) + (':' if right else '-')
      for w, right in zip(widths, numeric)
    ]
  else:
    rule = ['-' * w for w in widths]
  return '\n'.join([line(columns), line(rule), *map(line, cells)])


def run_record(
  config: Any,
  *,
  wall_seconds: float,
  examples_per_second: float | None = None,
  compile_count: int | None = None,
  programs: Mapping[str, Any] | None = None,
  **figures: Any,
) -> dict[str, Any]:
  """All that is needed to tell how a result came about, JSON-able.

  Args:
    config: the completed config.
    wall_seconds: of the whole run, restarts included where known.
    examples_per_second: real examples trained a second, compilation excluded.
    compile_count: programs compiled.
    programs: what each compiled program was for.
    **figures: further fields.
  """
  import jax

  devices = jax.devices()
  kinds: dict[str, int] = {}
  for device in devices:
    kinds[device.device_kind] = kinds.get(device.device_kind, 0) + 1
  return {
    'finished': datetime.datetime.now(datetime.UTC).isoformat(
      timespec='seconds'
    ),
    'command': [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]],
    'config': config_lib.plain(config),
    'versions': versions(),
    'git': git_state(),
    'devices': {
      'platform': devices[0].platform,
      'kinds': kinds,
      'count': len(devices),
      'processes': jax.process_count(),
    },
    'host': {
      'system': platform.platform(),
      'machine': platform.machine(),
      'cpus': len(os.sched_getaffinity(0))
      if hasattr(os, 'sched_getaffinity')
      else os.cpu_count(),
    },
    'wall_seconds': round(wall_seconds, 3),
    'examples_per_second': examples_per_second,
    'peak_memory_bytes': peak_memory(),
    'compile_count': compile_count,
    'programs': dict(programs or {}),
    **figures,
  }


def versions() -> dict[str, str]:
  """Versions of Python and of the packages that shape a result."""
  found = {'python': platform.python_version()}
  for name in _PACKAGES:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      found[name] = importlib.metadata.version(name)
  return found


def git_state() -> dict[str, Any] | None:
  """Commit of the code and whether it was changed; None without git."""
  root = pathlib.Path(__file__).resolve().parents[1]
  if not (root / '.git').exists():
    return None

  def git(*arguments):
    done = subprocess.run(
      ['git', '-C', str(root), *arguments],
      capture_output=True,
      text=True,
      timeout=10,
      check=True,
    )
    return done.stdout.strip()

  try:
    changed = git('status', '--porcelain', '--untracked-files=no')
    return {'commit': git('rev-parse', 'HEAD'), 'changed': bool(changed)}
  except (OSError, subprocess.SubprocessError):
    return None


def peak_memory() -> dict[str, int]:
  """Peak bytes of the host process and, where reported, of one device."""
  import resource

  import jax

  unit = 1 if sys.platform == 'darwin' else 1024
  found = {'host': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
  statistics = jax.local_devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in statistics:
    found['device'] = int(statistics['peak_bytes_in_use'])
  return found


def model_card(
  task: Any,
  config: Any,
  results: Mapping[str, Mapping[str, float]],
  *,
  record: Mapping[str, Any] | None = None,
  language: str = '',
  weights: str = '',
) -> str:
  """A model card in markdown, with the fields known for sure and no others.

  Args:
    task: the task's record.
    config: the completed config.
    results: {split: {metric: value}} as measured by the run.
    record: the run record.
    language: code of the language, left out if empty.
    weights: where the run started from; empty = random parameters.
  """
  front = [
    'library_name: transformers',
    *([f'language: {language}'] if language else []),
    f'tags: [{task.kind.replace("_", "-")}, {task.name}, jax]',
  ]
  lines = ['---', *front, '---', '', f'# {task.name} {task.kind}', '']
  lines += [
    f'Trained with glue_jax on `{task.name}`'
    f' (columns {", ".join(f"`{c}`" for c in task.columns)}),'
    f' starting from {f"`{weights}`" if weights else "random parameters"}.',
    '',
  ]
  if task.labels:
    lines += ['## Labels', '']
    lines += [f'- {i}: `{name}`' for i, name in enumerate(task.labels)]
    lines.append('')
  if results:
    rows = [
      {'split': split, 'metric': name, 'value': value}
      for split, metrics in results.items()
      for name, value in metrics.items()
    ]
    lines += ['## Results', '', results_table(rows, markdown=True), '']
    lines += ['Values are fractions (1 = 100%); losses are means.', '']
  lines += [
    '## Intended use and limits',
    '',
    f'The model repeats what it learnt from `{task.name}`, errors and biases '
    'of its texts and annotators included. It was scored on the splits above '
    'only; other texts may give other results.',
    '',
  ]
  if record:
    lines += ['## How it was made', '', *_made(record), '']
  lines += ['## Config', '', '```json', config_lib.dumps(config).strip(), '```']
  return '\n'.join(lines) + '\n'


def _made(record: Mapping[str, Any]) -> list[str]:
  devices, git = record.get('devices', {}), record.get('git')
  kinds = devices.get('kinds', {})
  facts = {
    'devices': ', '.join(f'{n} x {kind}' for kind, n in kinds.items()),
    'wall time (s)': record.get('wall_seconds'),
    'examples per second': record.get('examples_per_second'),
    'commit': git and git['commit'] + (' + changes' if git['changed'] else ''),
    'versions': ', '.join(
      f'{k} {v}' for k, v in record.get('versions', {}).items()
    ),
  }
  return [f'- {name}: {value}' for name, value in facts.items() if value]


def read_json(path: str | os.PathLike) -> Any:
  """Reads a JSON file.

  Raises:
    ValueError: missing or not JSON; says which file.
  """
  path = pathlib.Path(path)
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except FileNotFoundError as e:
    raise ValueError(f'{path} is missing') from e
  except ValueError as e:
    raise ValueError(f'{path} is not JSON: {e}') from e


def _cell(value: Any) -> str:
  if value is None:
    return '-'
  if isinstance(value, float):
    return f'{value:.4f}' if math.isfinite(value) else str(value)
  return str(value)
