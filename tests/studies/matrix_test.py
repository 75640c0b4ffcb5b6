"""The matrix: any two parts meet, and work or are refused with a reason."""

import itertools

import pytest

from configs.suites import matrix as cells
from glue_jax.config import config as config_lib
from glue_jax.probes import step_memory
from glue_jax.studies import matrix
from tests.export.bundle_test import save_backbone

# Small enough to be built a hundred times.
SMALL = dict(
  data=dict(
    max_length=8,
    buckets=(8,),
    batch_size=4,
    eval_batch_size=8,
    train_limit=16,
    eval_limit=8,
  ),
  model=dict(
    num_layers=1, hidden_size=16, intermediate_size=32, max_positions=24
  ),
  train=dict(epochs=1),
)
AXES = {axis: list(parts) for axis, parts in cells.AXES.items()}
AXES['backbone'].remove('minilm')  # needs its weights
METHODS = config_lib.facts('methods')


@pytest.mark.parametrize('tune', AXES['tune'])
def test_configs_at_the_size_of_pretrained_weights(tune):
  config = cells.get_config(f'{tune},minilm')
  assert config.task.name == 'sst2' and config.data.train_limit == 5000
  # Penalties read every position, so not configs/glue.py's `first_token`.
  assert config.model.get('stack') == ('reversible' if tune == 'meft' else None)
  config_lib.complete(config)


def test_covering_cells_have_every_pair():
  covered = matrix.covering(AXES)
  for one, two in itertools.combinations(range(len(AXES)), 2):
    axes = list(AXES.values())
    wanted = set(itertools.product(axes[one], axes[two]))
    assert {(cell[one], cell[two]) for cell in covered} == wanted
  assert len(covered) < len(matrix.combinations(AXES)) / 3
  assert covered == matrix.covering(AXES)


def reasons(cell):
  """Words of the errors that the records of a cell's methods announce."""
  return [
    words
    for name in cell
    if name in METHODS
    for words, parts in METHODS[name].refuses.items()
    if set(parts) & set(cell)
  ]


def test_records_refuse_parts_that_there_are():
  parts = set().union(*AXES.values())
  for name, facts in METHODS.items():
    assert facts.axis in ('', 'tune', 'regularizer'), name
    assert set().union(*facts.refuses.values()) <= parts, name


@pytest.mark.parametrize('cell', matrix.covering(AXES), ids='_'.join)
def test_any_two_parts_make_a_step_or_are_refused(cell):
  config = config_lib.override(cells.get_config(','.join(cell)), SMALL)
  config = config_lib.complete(config)
  if words := reasons(cell):
    with pytest.raises(ValueError, match='|'.join(words)):
      step_memory.first_step(config)
  else:
    state, _, step = step_memory.first_step(config)
    assert state.params and step.jaxpr.eqns


def test_unknown_parts_are_named():
  with pytest.raises(ValueError, match="tune: no parts \\['lara'\\]"):
    matrix.choose(AXES, {'tune': ['lara']})
  with pytest.raises(ValueError, match="backbone 'bort'"):
    cells.get_config('lora,bort')
  with pytest.raises(ValueError, match='expected tune,backbone'):
    cells.get_config('lora,bert,adamw,none,more')


def test_a_cell_is_a_run_and_is_read_again(tmp_path):
  config = config_lib.override(cells.get_config('lora,bert'), SMALL)
  labels = {'tune': 'lora'}
  row = matrix.run(config, tmp_path / 'cell', labels)
  assert row['tune'] == 'lora' and 0 <= row['accuracy'] <= 1
  # Two factors of two layers of a block, and a head of 16 x 2 + 2.
  assert row['parameters_trained'] == 2 * 2 * 16 * 4 + 34
  assert row['optimizer_bytes'] >= 2 * 4 * row['parameters_trained']
  assert row['peak_bytes'] > 0 and row['bundle_bytes'] is None
  (tmp_path / 'cell/result.json').unlink()
  assert matrix.run(config, tmp_path / 'cell', labels) == row


def test_what_is_left_of_a_backbone_decides_on_a_bundle(tmp_path):
  backbone = save_backbone(tmp_path / 'backbone', 7)
  sizes = {}
  for tune in ('lora', 'full'):
    config = config_lib.override(cells.get_config(f'{tune},bert'), SMALL)
    config['data'] = config['data'] | {'tokenizer': str(backbone)}
    config['model'] = {'weights': str(backbone), 'fresh': ['head/.*']}
    sizes[tune] = matrix.run(config, tmp_path / tune, {})['bundle_bytes']
  assert sizes['lora'] > 0 and sizes['full'] is None


def test_a_refused_cell_is_a_row_with_the_reason(tmp_path):
  config = config_lib.override(cells.get_config('lora,fnet'), SMALL)
  row = matrix.run(config, tmp_path, {'tune': 'lora'})
  assert 'query' in row['refused'] and 'has no layer' in row['refused']
