"""Plugs that keep an encoder's activations compressed: saved_activations.py.

Each plug takes the place of the innermost call at its site, so other methods'
plugs around the layers keep their effect, and no value changes.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import jax

from glue_jax.compress import saved_activations
from glue_jax.kernels import mesh_axes
from glue_jax.layers import paths
from glue_jax.layers.dropout import dropout
from glue_jax.layers.spec import EncoderConfig
from glue_jax.plugs import Plug, Site

# Where the largest tenth of a norm's entries is looked for.
PrunedBy = Literal['device', 'example']


def plugs(
  parts: Iterable[str],
  config: EncoderConfig,
  value_dropout: bool = False,
  pruned_by: PrunedBy = 'device',
) -> tuple[Plug, ...]:
  """Returns the plugs of some parts of an encoder.

  Args:
    parts: of `SITES`.
    config: of the encoder.
    value_dropout: attention's dropout is put on the values (published) instead
      of on the probabilities.
    pruned_by: 'device': in all rows of a device (published; there is one), or
      'example': in each row of the batch, whatever the number of devices.

  Raises:
    ValueError: an unknown part or value, or an activation other than GELU
      where its gradient is to be replaced.
  """
  parts = tuple(parts)
  unknown = sorted(set(parts) - set(SITES))
  if unknown or len(set(parts)) < len(parts):
    raise ValueError(
      f'compress={parts}: expected some of {sorted(SITES)}, each once'
    )
  if 'gelu' in parts and config.activation != 'gelu':
    raise ValueError(
      f"compress has 'gelu', but model.activation={config.activation!r}; leave "
      'it out'
    )
  options: dict[str, dict[str, Any]] = {
    'attention': {'value_dropout': value_dropout},
    'norm': {'pruned_by': pruned_by},
  }
  return tuple(_plug(*SITES[part], **options.get(part, {})) for part in parts)


def _plug(pattern: str, fn: Callable[..., Any], **options: Any) -> Plug:
  def call(site, *args, **kwargs):
    if not site.innermost(call):
      raise ValueError(
        f'another method changes {site.path} before its activations are '
        'compressed; list the method that compresses them (slimfit) first'
      )
    return fn(site, *args, **kwargs, **options)

  return Plug(pattern, call)


def _gelu(site: Site, next_fn, x):
  del site, next_fn
  return saved_activations.gelu4(x)


def _attention(
  site: Site, next_fn, query, key, value, bias, rng, rate, value_dropout
):
  del site, next_fn
  if value_dropout and rng is not None:
    value, rng, rate = dropout(value, rng, rate), None, 0.0
  return saved_activations.attend8(query, key, value, bias, rng, rate)


def _product(site: Site, next_fn, x, kernel, *args, **kwargs):
  del site, next_fn, args, kwargs  # those of every dense layer
  return saved_activations.dense8(x, kernel)


def _norm(site: Site, next_fn, x, scale, bias, pruned_by):
  del next_fn
  module = site.module
  groups = x.shape[0] if pruned_by == 'example' else _devices()
  y = saved_activations.layernorm_pruned(x, scale, bias, module.eps, groups)
  return y.astype(module.dtype)


def _devices():
  """How many devices share the rows of a batch."""
  shape = jax.sharding.get_abstract_mesh().shape
  return math.prod(shape.get(axis, 1) for axis in mesh_axes.BATCH)


# {part: (pattern of its sites, what takes the call's place)}.
SITES: dict[str, tuple[str, Callable[..., Any]]] = {
  'gelu': (paths.of('.*ffn_act'), _gelu),
  'attention': (paths.of('.*core/attend'), _attention),
  'ffn_out': (paths.of('.*ffn_out/product'), _product),
  'norm': (rf'{paths.STACK}/.*/ln[^/]*/normalise', _norm),
}
