"""Ranges: what is refused, in which words, and that every number has one."""

import inspect
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union

import pytest

from glue_jax.config import config, ranges
from glue_jax.config.ranges import (
  Count,
  Names,
  NonNegative,
  OneOf,
  Positive,
  Range,
  Rate,
  Share,
  Whole,
)
from glue_jax.layers import spec
from glue_jax.layers.gates import base as gates
from glue_jax.layers.spec import EncoderConfig
from glue_jax.optim import build as optim
from glue_jax.training import schema

NUMBERS = {int: (4.5, True, '3'), float: (True, '3', math.nan, math.inf)}


@pytest.mark.parametrize(
  'value, hint, words',
  [
    (0, Count, 'x=0; expected an integer of 1 or more'),
    (4.5, Count, 'x=4.5; expected an integer of 1 or more'),
    (True, Count, 'x=True; expected an integer of 1 or more'),
    (-1, Whole | None, 'x=-1; expected an integer of 0 or more, or None'),
    (0.0, Positive, 'x=0.0; expected a number above 0'),
    (math.nan, NonNegative, 'x=nan; expected a number of 0 or more'),
    (1, Rate, 'x=1; expected a number in [0, 1)'),
    (1.01, Share, 'x=1.01; expected a number in [0, 1]'),
    (2, Annotated[int, Range(lt=2)], 'x=2; expected an integer below 2'),
    (3, Annotated[int, Range(le=2)], 'x=3; expected an integer of 2 or less'),
    (0, Count | Literal[-1], 'x=0; expected an integer of 1 or more, or -1'),
    ('query', Names, "x='query'; expected a list of strings (at least one)"),
    ([], Names, 'x=[]; expected a list of strings (at least one)'),
    (['query', 3], Names, 'x[1]=3; expected a string'),
    (1, bool, 'x=1; expected True or False'),
    ('a', Literal['b', 'c'], "x='a'; expected 'b' or 'c'"),
    (3, Annotated[str, OneOf('bc')], "x=3; expected one of ['b', 'c']"),
    ({'a': 0}, Mapping[str, Count], "x['a']=0; expected an integer of 1 or"),
    ([1], tuple[int, int], 'x=[1]; expected (an integer, an integer)'),
    ([1, -1], tuple[Count, ...], 'x[1]=-1; expected an integer of 1 or more'),
    ([['a', {'b': -1}]], Sequence[tuple[str, Mapping[str, Rate]]],
     "x[0][1]['b']=-1; expected a number in [0, 1)"),
  ],
)  # fmt: skip
def test_what_is_refused_is_named_with_what_was_expected(value, hint, words):
  with pytest.raises(ValueError) as caught:
    ranges.check(value, hint, 'x')
  assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
  'value, hint',
  [
    (1, float),
    (1, Count),
    (None, Whole | None),
    (-1, Count | Literal[-1]),
    (['a'], Names),
    (('a', 'b'), Names),
    ([1, 0.5], tuple[int, float]),
    ({'a': 1}, Mapping[str, Count]),
    ('anything', Any),
    (range, Sequence | type),
  ],
)
def test_what_fits_passes(value, hint):
  ranges.check(value, hint, 'x')


def test_a_checked_function_names_itself():
  @ranges.checked
  def scale(rank: Count, *others: Any, factor: Positive = 1.0, **more: Any):
    return rank, others, factor, more

  assert scale(1, 0, factor=2, rate=-1) == (1, (0,), 2, {'rate': -1})
  with pytest.raises(ValueError, match=r'scale: rank=0; expected an integer'):
    scale(0)
  with pytest.raises(ValueError, match=r'scale: factor=-1; .* above 0'):
    scale(1, factor=-1)


def parts_of(package):
  """`make` of each file of a package that has one."""
  for name in config.files(package):
    make = getattr(config.module(package, name, package), 'make', None)
    if make:
      yield f'{package}.{name}', make, ('ctx',)


