"""What an argument may be, written where it stands: in the signature.

  def make(ctx, *, rank: Count = 8, dropout: Rate = 0.0, clip: Positive | None)

`config.bind` checks each section of a config against the signature of what
reads it, before anything is loaded; `checked` does it at every call, for
functions that are called from Python too. A number without a `Range` may be any
finite one: write `Integer` or `Number`, so that it is seen to be meant.
"""

import dataclasses
import functools
import inspect
import math
import numbers
import reprlib
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union

_F = TypeVar('_F', bound=Callable[..., Any])
# (place inside the argument, the value there, what was expected of it).
_Mismatch = tuple[str, Any, Any]


@dataclasses.dataclass(frozen=True)
class Range:
  """The bounds of a number; without any, each finite number is inside.

  Attributes:
    ge, gt: lower bound, itself inside or not.
    le, lt: upper bound, likewise.
  """

  ge: float | None = None
  gt: float | None = None
  le: float | None = None
  lt: float | None = None

  def __contains__(self, value: Any) -> bool:
    return (
      (self.ge is None or value >= self.ge)
      and (self.gt is None or value > self.gt)
      and (self.le is None or value <= self.le)
      and (self.lt is None or value < self.lt)
    )

  def __str__(self) -> str:
    low = self.gt if self.ge is None else self.ge
    high = self.lt if self.le is None else self.le
    if low is None and high is None:
      return ''
    if high is None:
      return f'above {low}' if self.ge is None else f'of {low} or more'
    if low is None:
      return f'below {high}' if self.le is None else f'of {high} or less'
    left, right = '(['[self.gt is None], ')]'[self.lt is None]
    return f'in {left}{low}, {high}{right}'


@dataclasses.dataclass(frozen=True)
class OneOf:
  """The names that a string may be."""

  names: Collection[str]

  def __contains__(self, value: Any) -> bool:
    return value in self.names

  def __str__(self) -> str:
    return f'one of {sorted(self.names)}'


@dataclasses.dataclass(frozen=True)
class Filled:
  """A list that holds something."""

  def __contains__(self, value: Any) -> bool:
    return len(value) > 0

  def __str__(self) -> str:
    return '(at least one)'


Names = Annotated[Sequence[str], Filled()]
Integer = Annotated[int, Range()]
Whole = Annotated[int, Range(ge=0)]
Count = Annotated[int, Range(ge=1)]
Number = Annotated[float, Range()]
NonNegative = Annotated[float, Range(ge=0)]
Positive = Annotated[float, Range(gt=0)]
OpenShare = Annotated[float, Range(gt=0, lt=1)]
# What is computed or kept in.
Dtype = Literal['float32', 'bfloat16']
# A share of which nothing, or all, may be meant; a rate of dropout or the decay
# of a mean, which 1 makes senseless.
Share = Annotated[float, Range(ge=0, le=1)]
Rate = Annotated[float, Range(ge=0, lt=1)]


def check(value: Any, hint: Any, name: str) -> None:
  """Refuses a value that isn't what its annotation says.

  Args:
    value: of an argument.
    hint: the annotation; classes that aren't data are asked by `isinstance`.
    name: of the argument, for the message.

  Raises:
    ValueError: another type (no bool passes for a number, and no string for a
      list), a number that is not finite, or one out of its range.
  """
  mismatch = _mismatch(value, hint)
  if mismatch:
    place, part, wanted = mismatch
    raise ValueError(
      f'{name}{place}={_shown(part)}; expected {describe(wanted)}'
    )


def check_arguments(
  fn: Callable[..., Any], arguments: Mapping[str, Any], where: str
) -> None:
  """Checks arguments by the signature of what takes them, a class too.

  Args:
    fn: what takes them.
    arguments: by name; those that `fn` doesn't name are left alone.
    where: begins the message.

  Raises:
    ValueError: see `check`.
  """
  params = inspect.signature(fn).parameters
  for name, value in arguments.items():
    # Those of `*args` and `**kwargs` have their annotation on the parts.
    if name in params and params[name].kind not in (
      inspect.Parameter.VAR_POSITIONAL,
      inspect.Parameter.VAR_KEYWORD,
    ):
      check(value, params[name].annotation, f'{where}: {name}')


def checked(fn: _F) -> _F:
  """Decorates a function whose arguments are checked at every call."""
  signature = inspect.signature(fn)
  where = f'{fn.__module__.rpartition(".")[2]}.{fn.__qualname__}'

  @functools.wraps(fn)
  def call(*args: Any, **kwargs: Any) -> Any:
    check_arguments(fn, signature.bind(*args, **kwargs).arguments, where)
    return fn(*args, **kwargs)

  return typing.cast(_F, call)


