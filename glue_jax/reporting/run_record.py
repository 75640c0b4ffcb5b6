"""What a run leaves behind when it ends: record, predictions, figures."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from glue_jax.config import config as config_lib
from glue_jax.reporting import files, plots
from glue_jax.reporting.tables import aggregate

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


def write_run(
  config: Any,
  workdir: str | os.PathLike,
  task: Any,
  result: Mapping[str, Any],
  predictions: Mapping[str, Any],
  facts: Mapping[str, Any],
) -> None:
  """Writes what a finished run leaves beside its model, on process 0.

  `run.json`, `predictions/<split>.jsonl`, `curves.png`, and for labelled splits
  `predictions/<split>.png` (confusion or predicted against gold).

  Args:
    config: the completed config.
    workdir: the run's folder, with its metrics.jsonl.
    task: the task's record.
    result: the content of result.json: 'seed', 'step', 'metrics'.
    predictions: {split: Predictions}.
    facts: figures for the run record.
  """
  workdir = pathlib.Path(workdir)
  for split, split_predictions in predictions.items():
    split_predictions.save(workdir / 'predictions' / f'{split}.jsonl')
  if not files.is_first_process():
    return
  for split, split_predictions in predictions.items():
    plots.plot_predictions(
      split_predictions, workdir / 'predictions' / f'{split}.png'
    )
  title = f'{task.name}, seed {result["seed"]}, {result["step"]} steps'
  plots.plot_curves(workdir / 'metrics.jsonl', workdir / 'curves.png', title)
  record = run_record(config, task=task.name, result=dict(result), **facts)
  files.replace_text(workdir / 'run.json', json.dumps(record, indent=2) + '\n')


def write_seeds(
  workdir: str | os.PathLike, results: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
  """Joins the seeds of a run: mean, sd and all points, and their figures.

  Writes `result.json`, `curves.png` (all seeds and their mean) and
  `scores.png` into `workdir`, which has the seeds' folders `seed_<s>`.

  Args:
    workdir: the run's folder.
    results: {seed: content of its result.json}.

  Returns:
    The content of the joint result.json; its 'metrics' are as of `aggregate`
    for each split, its 'primary' value is the mean over seeds.
  """
  workdir = pathlib.Path(workdir)
  first = next(iter(results.values()))
  metrics = {
    split: aggregate([r['metrics'][split] for r in results.values()])
    for split in first['metrics']
  }
  joint = {
    'task': first['task'],
    'seeds': list(results),
    'metrics': metrics,
    'primary': None,
    'rows': first.get('rows', {}),
    'notes': list(
      dict.fromkeys(n for r in results.values() for n in r.get('notes', ()))
    ),
  }
  if any(r.get('transductive') for r in results.values()):
    joint['transductive'] = True
  if first.get('primary'):
    values = [r['primary']['value'] for r in results.values()]
    spread = aggregate([{'value': value} for value in values])['value']
    joint['primary'] = dict(first['primary']) | {
      'value': spread['mean'],
      'sd': spread['sd'],
      'values': spread['values'],
    }
  if files.is_first_process():
    title = f'{first["task"]}, {len(results)} seeds'
    metric_files = {
      f'seed {seed}': workdir / f'seed_{seed}' / 'metrics.jsonl'
      for seed in results
    }
    plots.plot_curves(metric_files, workdir / 'curves.png', title)
    points = {
      f'{split} {name}': value['values']
      for split, values in metrics.items()
      for name, value in values.items()
      if name not in ('loss', 'perplexity') and not name.endswith('_thresh')
    }
    if points:
      plots.plot_scores(points, workdir / 'scores.png', title)
    files.replace_text(
      workdir / 'result.json', json.dumps(joint, indent=2) + '\n'
    )
  return joint


def run_record(config: Any, **facts: Any) -> dict[str, Any]:
  """All that is needed to tell how a result came about, JSON-able.

  Args:
    config: the completed config.
    **facts: what the run measured of itself: seconds, examples_per_s,
      programs_compiled and so on; they stand beside the rest.
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
    'peak_memory_bytes': peak_memory(),
    **facts,
  }


def versions() -> dict[str, str]:
  """Versions of Python and of the packages that shape a result."""
  installed = {'python': platform.python_version()}
  for name in _PACKAGES:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      installed[name] = importlib.metadata.version(name)
  return installed


def git_state() -> dict[str, Any] | None:
  """Commit of the code and whether it was changed; None without git."""
  root = pathlib.Path(__file__).resolve().parents[2]
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
  peaks = {'host': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
  statistics = jax.local_devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in statistics:
    peaks['device'] = int(statistics['peak_bytes_in_use'])
  return peaks


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
