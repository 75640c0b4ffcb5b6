"""Linear layers and tables by our names and by those of the library."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from glue_jax.models import names, shapes


@dataclasses.dataclass(frozen=True)
class Place:
  """A linear layer or an embedding table.

  Attributes:
    name: in the library's model with a head.
    seen: in the model that was adapted: as `name`, or of its bare encoder.
    shape: of our leaf, (in, out) or (rows, width).
    table: whether it is an embedding table.
  """

  name: str
  seen: str
  shape: tuple[int, ...]
  table: bool


@functools.lru_cache(maxsize=4)
def leaves(module: Any) -> dict[str, names.Target]:
  """Returns {our leaf: its place in the library's files} of the model.

  Raises:
    ValueError: several leaves are one tensor there.
  """
  places = names.targets(module, shapes.shapes(module))
  return names.one_each(places, 'a folder of peft')


def places(module: Any, bare: bool = False) -> dict[str, Place]:
  """Returns {our path: its place} of all linear layers and tables.

  Args:
    module: the `Model`.
    bare: whether the library's model was an encoder without a head.
  """
  start, found = names.prefix(module), {}
  for leaf, target in leaves(module).items():
    site, _, last = leaf.rpartition('/')
    if last in ('kernel', 'embedding') and len(target.shape) == 2:
      name = target.name.removesuffix('.weight')
      if bare and not name.startswith(start):
        continue  # the head
      found[site] = Place(
        name,
        name.removeprefix(start) if bare else name,
        target.shape[::-1] if target.transpose else target.shape,
        last == 'embedding',
      )
  return found


def sites(module: Any) -> dict[str, str]:
  """Returns {our linear layer or table: its name in the library}."""
  return {site: place.name for site, place in places(module).items()}


def biases(module: Any) -> dict[str, names.Target]:
  """Returns {our bias: its place in the library}, but for those of the head."""
  return {
    leaf: target
    for leaf, target in leaves(module).items()
    if leaf.endswith('/bias') and not leaf.startswith('head/')
  }


def take(
  body: dict[str, Any], name: str, shape: tuple[int, ...], why: str
) -> Any:
  """Takes a tensor out of the folder's.

  Args:
    body: {name: tensor}.
    name: of the tensor.
    shape: that it must have.
    why: what asks for it, for messages.

  Raises:
    ValueError: it isn't there, or has another shape.
  """
  if name not in body:
    raise ValueError(f'{name} is missing; {why} asks for it')
  if body[name].shape != shape:
    raise ValueError(
      f'{name} has the shape {body[name].shape}; expected {shape} by {why}'
    )
  return body.pop(name)


def required(config: Mapping[str, Any], key: str) -> Any:
  """Returns a setting that has no default.

  Raises:
    ValueError: it isn't there.
  """
  if not config.get(key):
    raise ValueError(f'{key} is not given; name the modules that are adapted')
  return config[key]
