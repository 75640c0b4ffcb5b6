"""Loggers are found, told everything, and never stop or hold up a run."""

import json
import sys
import threading

import pytest
from absl import logging

from glue_jax.reporting import files, logger, writers


class Notes:
  """A logger that notes what it is told; `fail` names where it raises."""

  def __init__(self, fail='', hang=''):
    self.told, self.fail, self.hang = [], fail, hang

  def _note(self, method, *arguments):
    if method == self.fail:
      raise OSError(f'no {method}\nmore')
    if method == self.hang:
      threading.Event().wait()
    self.told.append((method, *arguments))

  def start(self, run):
    self._note('start', run)

  def scalars(self, step, values):
    self._note('scalars', step, values)

  def finish(self, result):
    self._note('finish', result)


@pytest.fixture
def warnings(monkeypatch):
  """The warnings that are logged."""
  said = []
  monkeypatch.setattr(
    logging, 'warning', lambda t, *args: said.append(t % args)
  )
  return said


RESULT = {'metrics': {'validation': {'accuracy': 0.5}}, 'step': 3}


def write(workdir, notes, start_step=None, result=RESULT):
  about = logger.Run(workdir, 'one', {'a': 1}, 7)
  loggers = {'notes': notes, 'other': Notes()}
  writer = writers.Writer(workdir, start_step, True, loggers, about)
  for step in (1, 2, 3):
    writer.scalars(step, {'loss': step / 2})
  writer.close(result)
  return loggers['other'].told


def test_a_logger_is_told_of_the_run_its_lines_and_its_result(tmp_path):
  notes = Notes()
  write(tmp_path, notes)
  (_, run), *lines, last = notes.told
  assert run == logger.Run(tmp_path, 'one', {'a': 1}, 7, None)
  assert lines == [('scalars', s, {'loss': s / 2}) for s in (1, 2, 3)]
  assert last == ('finish', RESULT)


def test_a_run_that_only_lacked_its_result_gives_it(tmp_path):
  notes = Notes()
  writer = writers.Writer(tmp_path, 3, True, {'notes': notes})
  writer.close(RESULT)
  assert [call[0] for call in notes.told] == ['start', 'finish']


@pytest.mark.parametrize('fail', ['start', 'scalars', 'finish'])
def test_a_logger_that_fails_is_off_with_one_warning(tmp_path, fail, warnings):
  notes = Notes(fail)
  others = write(tmp_path, notes)
  assert len(others) == 5 and others[-1] == ('finish', RESULT)
  assert len(files.read_lines(tmp_path / 'metrics.jsonl')) == 3
  assert warnings == [
    'the logger notes is off, the run goes on without it: '
    f'{fail}: OSError: no {fail}'
  ]


@pytest.mark.parametrize('hang', ['start', 'scalars', 'finish'])
def test_a_logger_that_hangs_is_left_behind(
  tmp_path, hang, warnings, monkeypatch
):
  monkeypatch.setattr(logger, 'FINISH_SECONDS', 0.05)
  assert write(tmp_path, Notes(hang=hang))[-1] == ('finish', RESULT)
  assert len(warnings) == 1 and 'did not finish within 0.05 s' in warnings[0]


def test_a_logger_that_falls_behind_is_off(tmp_path, warnings, monkeypatch):
  monkeypatch.setattr(logger, 'BEHIND', 2)
  write(tmp_path, Notes(hang='start'))
  # Beside it another may be late as well: two lines are little.
  (said,) = [text for text in warnings if 'the logger notes is off' in text]
  assert 'it is 2 lines behind' in said


def test_the_other_processes_start_no_logger(tmp_path):
  notes = Notes()
  writer = writers.Writer(tmp_path, None, False, {'notes': notes})
  writer.scalars(1, {'loss': 1.0})
  writer.close(RESULT)
  assert notes.told == [] and not list(tmp_path.iterdir())


def test_what_a_logger_keeps_is_of_this_run_only(tmp_path):
  logger.Run(tmp_path).keep('own', {'id': 'a'})
  assert logger.Run(tmp_path, resumed=4).kept('own') == {'id': 'a'}
  assert logger.Run(tmp_path, resumed=4).kept('other') == {}
  assert logger.Run(tmp_path).kept('own') == {}


def test_entries_are_names_or_names_with_arguments():
  made = logger.make(['jsonl', ['tests.reporting.logger_test:Notes', {}]])
  assert list(made) == ['tests.reporting.logger_test:Notes']
  assert made.popitem()[1].told == []
  assert logger.make([]) == {}


class Half:
  """Not a logger: two methods are missing."""

  def start(self, run):
    """Does nothing."""


@pytest.mark.parametrize(
  'entry, said',
  [
    (
      'tensorbord',
      "no logger 'tensorbord'; there are \\['jsonl', 'mlflow', 'tensorboard', "
      "'wandb'\\], and own ones as package.module:Class",
    ),
    (['tensorboard', {'folder': 'x'}], r"nothing reads \['folder'\]"),
    (['jsonl', {'folder': 'x'}], "'jsonl' takes no arguments"),
    (['wandb', {'mode': 'of'}], "mode='of'; expected 'online' or 'offline' or"),
    (
      'tests.reporting.logger_test:Half',
      'gives a Half without scalars, finish',
    ),
    ('tests.reporting.no_such:Half', "no module 'tests.reporting.no_such'"),
  ],
)
def test_an_entry_that_is_no_logger_is_refused(entry, said):
  with pytest.raises(ValueError, match=f'config.loggers\\[0\\]: .*{said}'):
    logger.make([entry])


def test_a_logger_twice_is_refused():
  with pytest.raises(ValueError, match="'tensorboard' is there twice"):
    logger.make(['tensorboard', ['tensorboard', {}]])


@pytest.mark.parametrize('name', ['wandb', 'mlflow'])
def test_a_package_that_is_missing_is_named(name, monkeypatch):
  monkeypatch.setitem(sys.modules, name, None)
  said = f"{name} is not installed; pip install 'glue_jax\\[{name}\\]'"
  with pytest.raises(ValueError, match=said):
    logger.make([name])


def test_scores_of_a_result_are_flat():
  metrics = {'validation': {'f1': 1, 'labels': ['a']}, 'test': {}}
  flat = logger.flat_metrics({'metrics': metrics})
  assert json.dumps(flat) == '{"result/validation/f1": 1.0}'
