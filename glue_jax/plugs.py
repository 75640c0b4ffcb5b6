"""Plugs: what a method does at named places inside an unmodified model.

A `Plug` sits on every submodule whose path its pattern matches and wraps the
call. `Apply` binds a model and plugs into one pure function. The interceptor is
entered inside that function, never around a jitted call: the jit cache knows
nothing of interceptors and would silently return the plain model.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.layers import cache as cache_lib


@dataclasses.dataclass(frozen=True)
class Site:
  """One call of a submodule that a plug sits on.

  Attributes:
    module: the bound submodule.
    path: its path, for example 'encoder/layer_0/mixer/query'.
    apply: the `Apply` in progress: frozen trees, extra, variant, step.
    train: whether dropout is on.
  """

  module: nn.Module
  path: str
  apply: 'Apply'
  train: bool

  def param(
    self,
    name: str,
    init: Callable[..., jax.Array],
    shape: tuple[int, ...],
    dtype: Any = jnp.float32,
  ) -> jax.Array:
    """Returns the plug's leaf `<path>/<name>`; `init(rng, shape, dtype)`."""
    return self.module.scope.param(name, init, shape, dtype)

  def rng(self) -> jax.Array:
    """Returns a key for dropout inside the plug; only while training."""
    return self.module.make_rng('dropout')

  def innermost(self, fn: Callable[..., Any]) -> bool:
    """Says whether the plug `fn` is the one next to the submodule's own call.

    Where it isn't, a plug of an earlier method lies between; a plug that takes
    the call's place would silently drop it.
    """
    plugs = self.apply.plugs
    return next(p for p in plugs if tree.matches(p.pattern, self.path)).fn is fn

  def capture(self, name: str, value: Any) -> None:
    """Hands a value out, as `outputs['captured']['<path>/<name>']`."""
    self.module.sow('captured', name, value, reduce_fn=lambda _, new: new)


@dataclasses.dataclass(frozen=True)
class Plug:
  """A wrapper around every submodule that the pattern matches.

  Attributes:
    pattern: regular expression that must match the whole module path.
    fn: `fn(site, next_fn, *args, **kwargs) -> output`; `next_fn` is the
      submodule's own call (or the plug of an earlier method). It may be called
      more than once: the leaves are the same each time.
    owner: name of the method that it is of; set where methods are composed.
  """

  pattern: str
  fn: Callable[..., Any]
  owner: str = ''


