"""Own hooks: found by name, resumable, and refused in one line if they err."""

import json
import sys

import pytest

from glue_jax.method import Hook, Host
from glue_jax.training import checkpoint, own_hooks, runs, schema
from tests.conftest import tiny_config

COUNT = """
import json
import pathlib
from glue_jax.config.ranges import Count
from glue_jax.method import Hook

def count(*, stop_at: Count | None = None):
  def before_epoch(host):
    host.memory.setdefault('count', {'steps': [], 'losses': [], 'epochs': 0})
    host.memory['count']['epochs'] += 1
    order = list(range(64))
    host.train_data.set_order(host.epoch, order[::-1])

  def before_step(host):
    host.memory['count']['steps'].append(host.step)
    if host.step == 6 and pathlib.Path('power_cut').exists():
      raise OSError('power cut')

  def after_eval(host):
    host.memory['count']['losses'].append(host.metrics['validation']['loss'])
    host.stop |= host.step == stop_at

  return Hook(before_epoch, before_step, after_eval)

def wrong():
  return 3

class Log:
  def start(self, run):
    self.told = [run.name, run.resumed, run.config['train']['epochs']]

  def scalars(self, step, values):
    self.told.append(step)

  def finish(self, result):
    self.told.append(result['step'])
    pathlib.Path('told.json').write_text(json.dumps(self.told))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """The folder that a command is typed in, with own code."""
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.chdir(tmp_path)
  monkeypatch.delitem(sys.modules, 'my_hooks', raising=False)
  (tmp_path / 'my_hooks.py').write_text(COUNT)
  return tmp_path


def notes(workdir, step):
  saved = checkpoint.Checkpoints(workdir / 'checkpoints', create=False)
  return saved.host('last', step)['memory']['count']


def test_what_a_hook_keeps_is_there_when_the_run_goes_on(folder):
  hooks = (('my_hooks:count', {'stop_at': 8}),)
  config = tiny_config(hooks=hooks, train=dict(epochs=3))
  (folder / 'power_cut').touch()
  said = 'the hook my_hooks:count, before_step, step 6: OSError: power cut'
  with pytest.raises(own_hooks.HookError, match=said):
    runs.run(config, folder / 'run')
  assert notes(folder / 'run', 4)['steps'] == [0, 1, 2, 3]
  (folder / 'power_cut').unlink()
  other = tiny_config(train=dict(epochs=3))
  with pytest.raises(ValueError, match='config.hooks: .*my_hooks:count.* -> '):
    runs.run(other, folder / 'run')
  config = tiny_config(
    hooks=hooks, loggers=('my_hooks:Log',), train=dict(epochs=3)
  )
  assert runs.run(config, folder / 'run')['step'] == 8
  told = json.loads((folder / 'told.json').read_text())
  assert told == ['run', 4, 3, 6, 6, 8, 8, 8, 8]
  kept = notes(folder / 'run', 8)
  assert kept['steps'] == list(range(8)) and kept['epochs'] == 2
  lines = map(json.loads, (folder / 'run/metrics.jsonl').open())
  assert kept['losses'] == [
    line['validation/loss'] for line in lines if 'validation/loss' in line
  ]


@pytest.mark.parametrize(
  'entry, said',
  [
    ('my_hook:count', "no module 'my_hook'; looked in "),
    ('my_hooks:cuont', "defines no 'cuont'; did you mean count or Count\\?"),
    ('my_hooks.count', "is no name of own code; expected 'package.module:"),
    (('my_hooks:count', {'stop_at': 0}), 'stop_at=0; expected an integer of 1'),
    (('my_hooks:count', {'stop': 1}), r"nothing reads \['stop'\]; known keys"),
    ('collections:OrderedDict', 'Python knows no arguments of <class'),
    ('my_hooks:wrong', 'my_hooks:wrong returned a int; expected a glue_jax.me'),
    ('builtins:__name__', 'it is a str; expected what can be called'),
    (
      ('glue_jax.method:Hook', {'before_step': 3}),
      'before_step=3; expected ',
    ),
  ],
)
def test_what_is_no_hook_is_refused_before_any_training(folder, entry, said):
  with pytest.raises(ValueError, match=f'config.hooks.*{said}') as refused:
    runs.run(tiny_config(hooks=(entry,)), folder / 'run')
  assert '\n' not in str(refused.value)
  assert not (folder / 'run').exists()


def test_a_list_of_entries_is_asked_for(folder):
  with pytest.raises(
    ValueError, match="config.hooks='my_hooks:count'; expecte"
  ):
    tiny_config(hooks='my_hooks:count')
  stages = (('a', {}), ('b', dict(hooks=('my_hooks:no',))))
  with pytest.raises(ValueError, match='stage b: config.hooks.0.: my_hooks'):
    schema.check(tiny_config(stages=stages))


def host():
  return Host(None, 1, 9, None)


def called(act):
  """Calls it as the hook of a run."""
  this = sys.modules[__name__]
  this.make = lambda: Hook(before_step=act)
  (hook,) = own_hooks.make([f'{__name__}:make'])
  hook.before_step(host())


@pytest.mark.parametrize(
  'field, value, said',
  [
    ('step', 3, 'set host.step, which is read only'),
    ('metrics', {}, 'set host.metrics, which is read only'),
    (
      'memory',
      {'a': {1: 2}},
      r"host.memory\['a'\] has the key 1; expected str",
    ),
    (
      'memory',
      {'a': [(1,)]},
      r"host.memory\['a'\]\[0\] is a tuple, which a ch",
    ),
    ('variant', {'a': {1}}, r"host.variant\['a'\] is a set"),
  ],
)
def test_a_hook_that_sets_what_it_may_not_is_named(field, value, said):
  with pytest.raises(own_hooks.HookError, match=f'before_step, step 0: {said}'):
    called(lambda host: setattr(host, field, value))


def test_what_a_hook_may_set():
  def act(host):
    host.stop = True
    host.memory['a'] = {'b': [1, 0.5, 'c', None, True]}
    host.variant['a'] = 'c'

  called(act)
