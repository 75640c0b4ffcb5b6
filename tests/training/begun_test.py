"""When a config binds, what may change under it, and what is written when."""

import dataclasses
import json

import pytest

from glue_jax.config import config
from glue_jax.training import begun, runs
from glue_jax.training.sections import Schedule
from tests.conftest import tiny_config


def workdir(folder, done=False, saved=True, **changes):
  """A folder as a run of the tiny config leaves it."""
  record = begun.compare(tiny_config(**changes), folder, 0, False)
  folder.mkdir(exist_ok=True)
  record.write()
  if saved:
    step = folder / 'checkpoints/last/8'
    step.mkdir(parents=True)
    (step / 'manifest.json').write_text('{}')
  if done:
    (folder / begun.DONE).write_text('{"step": 8}')
  return folder


LONGER = dict(train=dict(epochs=6))


def test_a_start_that_saved_nothing_binds_nobody(tmp_path):
  folder = workdir(tmp_path, saved=False)
  record = begun.compare(tiny_config(**LONGER), folder, 0, False)
  assert record.changes == [] and not record.finished


@pytest.mark.parametrize(
  'content, said',
  [('{"model_type": "bert"}', 'is not of a run'), ('{"con', 'is not JSON')],
)
def test_a_file_of_others_is_not_replaced(tmp_path, content, said):
  (tmp_path / begun.CONFIG).write_text(content)
  with pytest.raises(ValueError, match=f'config.json {said}'):
    begun.compare(tiny_config(), tmp_path, 0, True)


def test_a_finished_run_is_finished_for_its_own_config_only(tmp_path):
  folder = workdir(tmp_path, done=True)
  assert begun.compare(tiny_config(), folder, 0, False).finished
  with pytest.raises(ValueError, match='is finished, and was') as refused:
    begun.compare(tiny_config(**LONGER), folder, 0, False)
  assert 'config.train.epochs: 2 -> 6' in str(refused.value)
  assert '--allow_config_change with a greater' in str(refused.value)
  assert not begun.compare(tiny_config(**LONGER), folder, 0, True).finished


def test_going_on_is_recorded_and_takes_the_marks_away(tmp_path):
  folder = workdir(tmp_path / 'seed_0', done=True)
  (tmp_path / begun.DONE).write_text('{"seeds": [0]}')
  record = begun.compare(tiny_config(**LONGER), folder, 0, True)
  before = (folder / begun.CONFIG).read_text()
  record.goes_on(8, 24, False)
  assert (folder / begun.CONFIG).read_text() == before
  assert (folder / begun.DONE).is_file()
  record.write([tmp_path])
  assert not (folder / begun.DONE).exists()
  assert not (tmp_path / begun.DONE).exists()
  content = json.loads((folder / begun.CONFIG).read_text())
  assert content['config']['train']['epochs'] == 6
  changes = ['config.train.epochs: 2 -> 6']
  assert content['earlier'] == [{'until_step': 8, 'changes': changes}]
  # What came earlier is no difference, and is kept at the next change.
  assert begun.compare(tiny_config(**LONGER), folder, 0, False).changes == []
  third = begun.compare(tiny_config(train=dict(epochs=9)), folder, 0, True)
  third.goes_on(24, 36, False)
  assert [e['until_step'] for e in third.content['earlier']] == [8, 24]


@pytest.mark.parametrize(
  'total, ended, said',
  [
    (8, False, 'trained to step 8 and 8 are asked for'),
    (4, False, 'trained to step 8 and 4 are asked for'),
    (24, True, 'trained to step 8 and it ended early there'),
  ],
)
def test_a_config_that_would_train_nothing_is_refused(
  tmp_path, total, ended, said
):
  folder = workdir(tmp_path, done=True)
  changes = dict(optimizer=dict(lr=0.5))
  record = begun.compare(tiny_config(**changes), folder, 0, True)
  with pytest.raises(ValueError, match=said):
    record.goes_on(8, total, ended)


def test_a_start_that_fails_writes_nothing(tmp_path):
  folder = tmp_path / 'runs' / 'one'
  with pytest.raises(ValueError, match='tinny'):
    runs.run(tiny_config(model=dict(preset='tinny')), folder)
  assert not (tmp_path / 'runs').exists()
  with pytest.raises(ValueError, match='the workdir is empty'):
    runs.run(tiny_config(), '')


def test_no_stage_is_trained_on_below_one_that_began_from_it(tmp_path):
  stages = (('a', {}), ('b', dict(model=dict(weights='stage:a'))))
  workdir(tmp_path / 'a', done=True)
  workdir(tmp_path / 'b', done=True)
  longer = tiny_config(stages=stages, train=dict(epochs=6))
  with pytest.raises(ValueError, match='stage b was begun from a as it was'):
    runs.run(longer, tmp_path, allow_config_change=True)


@pytest.mark.parametrize(
  'changes',
  [
    dict(loggers=('jsonl',)),
    dict(train=dict(keep=5, save_every=3, max_programs=2)),
  ],
)
def test_what_bears_on_no_result_may_change(tmp_path, changes):
  folder = workdir(tmp_path, done=True)
  record = begun.compare(tiny_config(**changes), folder, 0, False)
  assert record.finished and record.changes == []
  assert record.content['config'] != tiny_config().to_dict()
  other = tiny_config(**changes, optimizer=dict(lr=0.5))
  with pytest.raises(
    ValueError, match=r'now: config.optimizer.lr: 0.01 -> 0.5'
  ):
    begun.compare(other, folder, 0, False)


def test_the_free_keys_are_keys():
  known = {f'config.{key}' for key in config.DEFAULTS}
  fields = {f'config.train.{f.name}' for f in dataclasses.fields(Schedule)}
  assert set(begun.FREE) <= known | fields


def test_a_run_of_before_a_key_was_there_goes_on(tmp_path):
  folder = workdir(tmp_path)
  path = folder / begun.CONFIG
  content = json.loads(path.read_text())
  del content['config']['hooks'], content['config']['loggers']
  path.write_text(json.dumps(content))
  assert begun.compare(tiny_config(), folder, 0, False).changes == []
  own = tiny_config(hooks=('a:b',))
  with pytest.raises(ValueError, match=r"config.hooks: \[\] -> \['a:b'\]"):
    begun.compare(own, folder, 0, False)
