"""A run's folder holds all that prediction needs, finished or not."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from glue_jax.data.tasks import by_name
from glue_jax.inference import open_run, predict, score
from glue_jax.reporting import outcome
from glue_jax.training import begin, inputs, schema
from glue_jax.training.train import train
from tests.conftest import tiny_config

TASK = """
name: rooms
dataset: csv:data
columns: {text: text}
kind: classification
label_names: [%s]
"""


def rows(seed, count):
  words = ['room', 'calm', 'loud', 'bright', 'dim', 'small', 'old']
  rng = np.random.default_rng(seed)
  texts = [' '.join(rng.choice(words, 4)) for _ in range(count)]
  return [(text, 'yes' if 'calm' in text else 'no') for text in texts]


def write_task(folder, labels='no, yes'):
  """An own task: a YAML file, and CSV files beside it."""
  (folder / 'data').mkdir(parents=True, exist_ok=True)
  for split, count in (('train', 24), ('validation', 13)):
    lines = ['text,label', *(','.join(row) for row in rows(count, count))]
    lines[-1] = 'room dim,perhaps'  # a bad row
    (folder / 'data' / f'{split}.csv').write_text('\n'.join(lines) + '\n')
  (folder / 'task.yaml').write_text(TASK % labels)
  return folder / 'task.yaml'


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """(folder of a finished run of an own task, its task file)."""
  top = tmp_path_factory.mktemp('own')
  path = write_task(top / 'task')
  data = dict(train_limit=None, eval_limit=8, bad_rows='drop')
  config = tiny_config(task=dict(name=str(path)), data=data)
  train(config, top / 'run', 0)
  return top / 'run', path


def predicted(workdir):
  opened = open_run.open_run(workdir)
  texts = [{'text': text} for text, _ in rows(7, 5)]
  return list(predict.predict_rows(opened, texts).records())


def test_what_was_left_out_is_said_where_scores_are(run):
  workdir, _ = run
  result = json.loads((workdir / 'result.json').read_text())
  assert result['rows'] == {
    'train': {'used': 23, 'given': 24},
    'validation': {'used': 8, 'given': 13},
  }
  (train_note,) = (n for n in result['notes'] if 'train.csv' in n)
  assert '1 bad rows were left out' in train_note and 'perhaps' in train_note
  record = json.loads((workdir / 'run.json').read_text())
  assert record['result']['notes'] == result['notes']
  text = outcome.table(result, {}.get)
  assert '8 of 13' in text and train_note in text
  _, counts = score.score_workdir(str(workdir), workdir / 'again')
  assert counts == {'validation': {'used': 12, 'given': 13}}
  written = json.loads((workdir / 'again' / 'metrics.json').read_text())
  assert any('validation.csv: 1 bad' in n for n in written['notes'])


@pytest.fixture
def gone(run):
  """The run, while its task file and data are gone."""
  workdir, path = run
  before = predicted(workdir)
  away = pathlib.Path(shutil.move(path.parent, path.parent.with_name('away')))
  yield workdir, before
  shutil.move(away, path.parent)


def test_a_run_predicts_without_its_data(gone, tmp_path):
  workdir, before = gone
  assert predicted(workdir) == before
  # Stopped before its end: from the last checkpoint, without its model.
  stopped = shutil.copytree(workdir, tmp_path / 'stopped')
  for name in ('done.json', 'result.json', 'run.json', 'model/model.json'):
    (stopped / name).unlink()
  (stopped / 'model' / 'params.safetensors').unlink()
  assert predicted(stopped) == before
  with pytest.raises(FileNotFoundError, match='validation'):
    open_run.open_run(workdir, splits=('validation',))
  # The data at another place.
  data = workdir.parent / 'away' / 'data'
  moved = open_run.open_run(workdir, splits=('validation',), data_dir=data)
  assert len(moved.bundle.tables['validation']) == 12


def test_labels_mean_what_they_meant_in_training(run, tmp_path):
  workdir, path = run
  before = predicted(workdir)
  write_task(path.parent, 'yes, no')
  try:
    assert predicted(workdir) == before
    with pytest.raises(ValueError, match=r"begun with labels=\('no', 'yes'\)"):
      fresh = by_name.make(str(path))
      inputs.check(workdir, _bundle(fresh, 'x'))
  finally:
    write_task(path.parent)
  with pytest.raises(ValueError, match='begun with another tokenizer'):
    inputs.check(workdir, _bundle(by_name.make(str(path)), 'x'))


class _bundle:
  """Stands for a `DataBundle` without rows."""

  train, train_split, tables = None, '', {}

  def __init__(self, task, fingerprint):
    self.task, self.tokenizer = task, self
    self.fingerprint = fingerprint


def test_other_rows_are_not_trained_on_without_a_word(run, tmp_path):
  """Labels swapped, as many rows: refused, or asked for."""
  workdir, path = run
  shutil.copytree(workdir, tmp_path / 'run')
  home = tmp_path / 'task'
  shutil.copytree(path.parent, home)
  data = home / 'data' / 'train.csv'
  swap = {',yes': ',no', ',no': ',yes'}
  text = re.sub(',yes|,no', lambda hit: swap[hit[0]], data.read_text())
  data.write_text(text)
  given = dict(train_limit=None, eval_limit=8, bad_rows='drop')
  config = tiny_config(task=dict(name=str(home / 'task.yaml')), data=given)
  bundle = begin.build(schema.bind(config), 0).bundle
  with pytest.raises(ValueError, match='begun with other training rows'):
    inputs.check(tmp_path / 'run', bundle)
  inputs.check(tmp_path / 'run', bundle, other_rows=True)
  config['task']['name'] = str(path)
  inputs.check(tmp_path / 'run', begin.build(schema.bind(config), 0).bundle)


def test_a_vocabulary_of_other_rows_names_the_rows(run, tmp_path):
  """The tokenizer is trained on the rows, so it is another as well."""
  workdir, path = run
  home = shutil.copytree(path.parent, tmp_path / 'task')
  data = home / 'data' / 'train.csv'
  data.write_text(data.read_text().replace('calm', 'quiet'))
  given = dict(train_limit=None, eval_limit=8, bad_rows='drop')
  config = tiny_config(task=dict(name=str(home / 'task.yaml')), data=given)
  bundle = begin.build(schema.bind(config), 0).bundle
  kept = re.escape(f'--config.data.tokenizer={workdir / "model"}')
  with pytest.raises(ValueError, match=f'other training rows of .*{kept}'):
    inputs.check(workdir, bundle)
  with pytest.raises(ValueError, match='begun with another tokenizer'):
    inputs.check(workdir, bundle, other_rows=True)
  given['tokenizer'] = str(workdir / 'model')
  config = tiny_config(task=dict(name=str(home / 'task.yaml')), data=given)
  bundle = begin.build(schema.bind(config), 0).bundle
  (note,) = inputs.check(workdir, bundle, other_rows=True)
  assert 'other training rows of rooms, and goes on' in note
  # The run's record says so as well.
  longer = shutil.copytree(workdir, tmp_path / 'longer')
  config['train']['epochs'] += 1
  train(config, longer, 0, allow_config_change=True)
  record = json.loads((longer / 'run.json').read_text())
  assert 'goes on with those of today' in str(record['result']['notes'])
  changes = record['trained_earlier_by'][0]['changes']
  assert changes[-1] == 'training rows: others'


def test_every_known_task_is_read_as_it_was_written():
  for task in by_name.TASKS.values():
    record = json.loads(json.dumps(inputs.task_record(task)))
    assert inputs.task_of(record | {'later': 1}) == task, task.name
