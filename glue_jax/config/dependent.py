"""Fields of a recipe that follow another field, whatever sets that one.

`ml_collections` computes them when they are read, so an override on the command
line counts: with `--config.model.weights=DIR` a recipe for weights and one from
scratch are one file. A field that is set itself follows no more.
"""

import types
from collections.abc import Callable
from typing import Any

import ml_collections


def field(
  other: ml_collections.FieldReference, value: Callable[[Any], Any], kind: type
) -> ml_collections.FieldReference:
  """Returns a field that is `value` of another one.

  Args:
    other: may not be None.
    value: of the other field's value; may return None.
    kind: type of what it returns.
  """
  operation = types.SimpleNamespace(fn=value, args=())
  computed = ml_collections.FieldReference(other, object, operation)
  made = ml_collections.FieldReference(None, kind)
  made.set(computed, type_safe=False)
  return made
