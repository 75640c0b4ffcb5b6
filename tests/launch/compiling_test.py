"""Kernels compile for chips that aren't here, where their compilers are."""

import functools
import importlib.util

import jax
import numpy as np
import pytest
from absl import app, flags

from glue_jax.kernels.disentangled import disentangled as kernel
from launch.benchmarks import kernels
from launch.benchmarks.parts import compiling


@pytest.mark.parametrize('chip', ['v5e', 'sm_90'])
def test_a_kernel_compiles(chip):
  if lacking := compiling.missing(chip):
    pytest.skip(lacking)
  platform = 'tpu' if chip in compiling.TPUS else 'gpu'
  x = jax.ShapeDtypeStruct((1, 130, 1, 64), 'bfloat16')
  table = jax.ShapeDtypeStruct((9, 1, 64), 'bfloat16')
  run = functools.partial(
    kernel.position_scores,
    position_queries=None,
    rows=np.arange(259) % 9,
    implementation=platform,
  )
  found = compiling.compile_for(chip, run, (x, x, table))
  if platform == 'tpu':
    # A tile and a part of one, less than twice what their bytes take.
    assert 100 < found['bundles'] < 2 * 240
  else:
    assert found['spills'] == 0
    assert 0 < found['registers'] <= 255


def test_chips_and_compilers_that_are_not_there_are_named(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  for chip, message in (
    ('v9', r"no chips \['v9'\]; there are .*'v5e'"),
    ('v5p', r"v5p needs libtpu: pip install 'jax\[tpu\]'"),
    ('sm_80', 'sm_80 needs triton: pip install triton'),
  ):
    values = flags.FlagValues()
    monkeypatch.setattr(kernels, 'FLAGS', values)
    flags.DEFINE_list('compile', [chip], '', flag_values=values)
    flags.DEFINE_list('kernels', None, '', flag_values=values)
    values.mark_as_parsed()
    with pytest.raises(app.UsageError, match=message):
      kernels.main([])
