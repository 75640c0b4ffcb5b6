"""Names of the leaves of a tree, and everything that is done by name.

A tree is a nested dict of arrays. A leaf's name is its path joined by '/', for
example `encoder/layer_0/mixer/query/kernel`. Patterns are regular expressions
that must match the whole name.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

Tree = Any


@dataclasses.dataclass(frozen=True, eq=False)
class Unread:
  """A leaf whose value is read where it is used, and is in no memory before.

  Attributes:
    shape, dtype: of the value.
    read: () -> the value; each call reads anew.
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  read: Callable[[], Any]

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    del copy  # what was just read is nobody else's
    return np.asarray(self.read(), dtype)


def read(tree: Tree) -> Tree:
  """Returns the tree with the values of its unread leaves."""
  return map_named(lambda _, x: x.read() if isinstance(x, Unread) else x, tree)


def unread(tree: Tree, values: Tree, changed: Tree) -> Tree:
  """Returns a tree whose leaves are unread again where they are as they were.

  Args:
    tree: some leaves of it unread.
    values: `read(tree)`.
    changed: made of `values`; a leaf that is still the same array is `tree`'s.
  """
  was, source = flatten(values), flatten(tree)
  return map_named(
    lambda name, x: source[name] if x is was.get(name) else x, changed
  )


def flatten(tree: Tree, prefix: str = '') -> dict[str, Any]:
  """Returns {name: leaf} of a nested dict, in the dict's own order.

  Raises:
    ValueError: a key holds a '/', so that names would be ambiguous.
  """
  if not isinstance(tree, Mapping):
    return {prefix: tree}
  flat = {}
  for key, value in tree.items():
    if '/' in key:
      raise ValueError(f'key {key!r} holds a "/"; rename it')
    flat |= flatten(value, f'{prefix}/{key}' if prefix else key)
  return flat


def unflatten(flat: Mapping[str, Any]) -> Tree:
  """Returns the nested dict of {name: leaf}; the inverse of `flatten`.

  Raises:
    ValueError: one name is both a leaf and a folder of leaves.
  """
  tree: dict[str, Any] = {}
  for name, leaf in flat.items():
    *folders, last = name.split('/')
    node = tree
    for folder in folders:
      node = node.setdefault(folder, {})
      if not isinstance(node, dict):
        raise ValueError(f'{name!r} lies inside a leaf')
    if last in node:
      raise ValueError(f'{name!r} is there twice')
    node[last] = leaf
  return tree


def map_named(fn: Callable[[str, Any], Any], tree: Tree) -> Tree:
  """Returns the tree of `fn(name, leaf)`."""
  return unflatten({n: fn(n, leaf) for n, leaf in flatten(tree).items()})


def paths(value: Any) -> dict[str, Any]:
  """Returns {path: leaf} of any pytree, the keys of a path joined by '/'.

  A leaf of an optimizer's state that belongs to a parameter has a path that
  ends in the parameter's name.
  """
  return {
    '/'.join(path_keys(path)): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(value)
  }


def path_keys(path: Iterable[Any]) -> list[str]:
  """Returns the keys of a path as `jax.tree_util` gives it."""
  return [
    str(getattr(k, 'key', getattr(k, 'name', getattr(k, 'idx', k))))
    for k in path
  ]


def matches(pattern: str, name: str) -> bool:
  """Says whether the pattern matches the whole name."""
  return re.fullmatch(pattern, name) is not None


def match(patterns: Iterable[str], names: Iterable[str]) -> set[str]:
  """Returns the names that some pattern matches.

  Raises:
    ValueError: a pattern matches nothing; the message lists the first names.
  """
  names = list(names)
  matched = set()
  for pattern in patterns:
    hits = {name for name in names if matches(pattern, name)}
    if not hits:
      raise ValueError(
        f'pattern {pattern!r} matches none of these names; patterns must match '
        f'a whole name:\n  {listed(names)}'
      )
    matched |= hits
  return matched


def listed(names: Sequence[str], most: int = 10) -> str:
  """Returns the first names, a line each, and how many more there are."""
  more = len(names) - most
  last = [f'and {more} more'] if more > 0 else []
  return '\n  '.join([*names[:most], *last])


def first_match(
  rules: Iterable[tuple[str, Any]], name: str, default: Any = None
) -> Any:
  """Returns the value of the first (pattern, value) that matches the name."""
  for pattern, value in rules:
    if matches(pattern, name):
      return value
  return default


def merge(*trees: Tree) -> Tree:
  """Joins trees that have no leaf in common.

  Raises:
    ValueError: a leaf is in two of the trees.
  """
  flat: dict[str, Any] = {}
  for tree in trees:
    new = flatten(tree) if tree else {}
    twice = flat.keys() & new.keys()
    if twice:
      raise ValueError(f'leaves in two trees: {sorted(twice)}')
    flat |= new
  return unflatten(flat)


def partition(tree: Tree, keep: Callable[[str], bool]) -> tuple[Tree, Tree]:
  """Splits a tree into the leaves whose name is kept and the others."""
  flat = flatten(tree)
  return (
    unflatten({n: leaf for n, leaf in flat.items() if keep(n)}),
    unflatten({n: leaf for n, leaf in flat.items() if not keep(n)}),
  )


def diff(expected: Tree, actual: Tree) -> str:
  """Describes how names and shapes of two trees differ; '' if they agree.

  Lines: `- name shape` is expected and missing, `+ name shape` was found and
  not expected, `! name found expected` has another shape.
  """
  a, b = flatten(expected), flatten(actual)
  lines = []
  for name in sorted(a.keys() | b.keys()):
    if name not in b:
      lines.append(f'- {name} {_shape(a[name])}')
    elif name not in a:
      lines.append(f'+ {name} {_shape(b[name])}')
    elif _shape(a[name]) != _shape(b[name]):
      lines.append(
        f'! {name} found {_shape(b[name])}, expected {_shape(a[name])}'
      )
  return '\n'.join(lines)


def size(tree: Tree) -> int:
  """Returns the number of elements of all leaves."""
  total = 0
  for leaf in flatten(tree).values():
    count = 1
    for dim in leaf.shape:
      count *= dim
    total += count
  return total


def nbytes(tree: Tree) -> int:
  """Returns the bytes of all leaves."""
  total = 0
  for leaf in flatten(tree).values():
    total += size({'x': leaf}) * leaf.dtype.itemsize
  return total


def _shape(leaf: Any) -> tuple[int, ...]:
  return tuple(getattr(leaf, 'shape', ()))