def describe(hint: Any, many: bool = False) -> str:
  """Returns an annotation in words: 'an integer of 1 or more, or None'.

  Args:
    hint: the annotation.
    many: of the parts of a list: 'integers of 1 or more'.
  """
  origin, parts = typing.get_origin(hint), typing.get_args(hint)
  if origin is Annotated:
    kind, *limits = parts
    words = [str(limit) for limit in limits]
    if not any(isinstance(limit, OneOf) for limit in limits):
      words = [describe(kind, many), *words]
    return ' '.join(filter(None, words))
  if origin in (Union, types.UnionType):
    return ', or '.join(describe(part, many) for part in parts)
  if origin is Literal:
    return ' or '.join(map(repr, parts))
  if origin is tuple and parts[-1] is not ...:
    return f'({", ".join(describe(part) for part in parts)})'
  if _is_a(origin, Mapping):
    kind = 'dicts' if many else 'a dict'
    return f'{kind} of {describe(parts[1], True)}'
  if _is_a(origin, Iterable):
    return f'{"lists" if many else "a list"} of {describe(parts[0], True)}'
  names = {
    int: ('an integer', 'integers'),
    float: ('a number', 'numbers'),
    bool: ('True or False', 'True or False'),
    str: ('a string', 'strings'),
    types.NoneType: ('None', 'None'),
    Any: ('anything', 'any values'),
  }
  name = getattr(hint, '__name__', str(hint))
  return names.get(hint, (f'a {name}', f'a {name} each'))[many]


def alternatives(hint: Any) -> tuple[Any, ...]:
  """The parts of a union, without the bounds of `Annotated`."""
  origin, parts = typing.get_origin(hint), typing.get_args(hint)
  if origin is Annotated:
    return alternatives(parts[0])
  if origin in (Union, types.UnionType):
    return tuple(one for part in parts for one in alternatives(part))
  return (hint,)


def _mismatch(value: Any, hint: Any) -> _Mismatch | None:
  """Returns the innermost part that doesn't fit; None where all fits."""
  origin, parts = typing.get_origin(hint), typing.get_args(hint)
  here = ('', value, hint)
  if origin is Annotated:
    inner = _mismatch(value, parts[0])
    if inner:
      return inner if inner[0] else here
    return None if all(value in limit for limit in parts[1:]) else here
  if origin in (Union, types.UnionType):
    found = [_mismatch(value, part) for part in parts]
    if None in found:
      return None
    deepest = max(found, key=lambda mismatch: len(mismatch[0]))
    return deepest if deepest[0] else here
  if origin is Literal:
    same = (type(value) is type(part) and value == part for part in parts)
    return None if any(same) else here
  if not _is_instance(value, origin or hint):
    return here
  return _mismatch_inside(value, origin, parts)


def _mismatch_inside(value, origin, parts) -> _Mismatch | None:
  """`_mismatch` of what a list, tuple or dict holds."""
  if _is_a(origin, Mapping):
    inside = [(' key', key, parts[0]) for key in value]
    inside += [(f'[{key!r}]', x, parts[1]) for key, x in value.items()]
  elif not (_is_a(origin, Iterable) and isinstance(value, Sequence)):
    return None
  elif origin is tuple and parts[-1] is not ...:
    if len(value) != len(parts):
      return ('', value, tuple[parts])
    inside = [
      (f'[{i}]', x, part) for i, (x, part) in enumerate(zip(value, parts))
    ]
  else:
    inside = [(f'[{i}]', x, parts[0]) for i, x in enumerate(value)]
  for place, x, part in inside:
    mismatch = _mismatch(x, part)
    if mismatch:
      return (place + mismatch[0], *mismatch[1:])
  return None


def _is_instance(value: Any, kind: Any) -> bool:
  """Whether a value is of a class, or of what an annotation begins with."""
  if kind in (Any, inspect.Parameter.empty):
    return True
  if kind in (int, float):
    family = numbers.Integral if kind is int else numbers.Real
    return (
      isinstance(value, family)
      and not isinstance(value, bool)
      and math.isfinite(value)
    )
  if kind is tuple:  # as JSON gives it
    return isinstance(value, (list, tuple))
  if kind is None:
    return value is None
  if _is_a(kind, Iterable) and isinstance(value, (str, bytes)):
    return _is_a(kind, (str, bytes))
  # What no value can be asked for (a string, a type variable) passes.
  return not isinstance(kind, type) or isinstance(value, kind)


def _is_a(kind: Any, family: Any) -> bool:
  return isinstance(kind, type) and issubclass(kind, family)


def _shown(value: Any) -> str:
  """The value on one short line."""
  short = reprlib.Repr()
  short.maxstring = short.maxother = 80
  return ' '.join(short.repr(value).split())