NODE = ('config', 'experts', 'parent', 'name')
READERS = [
  *parts_of('methods'),
  *parts_of('objectives'),
  *((f'core {name}', core, ()) for name, core in optim.CORES.items()),
  *((name, *reader) for name, reader in schema.READERS.items()),
  ('model', EncoderConfig, ()),
  *(
    (f'options.{file}', taker, ('config', 'parent', 'name'))
    for file in ('attention', 'hydra', 'ponet', 'matrix_mixer', 'fourier')
    + ('experts', 'feedforward', 'identity', 'reversible')
    for taker in spec.takers(file)
  ),
  *((f'gate {name}', gates.find(name), NODE) for name in gates.names()),
]


def arguments_of(reader, given):
  return [
    parameter
    for parameter in inspect.signature(reader).parameters.values()
    if parameter.name not in given
  ]


def undeclared(hint):
  """The number types in an annotation that have no range."""
  origin, parts = typing.get_origin(hint), typing.get_args(hint)
  if origin is Annotated:
    ranged = any(isinstance(limit, Range) for limit in parts[1:])
    return [] if ranged else undeclared(parts[0])
  if origin in (None, Literal):
    return [hint] if hint in (int, float) else []
  return [kind for part in parts for kind in undeclared(part)]


def bad(hint) -> Iterable[Any]:
  """Values just outside, and of other types."""
  origin, parts = typing.get_origin(hint), typing.get_args(hint)
  if origin is Annotated:
    for limit in parts[1:]:
      if isinstance(limit, Range):
        yield from just_outside(limit, parts[0])
      elif isinstance(limit, OneOf):
        yield 'none of them'
      else:
        yield []
    yield from bad(parts[0])
  elif origin in (Union, types.UnionType):
    for part in parts:
      others = [other for other in parts if other is not part]
      yield from (x for x in bad(part) if not any(fits(x, o) for o in others))
  elif hint in NUMBERS:
    yield from NUMBERS[hint]
  elif hint is bool:
    yield from (1, 'True')
  elif hint is str:
    yield 3
  elif origin is Literal:
    yield 'none of them'
  elif isinstance(origin, type) and issubclass(origin, Mapping):
    yield from ([3], *({'key': x} for x in bad(parts[1])))
  elif isinstance(origin, type) and issubclass(origin, Sequence):
    yield from ('text', *([x] for x in bad(parts[0])))


def just_outside(limit, kind):
  def beyond(bound, direction):
    if kind is int:
      return bound + direction
    return math.nextafter(bound, direction * math.inf)

  for bound, value in (
    (limit.ge, lambda: beyond(limit.ge, -1)),
    (limit.gt, lambda: limit.gt),
    (limit.le, lambda: beyond(limit.le, 1)),
    (limit.lt, lambda: limit.lt),
  ):
    if bound is not None:
      yield value()


def fits(value, hint):
  try:
    ranges.check(value, hint, '')
  except ValueError:
    return False
  return True


@pytest.mark.parametrize(
  'where, reader, given', READERS, ids=[name for name, *_ in READERS]
)
def test_every_argument_is_refused_outside_its_range(where, reader, given):
  arguments = arguments_of(reader, given)
  needed = {
    p.name: next(x for x in ('x', ['x'], 0) if fits(x, p.annotation))
    for p in arguments
    if p.default is p.empty
  }
  for parameter in arguments:
    name, hint = parameter.name, parameter.annotation
    assert undeclared(hint) == [], f'{where}: {name} has no range'
    if parameter.default is not parameter.empty:
      ranges.check(parameter.default, hint, name)
    for value in bad(hint):
      with pytest.raises(ValueError) as caught:
        config.bind(reader, needed | {name: value}, where, *given)
      message = str(caught.value)
      assert message.startswith(f'config.{where}: {name}'), message
      assert '; expected ' in message and '\n' not in message, message


def test_the_message_has_the_section_the_value_and_the_range():
  make = config.module('methods', 'lora', 'methods').make
  for arguments, words in (
    (dict(rank=0), 'rank=0; expected an integer of 1 or more'),
    (dict(rank=4.5), 'rank=4.5; expected an integer of 1 or more'),
    (dict(targets='query'), "targets='query'; expected a list of strings"),
    (dict(alpha=0), 'alpha=0; expected a number above 0'),
    (dict(dropout=1.0), 'dropout=1.0; expected a number in [0, 1)'),
  ):
    with pytest.raises(ValueError) as caught:
      config.bind(make, arguments, 'methods.lora', 'ctx')
    assert str(caught.value).startswith(f'config.methods.lora: {words}')
