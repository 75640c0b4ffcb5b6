"""What surrounds the step: the loop's host time, the time to the first step.

Both run the real command, `launch.train`, in a process of its own.
"""

import json
import pathlib
import subprocess
import sys
import time
from typing import Any

# A model whose step takes no time, with as many leaves as MiniLM-L6: what is
# left of a step's time is the loop.
TINY = dict(
  name='bert',
  preset='minilm_l6',
  hidden_size=8,
  num_heads=1,
  intermediate_size=8,
  max_positions=16,
)
STEPS = 200


def run(
  folder: str, name: str, config: dict[str, Any], cache: str
) -> tuple[float, dict[str, Any]]:
  """Trains a config; returns (seconds of the command, the run's record)."""
  path = pathlib.Path(folder) / f'{name}.py'
  path.write_text(
    'import ml_collections\n\n\ndef get_config():\n'
    f'  return ml_collections.ConfigDict({config!r})\n'
  )
  workdir = path.with_suffix('')
  command = [sys.executable, '-m', 'launch.train', f'--config={path}']
  command += [f'--workdir={workdir}', f'--compilation_cache={cache}']
  start = time.perf_counter()
  done = subprocess.run(command, capture_output=True, text=True)
  seconds = time.perf_counter() - start
  if done.returncode:
    raise SystemExit(f'{command} failed:\n{done.stderr[-3000:]}')
  return seconds, json.loads((workdir / 'run.json').read_text())


def host_seconds(folder: str) -> float:
  """Returns the host's seconds a step (an upper bound: the step is in it)."""
  batch = 32
  config = dict(
    task=dict(name='mini_sentiment'),
    data=dict(
      max_length=16,
      buckets=(16,),
      batch_size=batch,
      train_limit=STEPS * batch,
      eval_limit=batch,
    ),
    model=TINY,
    train=dict(epochs=1),
  )
  _, record = run(folder, 'overhead', config, '')
  return batch / record['examples_per_s']


def first_steps(
  folder: str, weights: str | None, data_dir: str | None
) -> tuple[dict[str, float], dict[str, float]]:
  """Measures the command's time to the first step.

  Args:
    folder: for configs, runs and the cache.
    weights: HF folder, None for fresh weights.
    data_dir: for RTE; None for a generated task.

  Returns:
    (with an empty compilation cache, with that cache filled), each
    {'seconds', 'imports', 'rest'}: until the loop began, and from then on.
  """
  real = bool(data_dir and weights)
  data = dict(max_length=128, buckets=(128,), batch_size=32, eval_limit=32)
  data |= {'data_dir': data_dir} if real else {}
  data |= {'tokenizer': weights} if weights else {}
  model = dict(weights=weights)
  config = dict(
    task=dict(name='rte' if real else 'mini_sentiment'),
    data=data,
    model=model if weights else dict(name='bert', preset='minilm_l6'),
    train=dict(steps=2),
  )
  cache = str(pathlib.Path(folder) / 'cache')
  return tuple(_first(folder, name, config, cache) for name in ('cold', 'warm'))


def _first(folder, name, config, cache):
  seconds, record = run(folder, name, config, cache)
  imports = seconds - record['seconds']
  rest = record['seconds_to_first_step']
  return {'seconds': imports + rest, 'imports': imports, 'rest': rest}
