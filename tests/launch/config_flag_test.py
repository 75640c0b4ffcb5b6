"""Fields are set and unset by flags, to what their readers take."""

import inspect

import pytest
from absl import flags

from glue_jax.training import fields, schema
from launch.cli import config_flag
from tests.commands import status

# What a recipe has is no limit to what a flag may say.
RECIPE = """
import ml_collections


def get_config():
  return ml_collections.ConfigDict(
    dict(
      task=dict(name='mini_sentiment'),
      data=dict(max_length=64, tokenizer='train', buckets=(16, 32)),
      model=dict(name='bert', preset='tiny', dropout=0.1, head_dropout=0.2),
      methods=(('lora', {'rank': 4}),),
      optimizer=dict(lr=1e-3, clip_norm=1.0, name='galore', args=dict(rank=4)),
      train=dict(epochs=6, eval_every=10, select='last'),
      seeds=(0, 1),
    )
  ).lock()
"""


@pytest.fixture(scope='module')
def recipe(tmp_path_factory):
  path = tmp_path_factory.mktemp('recipes') / 'recipe.py'
  path.write_text(RECIPE)
  return path


def parse(recipe, *overrides):
  argv = ['train', f'--config={recipe}', *overrides]
  values = flags.FlagValues()
  config_flag.define(values, argv)
  values(argv)
  return values['config']


def field(config, dotted):
  for key in dotted.split('.'):
    config = config[key]
  return config


@pytest.mark.parametrize(
  'override, value',
  [
    # Unset.
    ('train.eval_every=None', None),
    ('data.max_length=None', None),
    ('optimizer.clip_norm=None', None),
    ('model.head_dropout=None', None),
    ('model.dropout=None', None),  # that of the preset
    ('data.data_dir=None', None),
    ('optimizer.args=None', None),
    ('methods=()', ()),
    ('hooks=()', ()),
    ('loggers=()', ()),
    # Another type than the recipe's, or none there.
    ('train.epochs=0.1', 0.1),
    ('train.epochs=3', 3),
    ('train.patience=3', 3),
    ('train.select=best', 'best'),
    ('train.save_every=7', 7),
    ('optimizer.lr=1', 1.0),
    ('optimizer.warmup=0', 0.0),
    ('optimizer.weight_decay=1e-2', 0.01),
    ('optimizer.args.rank=8', 8),
    ('optimizer.args.scale=2', 2.0),
    ('optimizer.phases.head.lr=1', 1.0),
    ('optimizer.phases.head.clip_norm=None', None),
    ('data.lowercase=False', False),
    ('data.lowercase=true', True),
    ('data.buckets=8', (8,)),
    ('data.buckets=(8, 16)', (8, 16)),
    ('data.eval_splits=validation', ('validation',)),
    ('data.eval_splits=None', None),
    ('data.data_dir=/tmp/a b', '/tmp/a b'),
    ('data.data_dir=10', '10'),
    ('data.files.train=7.txt', '7.txt'),
    ('task.label=None', None),
    ('task.label=label', 'label'),
    ('task.labels=no', 'no'),
    ('train.log_every=1_000', 1000),
    ('task.label_range=(0, 5)', (0, 5)),
    ('model.weights=None', None),
    ('model.mixer=attention', 'attention'),
    ('model.cast=True', True),
    ('model.fresh=head/.*', ('head/.*',)),
    ('model.options.experts.experts=2', 2),
    ('objective.name=task', 'task'),
    ('seeds=3', (3,)),
    ('loggers=jsonl', ('jsonl',)),
    ("loggers=('jsonl', ('tensorboard', {}))", ('jsonl', ('tensorboard', {}))),
    ("methods=(('bitfit', {}),)", (('bitfit', {}),)),
    ('mesh={}', {}),
  ],
)
def test_a_field_takes_what_its_reader_takes(recipe, override, value):
  config = parse(recipe, f'--config.{override}').value
  got = field(config, override.partition('=')[0])
  got = got.to_dict() if hasattr(got, 'to_dict') else got
  assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
  'override, said',
  [
    ('train.epochs=many', 'expected a number above 0, or None'),
    ('train.epochs=0', 'expected a number above 0, or None'),
    ('train.eval_every=1.5', 'expected an integer of 1 or more, or None'),
    ('train.log_every=None', 'expected an integer of 1 or more'),
    ('train.select=first', "expected 'last' or 'best'"),
    ('data.lowercase=7', 'expected True or False'),
    ('optimizer.lr=inf', 'expected a number of 0 or more'),
    ('optimizer.args.rank=0', 'expected an integer of 1 or more'),
    ('seeds=()', 'expected a list of integers of 0 or more (at least one)'),
    (
      'methods=lora',
      'expected a list of (a string, a dict of any values)',
    ),
    ('model=None', 'expected a dict of any values'),
    ('model.num_layers=two', 'expected an integer of 0 or more, or None'),
    ('trian.epochs=1', "no section 'trian'; there are ["),
    ('train.epochs.more=1', 'which has no'),
  ],
)
def test_what_no_reader_takes_is_one_line(recipe, override, said):
  with pytest.raises(flags.Error) as refused:
    parse(recipe, f'--config.{override}')
  text = str(refused.value)
  assert f'--config.{override}' in text and said in text and '\n' not in text


def test_a_key_that_nothing_reads_is_told_with_those_there_are(recipe):
  config = parse(recipe, '--config.train.patence=3').value
  with pytest.raises(ValueError, match=r"nothing reads \['patence'\]; known"):
    schema.check(config)


