"""The invented tasks of the miniature: what readers make of them, constants."""

import dataclasses

import pytest
from absl import flags

from glue_jax.data import load, validate
from glue_jax.data.tasks import by_name
from launch.miniatures import glue_superglue_squad_humset as program
from launch.miniatures.parts import schemas
from tests.commands import forget


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  made = tmp_path_factory.mktemp('data')
  for name in schemas.SIZES:
    schemas.write(name, made)
  return made


def tables(name, folder):
  task = by_name.get(name)
  splits = (task.train_split, *task.eval_splits)
  return {split: load.load(task, split, folder) for split in splits}


@pytest.mark.parametrize('name', schemas.SIZES)
def test_files_are_read_and_splits_share_no_text(folder, tmp_path, name):
  found = tables(name, folder)
  assert all(table.labelled for table in found.values())
  findings = validate.splits(found, by_name.get(name).train_split)
  assert not [f.message for f in findings if f.leaks]
  schemas.write(name, tmp_path)
  for split, table in tables(name, tmp_path).items():
    assert table.fingerprint == found[split].fingerprint
  schemas.write(name, tmp_path, seed=1)
  again = tables(name, tmp_path)
  assert all(again[s].fingerprint != found[s].fingerprint for s in found)


def test_the_layouts_are_the_twelve(folder):
  assert len(schemas.SIZES) == 12
  shapes = {
    (task.kind, task.style, task.columns, task.unanswerable)
    for task in map(by_name.get, schemas.SIZES)
  }
  assert len(shapes) == 12
  assert (folder / 'MNLI' / 'dev_mismatched.tsv').is_file()
  assert (folder / 'squad_v2' / 'train-v2.0.json').is_file()


@pytest.mark.parametrize(
  'name, labels, value',
  [
    ('sst2', [0, 1, 1, 1], 0.75),
    ('mnli', [2, 2, 0, 1], 0.5),
    ('stsb', [1.0, 2.0, 3.0, 5.0], 0.0),
    ('multirc', [1, 0, 0, 1], 2 * 0.5 / 1.5),  # F1 of "all are right"
    ('squad_v1', [['x b'], ['x b'], ['c b'], ['d']], 0.625),
    ('squad_v2', [[], [], [], ['x b']], 0.75),
    ('humset_sectors', [[0], [0], [0], [0, 1]], None),
  ],
)
def test_the_best_constant_answer(folder, name, labels, value):
  task = by_name.get(name)
  split = task.train_split
  table = load.load(task, split, folder).take(range(4))
  rows = [{**row, 'label': x} for row, x in zip(table.rows, labels)]
  table = dataclasses.replace(table, rows=rows)
  if value is None:  # every sector: F1 of 1 for 0, 2 * .25 / 1.25 for 1
    value = (1 + 0.4) / 11
  assert program.constant(table, table) == pytest.approx(value)


def test_the_best_place_of_an_entity(folder):
  task = by_name.get('record')
  table = load.load(task, 'train', folder)
  count = len(set(table.groups()))
  first = sum(row['label'] for row in table.rows if row['idx'].endswith('-0'))
  assert program.constant(table, table) == max(first, count - first) / count


@pytest.mark.parametrize('value, reached', [(0.9, True), (0.6, False)])
def test_half_of_the_way_is_required(monkeypatch, capsys, value, reached):
  before = set(flags.FLAGS)
  program.define_flags()
  flags.FLAGS(['prog', '--tasks=sst2,wsc'])
  asked = []

  def run(config, workdir):
    asked.append((config.task.name, config.train.steps))
    return {'primary': {'value': value}}

  monkeypatch.setattr(program.runs, 'run', run)
  try:
    assert program.main([]) is reached
  finally:
    forget(before)
  assert asked == [('sst2', program.STEPS), ('wsc', program.STEPS)]
  said = capsys.readouterr().out
  assert ('MISSED' in said) is not reached and 'sst2' in said
