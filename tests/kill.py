"""Kills a run at random moments, again and again, and compares the end.

  python -m tests.kill --kills=10 --out=FOLDER

Two runs of one config: one is let run, the other is killed (kill -9) at random
moments and started again until it is done. Their parameters, metrics and
predictions must be the same bytes. Exits 1 if they are not. Most checkpoints
fall between two lines of metrics.
"""

import argparse
import os
import pathlib
import random
import subprocess
import sys
import time

from tests.conftest import ROOT

CONFIG = """
from tests.conftest import tiny_config


def get_config():
  # No two of these fall together by themselves: a checkpoint lies between two
  # lines of metrics and two evaluations, rows fill no last batch.
  return tiny_config(
    data=dict(train_limit=61, eval_limit=30),
    train=dict(
      epochs=15, log_every=7, eval_every=10, save_every=3, accumulate=2,
      select='best',
    ),
  )
"""

FILES = (
  'metrics.jsonl',
  'predictions/validation.jsonl',
  'result.json',
  'model/params.safetensors',
)


def start(config: pathlib.Path, workdir: pathlib.Path) -> subprocess.Popen:
  """Starts the run, or goes on with it, as a process of its own."""
  command = [sys.executable, '-m', 'launch.train', f'--config={config}']
  with (workdir.parent / 'log.txt').open('a') as log:
    return subprocess.Popen(
      [*command, f'--workdir={workdir}'],
      cwd=ROOT,
      env=dict(os.environ, PYTHONPATH=str(ROOT)),
      stdout=log,
      stderr=log,
    )


def finish(process: subprocess.Popen, workdir: pathlib.Path) -> None:
  if process.wait(timeout=500):
    text = (workdir.parent / 'log.txt').read_text()
    raise RuntimeError(f'the run failed:\n{text[-3000:]}')


def kill_once(process: subprocess.Popen, workdir: pathlib.Path, rng) -> bool:
  """Kills at a random moment after the next line of metrics; False if done."""
  metrics = workdir / 'metrics.jsonl'

  def size():
    return metrics.stat().st_size if metrics.exists() else 0

  before = size()
  while process.poll() is None and size() <= before:
    time.sleep(0.005)
  time.sleep(rng.uniform(0, 0.5))
  if process.poll() is not None:
    return False
  process.kill()
  process.wait()
  return True


def compare(out: pathlib.Path, kills: int, seed: int = 0) -> tuple[int, list]:
  """Runs both; returns (kills that hit, files that differ)."""
  out.mkdir(parents=True, exist_ok=True)
  config = out / 'config.py'
  config.write_text(CONFIG)
  whole, broken = out / 'whole', out / 'broken'
  finish(start(config, whole), whole)
  rng, hits = random.Random(seed), 0
  for _ in range(kills):
    process = start(config, broken)
    if not kill_once(process, broken, rng):
      break
    hits += 1
  finish(start(config, broken), broken)

  def same(f):
    return (whole / f).read_bytes() == (broken / f).read_bytes()

  return hits, [file for file in FILES if not same(file)]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--kills', type=int, default=10)
  parser.add_argument('--out', type=pathlib.Path, required=True)
  arguments = parser.parse_args()
  hits, different = compare(arguments.out, arguments.kills)
  print(f'killed {hits} times; files that differ: {different or "none"}')
  sys.exit(bool(different) or hits < arguments.kills)


if __name__ == '__main__':
  main()
