"""What a step would hold in memory, of tiny runs; nothing of them is run."""

from glue_jax import tree
from glue_jax.probes import step_memory
from glue_jax.training.begin import begin
from tests.conftest import tiny_config


def test_parameters_optimizer_and_buffers_of_the_first_step():
  lora = step_memory.of_step(tiny_config(methods=(('lora', dict(rank=2)),)))
  full = step_memory.of_step(tiny_config())
  assert full['trained'] == full['parameters']
  assert lora['trained'] < lora['parameters'] < 2 * full['parameters']
  for row in (lora, full):
    # Two moments of each leaf that learns, and counts of steps.
    assert 0 < row['optimizer'] - 2 * row['trained'] < 100
    assert row['peak'] > row['temporary'] > 0
  assert lora['optimizer'] < full['optimizer']


def test_a_later_step_learns_what_its_hooks_say():
  config = tiny_config(methods=(('gradual_unfreezing', {}),))
  run = begin(config, 0, total=16)
  whole = tree.size(run.parts.params)
  early, late = (step_memory.later_step(run, n, 4, 16) for n in (0, 14))
  assert early['learning'] < late['learning'] == whole
  assert early['optimizer_mb'] < late['optimizer_mb']
  assert late['temporary_mb'] > 0 and run.host.step == 0
