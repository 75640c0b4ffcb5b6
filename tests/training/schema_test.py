"""Configs bound to what reads them: once, whole, and by names that exist."""

import dataclasses
import importlib
import inspect
import pathlib
import re

import pytest

from configs import glue
from glue_jax.config import config
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
  package = pathlib.Path(inspect.getfile(config)).parents[1]
  named = 0
  for comment in comments().values():
    for dotted in re.findall(r'glue_jax\.[\w.]*\w', comment):
      assert resolve(dotted)
      named += 1
    for folder in re.findall(r'glue_jax/(\w+)/<name>', comment):
      assert (package / folder).is_dir()
  assert named == 8


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
    (dict(objective=dict(name='distill')), 'config.objective: .* no `make`'),
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


@pytest.mark.parametrize(
  'changes, message',
  [
    (dict(optimizer=dict(lr=-1e-3)), 'optimizer: lr=-0.001; expected a number'),
    (dict(optimizer=dict(clip_norm=0.0)), 'optimizer: clip_norm=0.0; expected'),
    (dict(optimizer=dict(name='adm')), "optimizer: name='adm'; expected one"),
    (
      dict(optimizer=dict(groups=(('head/.*', dict(lr=-1)),))),
      r"optimizer: groups\[0\]\[1\]\['lr'\]=-1; expected",
    ),
    (
      dict(optimizer=dict(phases=dict(head=dict(lr=-1.0)))),
      'config.optimizer.phases.head: lr=-1.0; expected a number',
    ),
    (dict(optimizer=dict(phases=dict(head=1))), r'phases.*=1; expected'),
    (
      dict(optimizer=dict(name='galore', args=dict(scale=0.0))),
      'optimizer.args: scale=0.0; expected a number above 0',
    ),
    (
      dict(optimizer=dict(name='galore', args=dict(targets=(('a', dict(rank=0)),
      )))),
      "optimizer.args: target 'a': rank=0; expected an integer",
    ),
    (dict(model=dict(dropout=1.0)), r'model: dropout=1.0; .* in \[0, 1\)'),
    (dict(model=dict(init_range=-1.0)), 'model: init_range=-1.0; .* above 0'),
    (dict(model=dict(fresh='head/.*')), "model: fresh='head/.*'; .* a list of"),
    (dict(model=dict(activation='gelo')), "model.activation='gelo' is unknown"),
    (dict(model=dict(mixer='atention')), "model.mixer='atention': no file"),
    (
      dict(model=dict(options=dict(hydra=dict(chunk=0)))),
      'model.options.hydra: chunk=0; expected',
    ),
    (
      dict(model=dict(options=dict(experts=dict(gate_options=dict(gamma=0))))),
      'options.experts.gate_options: gamma=0; expected a number above 0',
    ),
    (dict(model=dict(options=dict(hydro={}))), "no part is named 'hydro'"),
    (dict(data=dict(batch_size=0)), 'data: batch_size=0; expected an integer'),
    (dict(data=dict(eval_splits='dev')), "data: eval_splits='dev'; expected a"),
    (dict(train=dict(epochs=0)), 'train: epochs=0; expected a number above 0'),
    (dict(train=dict(select='beast')), "select='beast'; expected 'last' or"),
    (dict(mesh=dict(data=0)), 'mesh: data=0; expected an integer of 1 or more'),
    (dict(task=dict(name='x', kind='clas')), "task: kind='clas'; expected one"),
    (dict(objective=dict(label_smoothing=1.0)), 'objective: label_smoothing='),
    (dict(seeds=(-1,)), r'config.seeds\[0\]=-1; expected an integer of 0'),
    (dict(seeds=()), r'config.seeds=\[\]; expected a list of integers'),
    (dict(methods='lora'), "config.methods='lora'; expected a list"),
    (dict(methods=(('lora', dict(rank=0)),)), 'config.methods.lora: rank=0; '),
  ],
)  # fmt: skip
def test_a_bad_value_is_refused_before_anything_is_built(changes, message):
  with pytest.raises(ValueError, match=message) as caught:
    schema.check(tiny_config(**changes))
  assert '\n' not in str(caught.value)


def test_a_beginning_binds_every_section_once(monkeypatch):
  bound, bind = [], config.bind

  def counted(reader, section, where, *given):
    bound.append(where)
    return bind(reader, section, where, *given)

  monkeypatch.setattr(config, 'bind', counted)
  begin.begin(tiny_config(methods=(('bitfit', {}),)), 0)
  # The core's arguments are bound by what makes it: here, and in the chain.
  parts = ['model', 'objective', 'methods.bitfit']
  parts += ['optimizer.args'] * 2
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


def test_neither_weights_nor_data_is_said_at_once(monkeypatch, tmp_path):
  """Both commands in one line; of what is there nothing is said."""
  for variable in ('GLUE_JAX_WEIGHTS', 'GLUE_JAX_DATA'):
    monkeypatch.delenv(variable, raising=False)

  def said(**data):
    wanted = glue.get_config('rte')
    wanted.data.update(data)
    with pytest.raises(ValueError) as caught:
      schema.check(wanted)
    (line,) = str(caught.value).splitlines()
    return line

  weights = '--config.model.weights=google-bert/bert-base-uncased'
  fetch = 'python -m launch.data prepare --task=rte --source=hub'
  assert weights in said() and fetch in said()
  there = said(data_dir=str(tmp_path))
  assert weights in there and 'prepare' not in there
  monkeypatch.setenv('GLUE_JAX_DATA', str(tmp_path))
  assert weights in said() and 'prepare' not in said()
  with pytest.raises(ValueError) as caught:
    schema.check(tiny_config(model=dict(name=None)))
  assert 'prepare' not in str(caught.value)
