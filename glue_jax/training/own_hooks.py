"""Own code between the steps of a run: the config's key `hooks`.

  config.hooks = ('my_package.my_module:make_hook', ('own:watch', {'every': 5}))

Each is the name of a function, with its keyword arguments, that returns a
`glue_jax.method.Hook`. The module may lie in the directory in which the command
is typed. The functions of the hook are called as those of methods are, after
them, on every host:

  before_epoch  before the first step of an epoch (not again where a run goes on
                in its midst)
  before_step   before each step
  after_eval    after each evaluation, before the checkpoint of that step

They are given the run's `glue_jax.method.Host`. All of it may be read, and a
hook may
- keep notes in `host.memory[<its name>]`: dicts with string keys, lists,
  strings, numbers, booleans and None. They are saved with every checkpoint, and
  there again when the run goes on; what a hook keeps elsewhere is not;
- set `host.stop`: the run ends after this step, and is finished;
- call `host.train_data.set_order(epoch, order)`, where the order may leave
  examples out or repeat them, and `host.evaluate()`;
- set `host.variant[<its name>]`, a string, number or boolean that methods read.
Nothing else of it may be set. On several hosts all must do the same.

A hook shapes what is trained, so another one is another config to a run that
goes on. The function is also called to check a config: it makes the hook and
does nothing else. Predicting with a finished run needs no hooks.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from glue_jax.config import importable
from glue_jax.method import Hook, Host

# What the loop alone sets.
_READ = ('train_data', 'steps_per_epoch', 'total_steps', 'state')
_READ += ('step', 'epoch', 'metrics', 'labelled', 'evaluate')
_READ += ('predict', 'program', 'key', 'tokenizer')


class HookError(RuntimeError):
  """An own hook raised, or did what no hook may."""


def make(entries: Sequence[importable.Entry]) -> tuple[Hook, ...]:
  """Makes the hooks of a config.

  Args:
    entries: names `package.module:function`, or (name, keyword arguments).

  Raises:
    ValueError: the function can't be imported or refuses its arguments, or
      what it returns is no hook.
  """
  return tuple(_make(entry, f'hooks[{i}]') for i, entry in enumerate(entries))


def _make(entry: importable.Entry, where: str) -> Hook:
  name, arguments = importable.split(entry)
  hook = importable.call(importable.load(name, where), arguments, where)
  if not isinstance(hook, Hook):
    raise ValueError(
      f'config.{where}: {name} returned a {type(hook).__name__}; expected a '
      'glue_jax.method.Hook'
    )
  moments = {f.name: getattr(hook, f.name) for f in dataclasses.fields(Hook)}
  for moment, act in moments.items():
    if act is not None and not callable(act):
      raise ValueError(
        f'config.{where}: {moment} of {name} is a {type(act).__name__}; '
        'expected a function of the Host, or None'
      )
  watched = {
    moment: act and _watched(name, moment, act)
    for moment, act in moments.items()
  }
  return Hook(**watched)


def _watched(
  name: str, moment: str, act: Callable[[Host], None]
) -> Callable[[Host], None]:
  """The function, with its name in what it raises."""

  def call(host: Host) -> None:
    before = {field: getattr(host, field) for field in _READ}
    where = f'the hook {name}, {moment}, step {host.step}'
    try:
      act(host)
    except Exception as error:
      said = (str(error).splitlines() or [''])[0]
      raise HookError(f'{where}: {type(error).__name__}: {said}') from error
    for field, value in before.items():
      if getattr(host, field) is not value:
        raise HookError(f'{where}: set host.{field}, which is read only')
    for field in ('memory', 'variant'):
      odd = _not_json(getattr(host, field), f'host.{field}')
      if odd:
        raise HookError(f'{where}: {odd}')

  return call


def _not_json(value: Any, place: str) -> str:
  """What of a value a checkpoint wouldn't give back as it is; '' if nothing."""
  if isinstance(value, dict):
    for key, part in value.items():
      if not isinstance(key, str):
        return f'{place} has the key {key!r}; expected strings'
      odd = _not_json(part, f'{place}[{key!r}]')
      if odd:
        return odd
    return ''
  if isinstance(value, list):
    odd = (_not_json(x, f'{place}[{i}]') for i, x in enumerate(value))
    return next(filter(None, odd), '')
  if value is None or isinstance(value, bool | int | float | str):
    return ''
  return (
    f'{place} is a {type(value).__name__}, which a checkpoint does not keep; '
    'expected dicts, lists, strings, numbers, booleans or None'
  )
