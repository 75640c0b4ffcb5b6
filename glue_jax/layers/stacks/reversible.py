"""A reversible stack: training memory that doesn't grow with depth (MEFT).

Liao et al. 2023, arXiv 2306.00477. The blocks run as two coupled streams
(layers/stacks/coupling.py) that both begin as the embeddings and end in their
mean:

  variant  F                    G                    lambda  beta  swap
  meft1    whole block          adapter beside it    0.1     1     yes
  meft2    adapter beside it    whole block          1       0.1   yes
  meft3    attention sublayer   feed-forward one     0.1     0.1   no

The adapters are plugs (peft/meft.py); without them the adapter beside a block
gives zero. Streams are float32 whatever type the blocks compute in. Options are
those of `Options`, as model.options={'reversible': {'variant': 'meft1'}}.
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core.scope import Scope

from glue_jax.config.ranges import Count, Number, OneOf, Whole, check_arguments
from glue_jax.layers import spec
from glue_jax.layers.context import BatchContext
from glue_jax.layers.stacks import coupling
from glue_jax.layers.stacks.coupling import Coupling

# What a plug may hand out of a block; see Site.capture.
_CAPTURED = 'captured'
MEASURED = 'reconstruction_error'


@dataclasses.dataclass(frozen=True)
class Variant:
  """A row of the table above.

  Attributes:
    parts: F and G, each a part of `Block.part` ('' is the whole block).
    coupling: factors and order.
    segment: layers between two stored pairs of streams, by default. Ours: the
      paper stores the last pair only, and float32 gradients of the lowest of
      12 layers are then off by more than their size.
  """

  parts: tuple[str, str]
  coupling: Coupling
  segment: int


VARIANTS = {
  'meft1': Variant(('', 'beside'), Coupling(0.1, 1.0, True), 4),
  'meft2': Variant(('beside', ''), Coupling(1.0, 0.1, True), 4),
  'meft3': Variant(('mixer', 'ffn'), Coupling(0.1, 0.1, False), 2),
}


@dataclasses.dataclass(frozen=True)
class Options:
  """Options of the stack.

  Attributes:
    variant: key of `VARIANTS`.
    segment: layers between two stored pairs of streams; None is the variant's
      own, the number of layers stores one pair, as published.
    layers: how many of the first layers are reversible; the others are
      differentiated as usual. None is all, 0 an ordinary model of the same
      function.
    factors: lambda and beta; None is the variant's own.
    measure: hand out `MEASURED` (segments,), see `coupling.errors`.

  Raises:
    ValueError: a value that is out of range.
  """

  variant: Annotated[str, OneOf(VARIANTS)] = 'meft1'
  segment: Count | None = None
  layers: Whole | None = None
  factors: tuple[Number, Number] | None = None
  measure: bool = False

  def __post_init__(self):
    check_arguments(Options, vars(self), "model.options['reversible']")
    self.coupling  # noqa: B018 (refuses factors that can't be undone)

  @property
  def coupling(self) -> Coupling:
    """The variant's coupling, with the factors given."""
    own = VARIANTS[self.variant].coupling
    if self.factors is None:
      return own
    return Coupling(*self.factors, own.swap)


def options(config: spec.EncoderConfig) -> Options:
  """Returns the stack's options in a config.

  Raises:
    ValueError: one that nothing reads, or out of range, or a block that can't
      be reversible.
  """
  given = dict(dict(config.options).get('reversible', ()))
  known = {field.name for field in dataclasses.fields(Options)}
  unknown = sorted(given.keys() - known)
  if unknown:
    raise ValueError(
      f"model.options['reversible']: nothing reads {unknown}; it takes "
      f'{sorted(known)}'
    )
  chosen = Options(**given)
  if (chosen.layers or 0) > config.num_layers:
    raise ValueError(
      f"model.options['reversible']: layers={chosen.layers} exceeds the "
      f'{config.num_layers} layers of the model'
    )
  if config.remat:
    raise ValueError(
      "model.remat recomputes what model.stack='reversible' makes again "
      'already; leave one of them out'
    )
  bare = [i for i, name in enumerate(config.names('ffn')) if not name]
  if bare:
    raise ValueError(
      f"model.stack='reversible' needs a feed-forward part in every block; "
      f'layers {bare} have model.ffn={config.ffn!r}'
    )
  return chosen


