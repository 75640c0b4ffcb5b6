"""The frozen adapters of n source tasks, side by side at one LayerNorm.

What methods that combine finished adapters share: reading them, stacking their
leaves, and what all n give for one input. No loop over adapters: n bottlenecks
of size M are one of width n M.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.layers import activations, paths
from glue_jax.method import Hook, Host, Tuned
from glue_jax.peft.adapter import Linear
from glue_jax.plugs import Site

# Sizes that a source's backbone shares with the run's.
_SIZES = ('vocab_size', 'hidden_size', 'num_layers', 'intermediate_size')


class Stacked(NamedTuple):
  """n adapters of one site.

  Attributes:
    down: kernel (D, n M) and bias (n M,), one adapter after another.
    up: kernel (n, M, D) and bias (n, D).
  """

  down: Linear
  up: Linear


@dataclasses.dataclass(frozen=True)
class Sources:
  """What is known of the adapters before a model is there.

  Attributes:
    count: n.
    size: bottleneck M.
    width: D.
    activation: elementwise.
  """

  count: int
  size: int
  width: int
  activation: Callable[[jax.Array], jax.Array]

  def leaves(self, site: Site) -> Stacked:
    """Returns a site's adapters: its leaves source_{down,up}_{kernel,bias}.

    They start as zeros; `read` has their values.
    """
    n, m, d = self.count, self.size, self.width
    zeros = jax.nn.initializers.zeros
    shapes = {
      'down_kernel': (d, n * m),
      'down_bias': (n * m,),
      'up_kernel': (n, m, d),
      'up_bias': (n, d),
    }
    arrays = {k: site.param(f'source_{k}', zeros, s) for k, s in shapes.items()}
    return Stacked(
      (arrays['down_kernel'], arrays['down_bias']),
      (arrays['up_kernel'], arrays['up_bias']),
    )

  def hidden(self, h: jax.Array, stacked: Stacked) -> jax.Array:
    """Returns what all adapters' activations give, (..., D) to (..., n, M)."""
    kernel, bias = (x.astype(h.dtype) for x in stacked.down)
    wide = self.activation(h @ kernel + bias)
    return wide.reshape(*h.shape[:-1], self.count, self.size)


def read(
  load: Callable[[str], Tuned], names: Sequence[str], config: Any
) -> tuple[Sources, dict[str, np.ndarray]]:
  """Reads finished adapters.

  Args:
    load: `Context.load_tuned`.
    names: workdirs or model folders of runs with the method `pfeiffer`.
    config: sizes of this run's encoder.

  Returns:
    (Sources, {leaf as `Sources.leaves` names it: value}).

  Raises:
    ValueError: no source, one given twice, one that isn't there, isn't
      finished or isn't a Pfeiffer adapter, other sizes, or sources that differ
      in shape, activation or backbone.
  """
  if not names or len(set(names)) < len(names):
    raise ValueError(
      f'sources={list(names)}: expected one or more finished adapters, each '
      'once'
    )
  adapters, first = [], None
  for name in names:
    tuned = load(name)
    _check(name, tuned, config)
    flat = tree.flatten(tuned.params)
    own = {n: x for n, x in flat.items() if '/adapter_' in n}
    activation = tuned.methods['pfeiffer']['activation']
    source = (name, own, _encoder(tuned.params), activation)
    first = first or source
    _check_pair(first, source)
    adapters.append(own)
  sizes = {x.shape[1] for n, x in first[1].items() if n.endswith('down_kernel')}
  if len(sizes) != 1:
    raise ValueError(f'{names[0]}: adapters of several sizes {sorted(sizes)}')
  sources = Sources(
    len(names),
    sizes.pop(),
    config.hidden_size,
    activations.activation(first[3]),
  )
  return sources, stack(adapters)


