"""Configs by path and by name, also of files that have moved."""

import pytest

from launch.cli import config_files, config_flag


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """An empty folder, in which commands are typed."""
  monkeypatch.chdir(tmp_path)
  return tmp_path


@pytest.mark.parametrize(
  'path', ['quickstart', 'quickstart.py', 'configs/quickstart.py']
)
def test_a_name_is_found_in_any_folder(folder, path):
  assert config_files.find(path) == config_files.FOLDER / 'quickstart.py'


def test_a_file_at_hand_comes_first(folder):
  (folder / 'configs').mkdir()
  (folder / 'configs' / 'quickstart.py').write_text(
    'def get_config():\n  return 3\n'
  )
  assert config_files.load('configs/quickstart.py') == 3
  assert config_files.load('quickstart') != 3


def test_names_of_folders(folder):
  assert config_files.find('finetune/lora').name == 'lora.py'
  config = config_files.load('finetune/lora:rte')
  assert config.task.name == 'rte'


def test_every_moved_name_leads_to_a_file(folder):
  for old, new in config_files.MOVED.items():
    assert old not in config_files.names()
    path = new.partition(':')[0]
    assert config_files.find(path).is_file(), old
    with pytest.raises(ValueError, match=f'is now configs/{path}'):
      config_files.find(f'configs/{old}.py')


def test_mistakes_are_one_line(folder):
  with pytest.raises(
    ValueError, match='nowhere/lora; did you mean finetune/lo'
  ):
    config_files.find('nowhere/lora')
  with pytest.raises(ValueError, match='no config file quickstat; did you mea'):
    config_files.find('quickstat')
  with pytest.raises(ValueError, match=r'no config file \.\./etc/passwd$'):
    config_files.find('../etc/passwd')
  (folder / 'own.py').write_text('def get_config(task):\n  return task\n')
  with pytest.raises(ValueError, match='own.py takes an argument, as in own.p'):
    config_files.load('own.py')
  with pytest.raises(ValueError, match='quickstart takes no argument'):
    config_files.load('quickstart:rte')
  (folder / 'c.py').write_text('A = 1\n')
  with pytest.raises(ValueError, match='c.py defines no get_config'):
    config_files.load('c.py')


def test_a_broken_file_is_named_with_its_line(folder):
  (folder / 'c.py').write_text('def get_config():\n  return 1 + "a"\n')
  with pytest.raises(ValueError, match=r'c.py:2: TypeError: unsupported'):
    config_files.load('c.py')
  (folder / 'c.py').write_text('import numpy\n\nx = no_such_name\n')
  with pytest.raises(ValueError, match=r'c.py:3: NameError: name .no_such'):
    config_files.load('c.py')
  (folder / 'c.py').write_text('def get_config(:\n')
  with pytest.raises(ValueError, match=r'c.py:1: SyntaxError: '):
    config_files.load('c.py')


def test_an_override_makes_room_for_itself(folder):
  parsed = config_flag._Completing(['--config.optimizer.args.rank=4'])
  assert parsed.parse('quickstart').optimizer.args.to_dict() == {}
  for arg, said in (
    ('--config.optimiser.lr=1', "no section 'optimiser'"),
    ('--config.seeds.first.one=1', r'config.seeds is .*; expected a dict'),
  ):
    with pytest.raises(ValueError, match=said):
      config_flag._Completing([arg]).parse('quickstart')