def stack(
  layers: Sequence[nn.Module],
  x: jax.Array,
  context: BatchContext,
  train: bool,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
  """Runs the blocks as two streams.

  Args:
    layers: modules with a method `part(x, context, train, which)`.
    x: embeddings (B, L, D).
    context: see `BatchContext`.
    train: turns dropout on.

  Returns:
    the mean of the last streams (B, L, D), and (x, that mean): the states in
    between are what is never kept.

  Raises:
    ValueError: a block hands out captured values: its backward pass is another
      run of it, which would know nothing of their gradient.
  """
  if not layers:
    return x, (x,)
  chosen = options(layers[0].config)
  variant = VARIANTS[chosen.variant]
  if layers[0].is_initializing():
    for layer in layers:
      for which in variant.parts:
        _run(layer, which, x, context, train)
      _refuse_captured(layer.variables, layer.path)
    return x, (x, x)
  halves = pairs(layers, variant.parts, context, train)
  streams = (x.astype(jnp.promote_types(x.dtype, jnp.float32)),) * 2
  count = len(layers) if chosen.layers is None else chosen.layers
  rule = chosen.coupling, chosen.segment or variant.segment
  if chosen.measure:
    value = coupling.errors(halves[:count], streams, *rule)
    layers[0].parent.sow(_CAPTURED, MEASURED, value, lambda _, new: new)
  streams = coupling.reversible(halves[:count], streams, *rule)
  streams = coupling.ordinary(halves[count:], streams, chosen.coupling)
  last = ((streams[0] + streams[1]) / 2).astype(x.dtype)
  return last, (x, last)


# Run by `model.build`: what doesn't fit is refused before anything is made.
stack.check = options


def _run(layer, which, x, context, train):
  # The whole block is called as always, for plugs that sit on it.
  if not which:
    return layer(x, context, train)
  return layer.part(x, context, train, which)


def pairs(
  layers: Sequence[nn.Module],
  parts: tuple[str, str],
  context: BatchContext,
  train: bool,
) -> list[coupling.Pair]:
  """Returns F and G of each layer, as functions of the stream alone.

  Args:
    layers: bound blocks.
    parts: what F and G are, see `Variant`.
    context: see `BatchContext`.
    train: turns dropout on.
  """
  functions = []
  for layer in layers:
    key = layer.make_rng('dropout') if layer.has_rng('dropout') else None
    functions.append(
      tuple(
        _pure(layer, which, context, train, key, index)
        for index, which in enumerate(parts)
      )
    )
  return functions


def _pure(layer, which, context, train, key, index):
  params = layer.variables.get('params', {})
  path, dtype = layer.path, jnp.dtype(layer.config.dtype)

  def call(stream):
    # Folded, not drawn: the backward pass has the same masks.
    rngs = {} if key is None else {'dropout': jax.random.fold_in(key, index)}
    # A scope of its own that knows the block's place, so that plugs find it:
    # a bound module must not be called inside another function's tracing.
    scope = Scope({'params': params}, rngs, mutable=[_CAPTURED], path=path)
    own = layer.clone(parent=scope, _deep_clone=True)
    y = _run(own, which, stream.astype(dtype), context, train)
    _refuse_captured(scope.mutable_variables(), path)
    return y.astype(stream.dtype)

  return call


def _refuse_captured(variables, path):
  captured = variables.get(_CAPTURED)
  if captured:
    names = sorted('/'.join(k.key for k in p) for p, _ in _leaves(captured))
    raise ValueError(
      f"model.stack='reversible' cannot hand {names} out of "
      f'{"/".join(path)}: its blocks are run again in the backward pass. Use '
      "model.stack='plain', or leave out the part or method that captures them"
    )


def _leaves(tree):
  return jax.tree_util.tree_leaves_with_path(tree)