@dataclasses.dataclass(frozen=True, eq=False)
class Apply:
  """The bound model: `apply(params, batch, train, rng) -> outputs`.

  Attributes:
    model: module called as `model(batch, train=...) -> dict of outputs`.
    plugs: outermost last.
    companions: networks beside the model, see `method.Companion`.
    frozen: named trees that don't learn (a teacher, a generator).
    extra: what is neither learned by gradient nor frozen.
    variant: static values that hooks chose, {name: hashable}.
    step: number of finished steps, or None outside training.
    shape: (config, variant) -> config; the sizes of the network that a variant
      runs, see `method.Method`.
    whole: the model as it was built, where `model` is its shape in a variant.
  """

  model: nn.Module
  plugs: tuple[Plug, ...] = ()
  companions: Mapping[str, 'Apply'] = dataclasses.field(default_factory=dict)
  frozen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  variant: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  step: Any = None
  shape: Callable[[Any, Mapping[str, Any]], Any] | None = None
  whole: nn.Module | None = None

  def replace(self, **changes: Any) -> 'Apply':
    """Returns it with other fields; of another variant, in that one's shape."""
    new = dataclasses.replace(self, **changes)
    if not new.shape or not changes.keys() & {'model', 'variant', 'shape'}:
      return new
    whole = changes.get('model') or self.whole or self.model
    config = new.shape(whole.config, new.variant)
    return dataclasses.replace(
      new, model=whole.clone(config=config), whole=whole
    )

  def without(self, method: str) -> 'Apply':
    """Returns the model without the plugs of a method, on the same leaves.

    Of an adapter (`without('lora')`) it is the reference model, bit for bit the
    base that the run began with, if its leaves are all that learns: what the
    run trains of the base itself (biases with `also`, a head) is the trained
    one here too. Of a method that packs the base (`qlora`) there is none.

    Raises:
      ValueError: no plug is of that method.
    """
    left = tuple(plug for plug in self.plugs if plug.owner != method)
    if len(left) == len(self.plugs):
      owners = sorted({plug.owner for plug in self.plugs})
      raise ValueError(f'no plug is of {method!r}; there are those of {owners}')
    return self.replace(plugs=left)

  def __call__(
    self,
    params: tree.Tree,
    batch: Mapping[str, Any],
    train: bool = False,
    rng: jax.Array | None = None,
  ) -> dict[str, Any]:
    """Runs the model.

    Args:
      params: the whole parameter tree.
      batch: see glue_jax/data/batching.py for the fields and their shapes.
      train: turns dropout on; needs `rng`.
      rng: typed key for dropout.

    Returns:
      The model's outputs; with plugs that capture, also 'captured', a dict
      `{'<module path>/<name>': value}`.
    """
    rngs = {'dropout': rng} if train and rng is not None else {}
    return self._run({'params': params}, batch, train, rngs)[0]

  def _run(self, variables, batch, train=False, rngs=None, changes=()):
    with nn.intercept_methods(self._interceptor(train)):
      outputs, state = self.model.apply(
        variables, batch, train=train, rngs=rngs, mutable=['captured', *changes]
      )
    if 'captured' in state:
      outputs = dict(outputs, captured=tree.flatten(state['captured']))
    return outputs, state

  def init_cache(
    self, params: tree.Tree, batch: Mapping[str, Any], length: int
  ) -> tree.Tree:
    """Returns an empty cache for `decode`; nothing is computed.

    Args:
      params: the whole parameter tree.
      batch: input_ids (B, L), those that come first or, of an encoder-decoder,
        the encoder's.
      length: how many tokens of a row there is room for, padding included.

    Returns:
      the tree of zeros that glue_jax/layers/cache.py describes.

    Raises:
      ValueError: the model has no decoder or a mixer that keeps no cache, the
        first tokens are more than `length`, or that is more than its positions.
    """
    rows, first = jnp.shape(batch['input_ids'])
    field = decoded_field(self.model)
    if field == 'input_ids' and first > length:
      raise ValueError(
        f'a cache of length {length} is too short for inputs of length {first}'
      )
    ids = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    # The fields that `decode` takes first, and with them all of its room.
    like = {k: v for k, v in batch.items() if k != 'positions'} | {field: ids}
    like[field.replace('input_ids', 'attention_mask')] = ids
    run = functools.partial(self._run, changes=(cache_lib.NAME,))
    _, state = jax.eval_shape(run, {'params': params}, like)
    found = tree.flatten(state.get(cache_lib.NAME, {}))
    layers = {n for n in found if n.endswith('/mixer/keys')}
    c = self.model.config
    count = (c.of_decoder if field != 'input_ids' else c).num_layers
    if len(layers) != count:
      raise ValueError(
        f'model.name={self.model.family!r}: {len(layers)} of {count} layers '
        "keep a cache; writing texts needs model.mixer='attention' and "
        'layers of their own in the decoder'
      )
    return jax.tree.map(
      lambda x: jnp.zeros(x.shape, x.dtype), state[cache_lib.NAME]
    )

  def decode(
    self, params: tree.Tree, cache: tree.Tree, batch: Mapping[str, Any]
  ) -> tuple[dict[str, Any], tree.Tree]:
    """Runs the model on the next tokens, which see those in the cache.

    Plugs act as in a call, and only on these tokens.

    Args:
      params: the whole parameter tree.
      cache: of `init_cache` or the call before.
      batch: input_ids and attention_mask (B, L) of the next tokens, which must
        fit in: XLA would write them over the last ones. Of an encoder-decoder
        the first time the encoder's fields and decoder_input_ids, then these
        alone.

    Returns:
      (outputs of these tokens, the cache with them).

    Raises:
      ValueError: there are more of them than room in the cache.
    """
    ids = batch[decoded_field(self.model)]
    tokens = cache['decoder']['tokens']
    room, taken = tokens['mask'].shape[1], 0
    if not isinstance(tokens['taken'], jax.core.Tracer):
      taken = int(tokens['taken'])
    if taken + ids.shape[1] > room:
      raise ValueError(
        f'the cache has room for {room} tokens and holds {taken}; '
        f'{ids.shape[1]} more do not fit: make it longer (init_cache)'
      )
    outputs, state = self._run(
      {'params': params, cache_lib.NAME: cache},
      batch,
      changes=(cache_lib.NAME,),
    )
    return outputs, state[cache_lib.NAME]

  def init(self, rng: jax.Array, batch: Mapping[str, Any]) -> tree.Tree:
    """Returns fresh parameters, those of the plugs included."""
    with nn.intercept_methods(self._interceptor(False)):
      variables = self.model.init({'params': rng}, batch, train=False)
    return nn.unbox(variables['params'])

  def init_checked(self, rng: jax.Array, batch: Mapping[str, Any]) -> tree.Tree:
    """Returns what `init` does.

    Raises:
      ValueError: a plug's pattern matches no module; the message lists the
        model's.
    """
    return self._recorded(rng, batch)[0]

  def shapes(self, batch: Mapping[str, Any]) -> tree.Tree:
    """Returns shapes and types of `init`'s leaves; nothing is computed.

    Raises:
      ValueError: a plug's pattern matches no module.
    """
    return jax.eval_shape(self.init_checked, jax.random.key(0), batch)

  def touched(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
    """Returns {pattern: module paths it sits on}; nothing is computed.

    Raises:
      ValueError: a plug's pattern matches no module.
    """
    found: dict[str, list[str]] = {}

    def run(rng, batch):
      leaves, touched = self._recorded(rng, batch)
      found.update(touched)
      return leaves

    jax.eval_shape(run, jax.random.key(0), batch)
    return found

  def _recorded(self, rng, batch):
    """What `init` gives, and {pattern: module paths it sits on}."""
    seen: list[str] = []

    def record(next_fn, args, kwargs, context):
      if context.method_name == '__call__':
        seen.append('/'.join(context.module.path))
      return next_fn(*args, **kwargs)

    with nn.intercept_methods(record):
      leaves = self.init(rng, batch)
    paths = [path for path in dict.fromkeys(seen) if path]
    touched = {}
    for plug in self.plugs:
      hits = [path for path in paths if tree.matches(plug.pattern, path)]
      if not hits:
        raise ValueError(_missing(plug.pattern, paths))
      touched[plug.pattern] = sorted(hits)
    return leaves, touched

  def _interceptor(self, train: bool) -> Callable[..., Any]:
    def intercept(next_fn, args, kwargs, context):
      if context.method_name != '__call__':
        return next_fn(*args, **kwargs)
      path = '/'.join(context.module.path)
      call = next_fn
      for plug in self.plugs:
        if tree.matches(plug.pattern, path):
          site = Site(context.module, path, self, train)
          call = _wrap(plug.fn, site, _repeatable(context.module, call))
      return call(*args, **kwargs)

    return intercept


def decoded_field(model: nn.Module) -> str:
  """Returns the field of the batch whose tokens a decoder writes.

  Raises:
    ValueError: the model has no decoder.
  """
  if model.shape == 'encoder':
    raise ValueError(
      f'model.name={model.family!r} is an encoder and writes no text; take a '
      'decoder (llama, qwen2, ...) or an encoder-decoder (bart, t5)'
    )
  return 'input_ids' if model.shape == 'decoder' else 'decoder_input_ids'


class Recorder:
  """An `Apply` that keeps the outputs of its calls, for `wrap_loss`.

  A wrapper passes it on in place of `apply` and reads `outputs` afterwards, so
  that the model runs once however many losses look at it.
  """

  def __init__(self, apply: 'Apply | Recorder'):
    self.apply = apply
    self.outputs: list[dict[str, Any]] = []

  def __getattr__(self, name: str) -> Any:
    return getattr(self.apply, name)

  def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
    outputs = self.apply(*args, **kwargs)
    self.outputs.append(outputs)
    return outputs


def _missing(pattern: str, paths: list[str]) -> str:
  """Says that no module matches, and which there are in the same place."""
  block = r'(.*/layer_\d+)/(.+)'
  if 'layer_' in pattern:
    inside = [m[2] for path in paths if (m := re.match(block, path))]
    there = 'its blocks have'
  else:
    inside = [path for path in paths if not re.match(block, path)]
    there = 'it has'
  return (
    f'the model has no layer {pattern}; {there} '
    f'{", ".join(dict.fromkeys(inside))}'
  )


def _wrap(fn, site, next_fn):
  return lambda *args, **kwargs: fn(site, next_fn, *args, **kwargs)


def _repeatable(module, next_fn):
  calls = 0

  def call(*args, **kwargs):
    nonlocal calls
    if calls:
      # Names of leaves are taken until Flax, after a call, does the same.
      object.__setattr__(module, 'scope', module.scope.rewound())
    calls += 1
    return next_fn(*args, **kwargs)

  return call