def stack(
  adapters: Sequence[Mapping[str, np.ndarray]],
) -> dict[str, np.ndarray]:
  """Puts adapters side by side.

  Args:
    adapters: each `{'<site>/adapter_{down,up}_{kernel,bias}': value}`, all with
      the same names and shapes.

  Returns:
    `{'<site>/source_...': value}`, see `Stacked`.
  """
  joined = {}
  for name in adapters[0]:
    leaves = [np.asarray(own[name]) for own in adapters]
    join = np.stack if '/adapter_up_' in name else _beside
    joined[name.replace('/adapter_', '/source_')] = join(leaves)
  return joined


def put(params: tree.Tree, values: Mapping[str, np.ndarray]) -> tree.Tree:
  """Returns the tree with the adapters' values in their leaves.

  Raises:
    ValueError: the tree's leaves for them have other names or shapes.
  """
  flat = dict(tree.flatten(params))
  wanted = {n: x for n, x in flat.items() if '/source_' in n}
  gap = tree.diff(tree.unflatten(wanted), tree.unflatten(values))
  if gap:
    raise ValueError(
      'the source adapters do not fit this model (- missing, + left over, '
      f'! other shape):\n{gap}'
    )
  for name, value in values.items():
    flat[name] = jnp.asarray(value, wanted[name].dtype)
  return tree.unflatten(flat)


def same_backbone(
  load: Callable[[str], Tuned],
  name: str,
  what: str = 'source adapter',
  own: str = '/adapter_',
) -> Hook:
  """Refuses a run whose backbone isn't the sources', before its first step.

  Args:
    load: `Context.load_tuned`.
    name: one of the sources; `read` has compared them with one another.
    what: they are.
    own: what the names of their leaves have and the backbone's haven't.
  """

  def check(host: Host) -> None:
    if host.step:
      return
    ours = tree.flatten(host.state.all_params())
    for leaf, value in _encoder(load(name).params, own).items():
      same = leaf in ours and ours[leaf].shape == value.shape
      if not (same and bool(jnp.array_equal(ours[leaf], value))):
        raise ValueError(
          f'the {what} {name} was trained on another backbone: {leaf} '
          'differs; start from the weights that it started from'
        )

  return Hook(before_epoch=check)


def _encoder(params, own='/adapter_') -> dict[str, np.ndarray]:
  return {
    n: x
    for n, x in tree.flatten(params).items()
    if paths.in_stack(n) and own not in n
  }


def _check(name, tuned, config):
  """Refuses what is no Pfeiffer adapter of a backbone of these sizes."""
  if list(tuned.methods) != ['pfeiffer']:
    raise ValueError(
      f'source {name} was tuned with {list(tuned.methods) or "no method"}; '
      "expected methods=(('pfeiffer', ...),) alone"
    )
  check_sizes(f'source {name}', tuned, config)


def check_sizes(name: str, tuned: Tuned, config: Any) -> None:
  """Refuses what was tuned on a backbone of other sizes.

  Args:
    name: shown.
    tuned: a finished run.
    config: sizes of this run's encoder.

  Raises:
    ValueError: they differ in one of them.
  """
  for field in _SIZES:
    ours, theirs = (getattr(c, field) for c in (config, tuned.config))
    if ours != theirs:
      raise ValueError(
        f'{name} has {field} {theirs}, this model {ours}; they must be equal'
      )


def _check_pair(first, other):
  """Compares two (name, adapter, backbone, activation)."""
  gap = tree.diff(tree.unflatten(first[1]), tree.unflatten(other[1]))
  if gap or first[3] != other[3]:
    raise ValueError(
      f'the adapters {first[0]} (activation {first[3]}) and {other[0]} '
      f'({other[3]}) have other shapes or activations:\n{gap}'
    )
  for leaf, value in first[2].items():
    if not np.array_equal(value, other[2].get(leaf)):
      raise ValueError(
        f'the adapters {first[0]} and {other[0]} belong to different '
        f'backbones: {leaf} differs'
      )


def _beside(leaves):
  return np.concatenate(leaves, axis=-1)
