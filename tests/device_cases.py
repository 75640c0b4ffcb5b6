"""Runs tiny configs on the devices this process has; for device_laws_test.py.

  python -m tests.device_cases CASES OUT [coordinator process_id]

CASES is JSON {name: {'changes': ..., 'devices': n}}; OUT/<name>/ becomes the
workdir. A case whose workdir has a checkpoint goes on from it.
"""

import json
import os
import pathlib
import sys


def main(cases: str, out: str, *process: str) -> None:
  import jax

  if process:
    jax.distributed.initialize(process[0], 2, int(process[1]))
  from glue_jax.training import train
  from tests import small_users
  from tests.conftest import tiny_config

  for name, case in json.loads(cases).items():
    stop = case.get('stop')
    config = tiny_config(**case['changes'])
    workdir = pathlib.Path(out) / name
    try:
      if stop:
        _stop_after(train, stop)
      with small_users.named():
        train.train(config, workdir, 0, allow_config_change=True)
    except train.Interrupted:
      assert stop, name
  print('done', len(os.listdir(out)))


def _stop_after(train, steps):
  """Makes the next run save and stop after a number of steps."""

  class Stop(train.Signals):
    calls = 0

    @property
    def stop(self):
      Stop.calls += 1
      return Stop.calls >= steps

    @stop.setter
    def stop(self, value):
      pass

  train.Signals = Stop


if __name__ == '__main__':
  main(*sys.argv[1:])
