"""Own code is found by its name, or the line says what is wrong with it."""

import sys

import pytest

from glue_jax.config import importable
from glue_jax.config.ranges import Count


@pytest.fixture
def module(tmp_path, monkeypatch):
  """Writes a module where Python finds it."""
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.chdir(tmp_path)

  def write(text, name='own_code'):
    (tmp_path / f'{name}.py').write_text(text)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name

  return write


def test_what_a_name_stands_for(module):
  name = module('def make(): return 3\n')
  assert importable.load(f'{name}:make', 'hooks[0]')() == 3
  assert importable.split('a:b') == ('a:b', {})
  assert importable.split(['a:b', {'c': (1, 2)}]) == ('a:b', {'c': [1, 2]})


@pytest.mark.parametrize(
  'text, name, said',
  [
    ('', 'own_code', "'own_code' is no name of own code; expected 'package."),
    ('', 'own code:make', 'is no name of own code'),
    ('', ':make', 'is no name of own code'),
    ('', 'no_such_code:make', "no module 'no_such_code'; looked in "),
    ('', 'own_code.inner:make', "no module 'own_code.inner'; looked in "),
    ('def made(): 0\n', 'own_code:make', "no 'make'; did you mean made\\?"),
    ('import nope\n', 'own_code:make', "named 'nope' \\(.*own_code.py:1\\)"),
    ('\n1 / 0\n', 'own_code:make', 'ZeroDivisionError: .*own_code.py:2\\)'),
    ('def (\n', 'own_code:make', 'SyntaxError: .*own_code.py:1\\)'),
  ],
)
def test_a_name_that_stands_for_nothing(module, text, name, said):
  module(text)
  with pytest.raises(ValueError, match=f'config.hooks\\[0\\]: .*{said}') as err:
    importable.load(name, 'hooks[0]')
  assert '\n' not in str(err.value)


def test_arguments_are_checked_before_the_call():
  def make(*, every: Count = 1):
    if every == 13:
      raise RuntimeError('unlucky\nvery')
    return every

  assert importable.call(make, {'every': 2}, 'hooks[0]') == 2
  for arguments, said in (
    ({'evry': 2}, r"nothing reads \['evry'\]; known keys are \['every'\]"),
    ({'every': 0}, 'every=0; expected an integer of 1 or more'),
    ({'every': 13}, 'RuntimeError: unlucky$'),
  ):
    with pytest.raises(ValueError, match=f'config.hooks\\[0\\]: {said}'):
      importable.call(make, arguments, 'hooks[0]')
  with pytest.raises(ValueError, match='it is a int; expected what can be'):
    importable.call(3, {}, 'hooks[0]')
