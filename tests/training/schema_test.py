"""Configs bound to what reads them: once, whole, and by names that exist."""

import dataclasses
import importlib
import inspect
import pathlib
import re

import pytest

from glue_jax import config
from glue_jax.training import begin, schema
from glue_jax.training.sections import Schedule
from tests.conftest import tiny_config


def resolve(dotted):
  """What a dotted name stands for: the longest module, then attributes."""
  parts = dotted.split('.')
  for end in range(len(parts), 0, -1):
    try:
      value = importlib.import_module('.'.join(parts[:end]))
    except ModuleNotFoundError:
      continue
    for name in parts[end:]:
      value = getattr(value, name)
    return value
  raise AssertionError(dotted)


def comments():
  """{section: its comment} of the table of defaults."""
  text = pathlib.Path(inspect.getfile(config)).read_text()
  table = text[text.index('DEFAULTS') : text.index('\n)\n')]
  return dict(re.findall(r'(?m)^  (\w+)=.*?,  # (.*)$', table))


def test_every_name_in_the_table_of_defaults_exists():
  assert comments().keys() == config.DEFAULTS.keys()
  package = pathlib.Path(inspect.getfile(config)).parent
  named = 0
  for comment in comments().values():
    for dotted in re.findall(r'glue_jax\.[\w.]*\w', comment):
      assert resolve(dotted)
      named += 1
    for folder in re.findall(r'glue_jax/(\w+)/<name>', comment):
      assert (package / folder).is_dir()
  assert named == 6


@pytest.mark.parametrize('section', schema.READERS)
def test_the_table_of_defaults_names_what_reads(section):
  reader, given = schema.READERS[section]
  dotted = re.match(r'glue_jax\.[\w.]*\w', comments()[section])[0]
  assert resolve(dotted) is reader
  assert set(given) <= inspect.signature(reader).parameters.keys()


def test_a_bound_config_is_what_the_config_says():
  made = schema.bind(
    tiny_config(
      methods=(('lora', dict(rank=2)), ('bitfit', {})),
      model=dict(fresh=('head/.*',)),
    )
  )
  assert made.task == {'name': 'mini_acceptability'}
  assert made.model.sizes['preset'] == 'tiny'
  assert 'fresh' not in made.model.sizes
  assert made.model.fresh == ('head/.*',) and made.model.weights is None
  assert [part.make.__module__ for part in made.methods] == [
    'glue_jax.methods.lora',
    'glue_jax.methods.bitfit',
  ]
  assert made.methods[0].arguments == {'rank': 2}
  assert made.train == Schedule(epochs=2, log_every=2)
  with pytest.raises(dataclasses.FrozenInstanceError):
    made.train = None


def test_steps_given_replace_those_of_the_config():
  made = schema.bind(tiny_config(train=dict(accumulate=2)), total=5)
  assert made.train.total_steps(100) == 5 and made.train.accumulate == 2
  # A config without a schedule is enough for what trains nothing.
  bare = config.complete(dict(tiny_config(), train={}))
  assert schema.bind(bare, total=1).train.steps == 1
  with pytest.raises(ValueError, match='either `epochs` or `steps`'):
    schema.bind(bare)


@pytest.mark.parametrize(
  'changes, message',
  [
    (dict(mesh=dict(dat=2)), r"mesh: nothing reads \['dat'\]"),
    (dict(train=dict(epoch=2)), r"train: nothing reads \['epoch'\]"),
    (dict(objective=dict(name='tsak')), 'objectives/tsak.py; there are'),
    (dict(model=dict(name=None)), 'give `name` and `preset`, or `weights`'),
    (
      dict(stages=(('one', {}), ('two', dict(optimizer=dict(lrr=1))))),
      r"stage two: config.optimizer: nothing reads \['lrr'\]",
    ),
  ],
)
def test_a_key_that_nothing_reads_is_found_without_building(changes, message):
  with pytest.raises(ValueError, match=message):
    schema.check(tiny_config(**changes))


def test_a_beginning_binds_every_section_once(monkeypatch):
  bound, bind = [], config.bind

  def counted(reader, section, where, *given):
    bound.append(where)
    return bind(reader, section, where, *given)

  monkeypatch.setattr(config, 'bind', counted)
  begin.begin(tiny_config(methods=(('bitfit', {}),)), 0)
  parts = ['model', 'objectives.task', 'methods.bitfit']
  assert sorted(bound) == sorted([*schema.READERS, *parts])


@pytest.mark.parametrize(
  'stages, message',
  [
    ((('one', {}), ('one', {})), "'one' is there twice"),
    ((('one', {'stages': ()}),), 'one: a stage has no stages itself'),
  ],
)
def test_stages_that_make_no_sense_are_refused(stages, message):
  with pytest.raises(ValueError, match=message):
    schema.check(tiny_config(stages=stages))


def test_check_returns_what_each_stage_runs():
  stages = (('one', {}), ('two', {'optimizer': {'lr': 0.5}}))
  configs = schema.check(tiny_config(stages=stages))
  assert list(configs) == ['one', 'two']
  assert configs['two'].optimizer.lr == 0.5
  assert not configs['one'].stages
  alone = schema.check(tiny_config())
  assert list(alone) == ['']
  assert config.plain(alone['']) == config.plain(tiny_config())