def test_switches_repeated_flags_and_separate_values(recipe):
  config = parse(
    recipe,
    '--config.model.cast',
    '--noconfig.data.lowercase',
    *('--config.train.epochs', '2.5'),
    '--config.seeds=1',
    '--config.seeds=2',
    '--config.train.patience=1',
    '--config.train.patience=2',
  ).value
  assert config.model.cast is True and config.data.lowercase is False
  assert config.train.epochs == 2.5 and config.train.patience == 2
  assert config.seeds == (1, 2)


@pytest.fixture(scope='module')
def staged(tmp_path_factory):
  path = tmp_path_factory.mktemp('staged') / 'recipe.py'
  stages = """stages=(
        ('pre-train', dict(task=dict(name='mini_entailment'))),
        ('tune', dict(task=dict(name='mini_sentiment'))),
      ),
      seeds"""
  path.write_text(RECIPE.replace('seeds', stages))
  return path


def test_a_field_of_one_stage_is_set(staged):
  flag = parse(
    staged,
    *('--config.stages.pre-train.train.steps=4', '--config.train.epochs=None'),
    '--config.stages.pre-train.optimizer.args.rank=2',
    '--config.stages.tune.data.lowercase=False',
    '--config.stages.tune.train.epochs=1',
    "--config.stages.tune.methods=(('bitfit', {}),)",
  )
  assert flag.given[0] == ('stages.pre-train.train.steps', '4')
  first, second = schema.check(flag.value).values()
  assert first.train.steps == 4 and first.train.epochs is None
  assert first.optimizer.args.rank == 2 and second.optimizer.args.rank == 4
  assert second.train.epochs == 1 and 'steps' not in second.train
  assert second.data.lowercase is False and 'lowercase' not in first.data
  assert [name for name, _ in second.methods] == ['bitfit']
  assert first.task.name == 'mini_entailment'


@pytest.mark.parametrize(
  'overrides, said',
  [
    (['stages.tun.train.steps=4'], "no stage 'tun'; there are ['pre-train'"),
    (['stages.tune=4'], 'expected --config.stages.tune.SECTION.KEY=VALUE'),
    (['stages.tune.stages=()'], 'expected --config.stages.tune.SECTION.KEY'),
    (['stages.tune.trian.steps=4'], "no section 'trian'; there are ["),
    (['stages.tune.train.steps=x'], 'expected an integer of 1 or more'),
    (
      ['stages=()', 'stages.tune.train.steps=4'],
      'stands beside --config.stage',
    ),
    (['stages.tune.train.steps=4', 'stages=()'], 'would replace what'),
  ],
)
def test_a_wrong_flag_of_a_stage_is_one_short_line(staged, overrides, said):
  with pytest.raises(flags.Error) as refused:
    parse(staged, *(f'--config.{text}' for text in overrides))
  text = str(refused.value)
  assert said in text and '\n' not in text and len(text) < 300


def test_a_recipe_without_stages_has_none_to_set(recipe):
  with pytest.raises(flags.Error, match="no stage 'a'; this config has no sta"):
    parse(recipe, '--config.stages.a.train.steps=4')


def test_steps_instead_of_the_epochs_of_a_recipe(recipe):
  overrides = ('--config.train.epochs=None', '--config.train.steps=30')
  config = parse(recipe, *overrides).value
  assert schema.bind(config_of_one_seed(config)).train.steps == 30


def config_of_one_seed(config):
  from glue_jax.config import config as config_lib

  return config_lib.complete(config_lib.override(config, {'methods': ()}))


def test_what_was_typed_is_kept_for_the_cells_of_a_sweep(recipe):
  flag = parse(recipe, '--config.seeds=(0, 1)', '--noconfig.data.lowercase')
  assert flag.file == str(recipe)
  assert flag.given == [('seeds', '(0, 1)'), ('data.lowercase', 'false')]


def test_an_order_that_would_lose_a_flag_is_refused(recipe):
  with pytest.raises(flags.Error, match='would replace what --config.optimize'):
    parse(recipe, '--config.optimizer.lr=1', '--config.optimizer={}')
  argv = ['train', '--config.train.epochs=1', f'--config={recipe}']
  values = flags.FlagValues()
  config_flag.define(values, argv)
  with pytest.raises(flags.Error, match='stands before --config; put it behin'):
    values(argv)


def test_what_returns_no_config_is_refused(tmp_path):
  (tmp_path / 'c.py').write_text('def get_config():\n  return 3\n')
  with pytest.raises(
    flags.Error, match='returned a int; expected a ConfigDict'
  ):
    parse(tmp_path / 'c.py')


def test_the_command_says_it_in_one_line(monkeypatch, recipe, tmp_path):
  from launch import train

  argv = [f'--config={recipe}', f'--workdir={tmp_path}/w']
  wrong = '--config.train.epochs=many'
  monkeypatch.setattr('sys.argv', ['train', *argv, wrong])
  line = status(train, *argv, wrong)
  assert line.startswith(f'error: {wrong}: expected a number above 0, or None')


def test_every_field_of_the_schema_has_an_annotation():
  config = {'objective': {'name': 'task'}, 'optimizer': {}}
  for section, (reader, given) in schema.READERS.items():
    for name in inspect.signature(reader).parameters.keys() - set(given):
      hint = fields.annotation(config, (section, name))
      assert hint is not inspect.Parameter.empty
      assert hint is not fields.Any, (section, name)
