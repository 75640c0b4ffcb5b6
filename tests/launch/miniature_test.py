"""The miniature command: finds the experiments, and says when one fails."""

import functools

import pytest

from launch import miniature
from launch.cli import programs
from tests.commands import run_command

run = functools.partial(run_command, 'miniature')


def test_every_miniature_is_listed_and_has_its_functions():
  assert 'best-systems' in programs.names(miniature.FOLDER)
  done = run('no-such-slug')
  assert done.returncode == 2
  assert "error: no miniature 'no-such-slug'" in done.stderr
  for slug in programs.names(miniature.FOLDER):
    assert slug in done.stderr
    text = (miniature.FOLDER / f'{slug.replace("-", "_")}.py').read_text()
    assert 'def define_flags()' in text and ') -> bool:' in text


def test_help_is_no_error(capsys):
  for flag in ('--help', '-h'):
    with pytest.raises(SystemExit) as stopped:
      miniature.main([flag])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith('usage: python -m launch.mini')


@pytest.mark.parametrize('seeds,status', [(25, 0), (0, 2)])
def test_best_systems(seeds, status):
  done = run('best-systems', f'--seeds={seeds}')
  assert done.returncode == status, done.stdout + done.stderr
  if status == 0:
    assert done.stdout.splitlines()[-1] == 'required figures: reached'
