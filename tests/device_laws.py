"""Run by laws_test.py on 4 devices: every method's steps are those of one.

  python -m tests.device_laws CASES [DEVICES]

CASES is JSON {method: changes of the tiny config}.
"""

import json
import sys
from unittest import mock

import jax
import numpy as np

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.training import begin
from tests.conftest import tiny_config
from tests.law_cases import Case

# Adam turns the last bit of a vanishing gradient into a step of the rate's
# size.
CLOSE = dict(atol=1e-5, rtol=0)


def trained(name, changes, devices):
  """Parameters, metrics and logits of 4 steps on so many devices."""

  # Where there are experts, they are spread over two of the devices.
  expert = 2 if devices > 1 and changes['model'].get('ffn') == 'experts' else 1

  def make(_):
    return sharding.make_mesh(
      data=1, fsdp=-1, expert=expert, devices=jax.devices()[:devices]
    )

  with mock.patch.object(begin, 'make_mesh', make):
    params, *said = Case(name, tiny_config(**changes)).trained(4)
  return tree.flatten(params), said


def close(ours, theirs):
  """Fails beyond the bound; from 16 on, beyond 8 last digits of a float32.

  MoEBERT's distillation adds up to 98, whose last digit is 8e-6; inserted
  tokens of course learning to 192 over 279 tokens, summed in another order.
  """
  digits = 8 * np.spacing(np.abs(np.float32(ours)).max())
  bound = CLOSE | dict(atol=max(CLOSE['atol'], digits))
  np.testing.assert_allclose(ours, theirs, **bound)


def main(cases, devices='4'):
  for name, changes in json.loads(cases).items():
    (one, said), (four, heard) = (
      trained(name, changes, count) for count in (1, int(devices))
    )
    assert one.keys() == four.keys(), name
    for leaf, value in one.items():
      where = f'{name}: {leaf}'
      np.testing.assert_allclose(four[leaf], value, **CLOSE, err_msg=where)
    jax.tree.map(close, said, heard)
  print('equal', *json.loads(cases))


if __name__ == '__main__':
  main(*sys.argv[1:])
