"""Every config file builds, documents itself, and holds no unread key."""

import pathlib
import re
import runpy
import subprocess
import sys

import ml_collections
import pytest
from absl import flags

from glue_jax.config import config as config_lib
from glue_jax.training import schema
from launch.cli import config_flag

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted(
  p
  for p in (ROOT / 'configs').rglob('*.py')
  if p.name not in ('__init__.py', 'argument.py')
)
SMALL = """
import ml_collections


def get_config(arg='rte'):
  return ml_collections.ConfigDict(
    {
      'task': {'name': arg},
      'model': {'name': 'bert', 'preset': 'tiny'},
      'optimizer': {'lr': 1e-3},
      'train': {'epochs': 3},
    }
  )
"""


def module(path):
  """The config file's names, as a command reads them."""
  return runpy.run_path(str(path))


def arguments(path):
  """What a config file takes: '' (none) and every form on every task of it."""
  names = module(path)
  given = ['']
  if 'FORMS' in names:
    for form, tasks in names['FORMS'].items():
      for task in tasks or ('rte',):
        given.append(f'{task},{form}' if form else task)
  else:
    given += written(path)
  return given


def written(path):
  """Arguments that its own header writes after the file's name."""
  place = re.escape(str(path.relative_to(ROOT)))
  return sorted(set(re.findall(rf'{place}:([\w,]*\w)', header(path))))


def with_weights(config):
  """Fills in the folder of weights that a user's environment would name."""
  if isinstance(config, dict):
    config = {key: with_weights(value) for key, value in config.items()}
    return config | ({'weights': 'DIR'} if config.get('weights') == '' else {})
  if isinstance(config, list):
    return [with_weights(value) for value in config]
  return config


def header(path):
  return re.match(r'"""(.*?)"""', path.read_text(), re.DOTALL).group(1)


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.stem)
def test_config_has_no_unread_key(path):
  get_config = module(path)['get_config']
  for argument in arguments(path):
    config = get_config(argument) if argument else get_config()
    assert isinstance(config, ml_collections.ConfigDict), argument
    schema.check(with_weights(config_lib.plain(config)))


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.stem)
def test_config_takes_what_headers_write(path):
  """Every argument that any header gives this file, and none beside them."""
  names = module(path)
  place = re.escape(str(path.relative_to(ROOT)))
  for text in map(header, FILES):
    for argument in re.findall(rf'{place}:([\w,]*\w)', text):
      if not argument.isupper():
        assert names['get_config'](argument)
  if 'FORMS' in names:
    with pytest.raises(ValueError, match='expected'):
      names['get_config']('rte,nothing')


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.stem)
def test_config_header_documents_it(path):
  text = header(path)
  command = ' '.join(text.split())
  assert f'launch.train --config={path.relative_to(ROOT)}' in command
  assert '--workdir=' in command
  labels = re.findall(r'^(\w+): ', text, re.MULTILINE)
  for label in ('Command', 'Hardware', 'Time', 'Expected'):
    assert label in labels, label
  assert {'Measured', 'Records'} & set(labels)
  # What was measured stands in records, not in a header.
  for line in re.findall(r'^Measured: (.*)', text, re.MULTILINE):
    assert 'not run' in line


@pytest.fixture
def parse(tmp_path):
  path = tmp_path / 'small.py'
  path.write_text(SMALL)

  def parse(*overrides, argument=''):
    argv = ['train', f'--config={path}{argument}', *overrides]
    values = flags.FlagValues()
    config_flag.define(values, argv)
    values(argv)
    return values['config'].value

  return parse


def test_overrides_reach_sections_that_the_file_leaves_out(parse):
  config = parse(
    '--config.mesh.fsdp=4',
    '--config.seeds=(0,1,2)',
    '--config.data.buckets=(16, 32)',
    '--config.data.data_dir=/tmp/a b',
    '--config.optimizer.lr=3e-5',
    argument=':cola',
  )
  assert config.task.name == 'cola'
  assert config.mesh.to_dict() == {'fsdp': 4}
  assert tuple(config.seeds) == (0, 1, 2)
  assert tuple(config.data.buckets) == (16, 32)
  assert config.data.data_dir == '/tmp/a b'
  assert config.optimizer.lr == 3e-5
  assert set(config_lib.complete(config)) == set(config_lib.DEFAULTS)


def test_overrides_of_one_parse_do_not_leak_into_the_next(parse):
  parse('--config.mesh.fsdp=4')
  assert parse().mesh.to_dict() == {}
  assert config_lib.DEFAULTS['mesh'] == {}


@pytest.mark.parametrize(
  'override, message',
  [
    ('--config.optimiser.lr=1', "no section 'optimiser'"),
    ('--config.train.epochs=many', 'many'),
  ],
)
def test_mistakes_of_the_command_line(parse, override, message):
  with pytest.raises(flags.Error, match=message):
    parse(override)


@pytest.mark.parametrize(
  'overrides, message',
  [
    ({'optimizer': {'lrr': 1}}, r"config.optimizer: nothing reads \['lrr'\]"),
    ({'train': {'epoch': 1}}, r"config.train: nothing reads \['epoch'\]"),
    ({'data': {'batch': 1}}, r"config.data: nothing reads \['batch'\]"),
    ({'mesh': {'fdsp': 1}}, r"config.mesh: nothing reads \['fdsp'\]"),
    ({'task': {'nmae': 1}}, r"config.task: nothing reads \['nmae'\]"),
    ({'model': {'size': 1}}, r"config.model: nothing reads \['size'\]"),
    ({'model': {'name': 'brt'}}, r'no file glue_jax/models/brt.py'),
    ({'objective': {'name': 'tusk'}}, r'no file glue_jax/objectives/tusk.py'),
    ({'methods': (('lara', {}),)}, r'no file glue_jax/methods/lara.py'),
    ({'methods': (('lora', {'rnk': 1}),)}, r"nothing reads \['rnk'\]"),
    ({'train': {'steps': 1}}, 'either `epochs` or `steps`'),
    ({'modle': {}}, r"unknown config keys \['modle'\]"),
    (
      {'stages': (('one', {}), ('two', {'train': {'epoch': 1}}))},
      r"stage two: config.train: nothing reads \['epoch'\]",
    ),
  ],
)
def test_check_names_what_nothing_reads(parse, overrides, message):
  config = config_lib.override(parse(), overrides)
  with pytest.raises(ValueError, match=message):
    schema.check(config)


def test_check_accepts_parts_and_stages(parse):
  change = {
    'methods': (('lora', {'rank': 4}),),
    'stages': (('one', {}), ('two', {'optimizer': {'lr': 1e-4}})),
  }
  schema.check(config_lib.override(parse(), change))


def test_print_config_is_the_completed_config(tmp_path):
  path = tmp_path / 'small.py'
  path.write_text(SMALL)
  out = subprocess.run(
    [sys.executable, '-m', 'launch.train', f'--config={path}:mrpc']
    + ['--config.optimizer.lr=0.5', '--print_config'],
    cwd=ROOT,
    check=True,
    capture_output=True,
    text=True,
  ).stdout
  expected = runpy.run_path(str(path))['get_config']('mrpc')
  expected.optimizer.lr = 0.5
  assert out == config_lib.dumps(config_lib.complete(expected))
