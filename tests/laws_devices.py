"""Run by laws_test.py on 4 devices: every method's steps are those of one.

  python -m tests.laws_devices CASES

CASES is JSON {method: changes of the tiny config}.
"""

import json
import sys
from unittest import mock

import jax
import numpy as np

from glue_jax import build, sharding
from tests.conftest import tiny_config
from tests.law_cases import Case

# Adam turns the last bit of a vanishing gradient into a step of the rate's
# size.
CLOSE = dict(atol=1e-5, rtol=0)


def trained(name, changes, devices):
  """Parameters, metrics and logits of 4 steps on so many devices."""
  make = lambda _: sharding.make_mesh(
    data=1, fsdp=devices, devices=jax.devices()[:devices]
  )
  with mock.patch.object(build, 'make_mesh', make):
    params, lines, logits = Case(name, tiny_config(**changes)).trained(4)
  lines = [{key: mean(value) for key, value in line.items()} for line in lines]
  return params, lines, logits


def mean(value):
  """(mean, count) of a metric's (sum, count); others as they are.

  A mean is what a run logs. Of a sum over 16 rows, 98 for MoEBERT's
  distillation, float32's last digit is 8e-6, as large as the bound.
  """
  if not isinstance(value, tuple):
    return value
  total, count = value
  return total / max(count, 1e-30), count


def main(cases):
  for name, changes in json.loads(cases).items():
    one, four = (
      jax.tree_util.tree_leaves_with_path(trained(name, changes, count))
      for count in (1, 4)
    )
    for (path, ours), (same, theirs) in zip(one, four, strict=True):
      where = f'{name}: {jax.tree_util.keystr(path)}'
      assert path == same, where
      np.testing.assert_allclose(theirs, ours, **CLOSE, err_msg=where)
  print('equal', *json.loads(cases))


if __name__ == '__main__':
  main(*sys.argv[1:])
