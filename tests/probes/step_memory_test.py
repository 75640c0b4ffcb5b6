"""What a step would hold in memory, of tiny runs; nothing of them is run."""

import functools

import pytest

from glue_jax import tree
from glue_jax.methods import nf4
from glue_jax.probes import step_memory
from glue_jax.training.begin import begin
from tests.conftest import tiny_config

# BERT has no gate.
LINEAR = tuple(name for name in nf4.TARGETS if name != 'ffn_gate')
ALL = dict(targets=LINEAR, rank=2, dropout=0.1)
METHODS = {
  'full': {},
  'lora': dict(methods=(('lora', ALL),)),
  'qlora': dict(methods=(('qlora', ALL),)),
  'slimfit': dict(
    methods=(('slimfit', dict(freezing_rate=0.9, compress=())),),
    optimizer=dict(warmup=0.0),
  ),
}


@functools.cache
def of(name):
  return step_memory.of_step(tiny_config(**METHODS[name]))


@pytest.mark.parametrize('name', METHODS)
def test_parameters_optimizer_and_buffers_of_the_first_step(name):
  row = of(name)
  assert row['parameters'] < 2 * of('full')['parameters']
  assert (row['trained'] == row['parameters']) == (name == 'full')
  # Two moments and counts of steps; SlimFit keeps those of frozen leaves too.
  kept = row['parameters'] if name == 'slimfit' else row['trained']
  assert 0 < row['optimizer'] - 2 * kept < 400
  parts = ('parameters', 'optimizer', 'others', 'temporary')
  # The batch and the metrics are the rest.
  assert 0 < row['peak'] - sum(row[part] for part in parts) < 8000


def test_a_packed_backbone_takes_less_than_a_frozen_one_than_a_learning_one():
  assert of('qlora')['peak'] < of('lora')['peak'] < of('full')['peak']
  # Neither unpacked kernels nor dropped-out inputs are kept: what LoRA's
  # backward pass needs is what the plain one needs.
  assert of('lora')['temporary'] < of('full')['temporary']
  assert of('qlora')['temporary'] < of('full')['temporary']


def test_a_later_step_learns_what_its_hooks_say():
  config = tiny_config(methods=(('gradual_unfreezing', {}),))
  run = begin(config, 0, total=16)
  whole = tree.size(run.parts.params)
  early, late = (step_memory.later_step(run, n, 4, 16) for n in (0, 14))
  assert early['learning'] < late['learning'] == whole
  assert early['optimizer_mb'] < late['optimizer_mb']
  assert late['temporary_mb'] > 0 and run.host.step == 0
