"""One interface for the gates of sparse experts.

A gate is a file `glue_jax/layers/gates/<name>.py` with a `Gate`: a module made
with (config, experts, **options) and called as (x (B, L, D), context, train)
that returns a `Routing`. Adding one is adding a file.

What a gate wants to be minimised or logged it captures by name
(`capture`); glue_jax/methods/comet.py weighs it.
"""

import dataclasses
import importlib
import os
import pkgutil
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from glue_jax.kernels import mesh_axes
from glue_jax.layers.context import BatchContext
from glue_jax.layers.spec import EncoderConfig

# Files of this folder that aren't gates.
_SHARED = ('base', 'permutation')
# How tokens (T, ...) lie on the mesh.
ROWS = P(mesh_axes.BATCH)
# A weight below this doesn't count as a use of the expert.
USED = 1e-5


class Routing(NamedTuple):
  """How tokens are sent to experts.

  Attributes:
    weights: (B, L, n) float32; zero for an expert that a token doesn't use.
    keep: at most this many experts a token are wanted.
    sparse: the weights have no more than `keep` entries by construction; if
      False that depends on the values.
  """

  weights: jax.Array
  keep: int
  sparse: bool


def names() -> list[str]:
  """The gates that there are."""
  files = pkgutil.iter_modules([os.path.dirname(__file__)])
  return sorted(f.name for f in files if f.name not in _SHARED)


def find(name: str) -> type[nn.Module]:
  """Returns the `Gate` of a file.

  Raises:
    ValueError: there is no such file; the message lists those there are.
  """
  if name not in names():
    raise ValueError(
      f"model.options['experts'] gate={name!r}: no file glue_jax/layers/"
      f'gates/{name}.py; there are {names()}'
    )
  return importlib.import_module(f'glue_jax.layers.gates.{name}').Gate


def make(
  name: str, config: EncoderConfig, experts: int, options: Mapping[str, Any]
) -> nn.Module:
  """Builds a gate; its name in the tree is `gate`.

  Raises:
    ValueError: no such gate, or it doesn't take one of its options.
  """
  cls = find(name)
  fields = {f.name for f in dataclasses.fields(cls)}
  known = fields - {'parent', 'name', 'config', 'experts'}
  unknown = sorted(set(options) - known)
  if unknown:
    raise ValueError(
      f"model.options['experts'] gate_options: the gate {name!r} doesn't read "
      f'{unknown}; it takes {sorted(known)}'
    )
  return cls(config, experts, **options, name='gate')


def check_keep(keep: int, experts: int) -> None:
  """Refuses more active experts than there are.

  Raises:
    ValueError: k isn't in 1 .. n.
  """
  if not 1 <= keep <= experts:
    raise ValueError(
      f"model.options['experts'] gate_options k={keep}: expected 1 to the "
      f'{experts} experts'
    )


def counted(context: BatchContext, x: jax.Array) -> jax.Array:
  """Which of the tokens of x (B, L, D) count in means: (B, L) float32."""
  mask = context.mask[:, : x.shape[1]]
  if context.count_padding:
    mask = jnp.ones_like(mask)
  return mask.astype(jnp.float32)


def capture(module: nn.Module, name: str, value: jax.Array) -> None:
  """Hands a number out, as `outputs['captured']['<path>/<name>']`."""
  module.sow('captured', name, value, reduce_fn=lambda _, new: new)


def mean(values: jax.Array, weight: jax.Array) -> jax.Array:
  """Mean of values (B, L) over the tokens that count."""
  return (values * weight).sum() / jnp.maximum(weight.sum(), 1.0)


def balance_loss(
  probabilities: jax.Array, assigned: jax.Array, weight: jax.Array
) -> jax.Array:
  """n sum_e P_e f_e; 1 when both are uniform.

  Fedus et al. 2022, arXiv 2101.03961, eq. 4.

  Args:
    probabilities: of the experts (B, L, n); P_e is their mean.
    assigned: (B, L, n), rows sum to 1; f_e is their mean, without gradient.
    weight: (B, L), see `counted`.
  """
  axes = tuple(range(weight.ndim))
  count = jnp.maximum(weight.sum(), 1.0)

  def share(x):
    return (x * weight[..., None]).sum(axes) / count

  fraction = jax.lax.stop_gradient(share(assigned))
  return probabilities.shape[-1] * (share(probabilities) * fraction).sum()


def squared_variation(values: jax.Array) -> jax.Array:
  """Squared coefficient of variation of (n,) totals.

  Shazeer et al. 2017, arXiv 1701.06538, eq. 7 and 11 (variance / mean^2).
  """
  return values.var() / (values.mean() ** 2 + 1e-10)
