"""Two coupled streams, with a gradient that stores no activations.

Liao et al. 2023, arXiv 2306.00477, section 3; reversible coupling as in Gomez
et al. 2017, arXiv 1707.04585. A layer maps streams (x1, x2) to

  y1 = first * x1 + F(x2),  y2 = second * x2 + G(y1),

which is undone by x2 = (y2 - G(y1)) / second, x1 = (y1 - F(x2)) / first. So the
backward pass makes each layer's inputs again from its outputs: what is kept is
the streams at the end of each segment of layers, and the internals of the one
layer at hand.

Every division by a factor below 1 magnifies the rounding error, by about 10 a
layer and factor of 0.1. Over 12 layers in float32 the gradients of the lowest
layers are noise; short segments, which start again from stored streams, keep
them right.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero
from jax.extend import core

from glue_jax.layers.barrier import apart

Streams = tuple[jax.Array, jax.Array]
# F and G of a layer, each (...) -> (...) of the same shape and type. They may
# close over anything: parameters, masks, keys.
Pair = tuple[Callable[[jax.Array], jax.Array], ...]


@dataclasses.dataclass(frozen=True)
class Coupling:
  """How a layer joins the streams.

  Attributes:
    first: factor of x1 (lambda).
    second: factor of x2 (beta).
    swap: hand (y2, y1) to the next layer.

  Raises:
    ValueError: a factor is 0 or not finite, so that a layer can't be undone.
  """

  first: float
  second: float
  swap: bool

  def __post_init__(self):
    for factor in (self.first, self.second):
      if not 0 < abs(factor) < float('inf'):
        raise ValueError(
          f'factors ({self.first}, {self.second}) of a reversible layer must '
          'be finite and not 0: the backward pass divides by them'
        )

  def forward(self, pair: Pair, streams: Streams) -> Streams:
    """Runs one layer."""
    (f, g), (x1, x2) = pair, streams
    y1 = self.first * x1 + f(x2)
    y2 = self.second * x2 + g(y1)
    return (y2, y1) if self.swap else (y1, y2)

  def inverse(self, pair: Pair, streams: Streams) -> Streams:
    """Undoes `forward`, to rounding."""
    (f, g), (y1, y2) = pair, self.unswapped(streams)
    x2 = (y2 - g(y1)) / self.second
    return (y1 - f(x2)) / self.first, x2

  def unswapped(self, streams: Streams) -> Streams:
    """Returns (y1, y2) of what was handed to the next layer."""
    return streams[::-1] if self.swap else streams


def ordinary(
  pairs: Sequence[Pair], streams: Streams, coupling: Coupling
) -> Streams:
  """Runs the layers; differentiated as usual, with all activations stored."""
  for pair in pairs:
    streams = coupling.forward(pair, streams)
  return streams


def reversible(
  pairs: Sequence[Pair], streams: Streams, coupling: Coupling, segment: int
) -> Streams:
  """Runs the layers as `ordinary` does, with the gradient described above.

  Only what is being differentiated gets a gradient: for what `pairs` close
  over and is constant (frozen parameters, masks, keys) none is formed.

  Args:
    pairs: of each layer.
    streams: (x1, x2), of one shape and type.
    coupling: the factors.
    segment: layers between two stored pairs of streams; at least the number of
      layers stores the last pair only.

  Raises:
    ValueError: an F or G changes the shape or type of its input.
  """
  # What the functions close over becomes their argument: a custom gradient must
  # name all that it differentiates, and its backward pass is traced when the
  # plugs around the forward pass are gone.
  if not pairs:
    return streams
  traced = [tuple(_traced(fn, streams[0]) for fn in pair) for pair in pairs]
  program = [tuple(t.jaxpr for t in pair) for pair in traced]
  consts = [tuple(list(t.consts) for t in pair) for pair in traced]
  run = jax.custom_vjp(functools.partial(_last, program, coupling))
  run.defvjp(
    functools.partial(_forward, program, coupling, segment),
    functools.partial(_backward, program, coupling, segment),
    symbolic_zeros=True,
  )
  return run(consts, streams)


def errors(
  pairs: Sequence[Pair], streams: Streams, coupling: Coupling, segment: int
) -> jax.Array:
  """How well the backward pass finds the streams again: (segments,).

  For each segment the largest difference between its first streams and those
  made from its last, over the largest value of the first.
  """
  distances = []
  for start in range(0, len(pairs), segment):
    part = pairs[start : start + segment]
    end = ordinary(part, streams, coupling)
    # Else the compiler would take what the forward pass has computed.
    back = jax.lax.optimization_barrier(end)
    for pair in reversed(part):
      back = coupling.inverse(pair, back)
    differ = jnp.stack([jnp.abs(a - b).max() for a, b in zip(back, streams)])
    size = jnp.stack([jnp.abs(x).max() for x in streams])
    distances.append(differ.max() / size.max())
    streams = end
  return (
    jnp.stack(distances) if distances else jnp.zeros((0,), streams[0].dtype)
  )


def _traced(fn: Callable, x: jax.Array) -> core.ClosedJaxpr:
  closed, shape = jax.make_jaxpr(fn, return_shape=True)(x)
  if (shape.shape, shape.dtype) != (x.shape, x.dtype):
    raise ValueError(
      f'a reversible layer must keep the shape and type {x.shape} {x.dtype} of '
      f'its streams; it gave {shape.shape} {shape.dtype}'
    )
  return closed


def _call(jaxpr: core.Jaxpr, consts: Sequence[Any], x: jax.Array) -> jax.Array:
  return core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, consts))(x)[0]


def _pairs(program, consts) -> list[Pair]:
  def bound(jaxpr, values):
    return lambda x: _call(jaxpr, values, x)

  return [
    tuple(map(bound, jaxprs, values))
    for jaxprs, values in zip(program, consts, strict=True)
  ]


def _last(program, coupling, consts, streams):
  return ordinary(_pairs(program, consts), streams, coupling)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, eq=False)
class _Learns:
  """Which constants are being differentiated: for each layer, F and G."""

  flags: list[tuple[list[bool], ...]]


def _forward(program, coupling, segment, consts, streams):
  def primal(x):
    return isinstance(x, CustomVJPPrimal)

  def get(name, tree):
    return jax.tree.map(lambda x: getattr(x, name), tree, is_leaf=primal)

  learns = _Learns(get('perturbed', consts))
  consts, streams = get('value', consts), get('value', streams)
  ends = []
  pairs = _pairs(program, consts)
  for start in range(0, len(pairs), segment):
    streams = ordinary(pairs[start : start + segment], streams, coupling)
    ends.append(streams)
  return streams, (consts, ends, learns)


def _backward(program, coupling, segment, kept, gradients):
  consts, ends, learns = kept
  layers = list(zip(program, learns.flags, consts, strict=True))
  gradients = tuple(
    jnp.zeros(g.shape, g.dtype) if isinstance(g, SymbolicZero) else g
    for g in gradients
  )
  own, by_layer = (), []
  for index in reversed(range(len(layers))):
    if (index + 1) % segment == 0 or index + 1 == len(layers):
      streams = ends[index // segment]
    jaxprs, flags, values = layers[index]
    undo = functools.partial(_undo, coupling, jaxprs, flags)
    streams = _after(streams, gradients, own)
    streams, gradients, own = apart(undo, streams, gradients, values)
    by_layer.append(own)
  spread = [
    tuple(map(_spread, flags, own))
    for flags, own in zip(learns.flags, reversed(by_layer), strict=True)
  ]
  return spread, gradients


def _after(streams, *done):
  """Returns the streams, to be used only when `done` has been computed.

  Left free, a compiler finds that stored streams are those of the forward pass
  and keeps what was computed of them, makes the streams of all segments at
  once, or leaves the gradients of the parameters, and what they need, to the
  end. Some drop optimization barriers before they order the work; adding zero
  times a sum is an order that all keep, since it isn't zero if the sum is NaN.
  """
  zero = 0 * sum(jnp.sum(leaf) for leaf in jax.tree.leaves(done))
  return tuple(x + zero.astype(x.dtype) for x in streams)


def _undo(coupling, program, learns, streams, gradients, consts):
  """Returns a layer's inputs, their gradients, and those of its constants."""
  (f, g), (f_learns, g_learns), (f_consts, g_consts) = program, learns, consts
  y1, y2 = coupling.unswapped(streams)
  dy1, dy2 = coupling.unswapped(gradients)
  out, pull = _vjp(g, g_consts, g_learns, y1)
  x2 = (y2 - out) / coupling.second
  own_g, through = pull(dy2)
  dy1 += through
  out, pull = _vjp(f, f_consts, f_learns, x2)
  x1 = (y1 - out) / coupling.first
  own_f, through = pull(dy1)
  dx1, dx2 = coupling.first * dy1, coupling.second * dy2 + through
  return (x1, x2), (dx1, dx2), (own_f, own_g)


def _vjp(jaxpr, consts, learns, x):
  """`jax.vjp` by the constants that learn, and by x."""

  def fn(learning, x):
    rest = iter(learning)
    whole = [
      next(rest) if wanted else const
      for const, wanted in zip(consts, learns, strict=True)
    ]
    return _call(jaxpr, whole, x)

  return jax.vjp(fn, list(itertools.compress(consts, learns)), x)


def _spread(learns, gradients):
  """Puts the gradients at their places; None for what doesn't learn."""
  rest = iter(gradients)
  return [next(rest) if wanted else None for wanted in learns]
