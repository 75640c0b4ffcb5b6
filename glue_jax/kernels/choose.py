"""Which form of a kernel runs, and the checks that all kernels make.

A kernel's folder has up to four forms of one function: `reference` (or `xla`),
plain jnp, runs everywhere; `tpu` and `gpu` are Pallas kernels. The public
function takes `implementation` and `interpret`:

  None         the platform's kernels where they serve the arguments, else the
               reference
  'reference'  plain jnp
  'pallas'     the kernels of the present platform, or an error
  'tpu', 'gpu' the kernels of a platform that need not be present: to lower
               them, or to run them slowly with interpret=True, for tests
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax

PLATFORMS = ('tpu', 'gpu')
IMPLEMENTATIONS = ('reference', 'pallas', *PLATFORMS)


def form(
  implementation: str | None, serves: Callable[[str], bool] = lambda _: True
) -> str:
  """Returns the form to run: 'reference', 'tpu' or 'gpu'.

  Args:
    implementation: what the caller asks for, see the module.
    serves: platform -> whether its kernels take the arguments at hand; asked
      where the caller leaves the choice.

  Raises:
    ValueError: an unknown implementation, or 'pallas' where there is neither a
      TPU nor a GPU.
  """
  platform = jax.default_backend()
  if implementation is None:
    ours = platform in PLATFORMS and serves(platform)
    return platform if ours else 'reference'
  if implementation not in IMPLEMENTATIONS:
    raise ValueError(
      f'implementation={implementation!r}; expected one of {IMPLEMENTATIONS}'
    )
  chosen = platform if implementation == 'pallas' else implementation
  if chosen not in ('reference', *PLATFORMS):
    raise ValueError(
      f'the kernels serve a TPU or GPU, found {platform}; use '
      "implementation='reference'"
    )
  return chosen


def check_shapes(given: str, expected: Mapping[str, tuple[Any, tuple]]) -> None:
  """Refuses arrays that don't fit together.

  Args:
    given: what the sizes are taken from, for the message.
    expected: {argument: (its array, or None where it is left out, shape)}.

  Raises:
    ValueError: all that don't have their shape.
  """
  wrong = [
    f'{name} {array.shape} for {shape}'
    for name, (array, shape) in expected.items()
    if array is not None and array.shape != shape
  ]
  if wrong:
    raise ValueError(f'with {given}: {", ".join(wrong)} expected')
