"""Mesh, rules and specs: where every leaf and every activation lives.

The mesh has the axes `data`, `fsdp`, `tensor` and `expert`. Batches are split
over `data`, `fsdp` and `expert`; parameters follow their model's name rules
(`tensor`, `fsdp`, and `expert` for those of sparse experts), and a leaf that no
rule names (a method's own) is split over `fsdp` on its largest divisible
dimension.
"""

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from glue_jax import tree
from glue_jax.config.ranges import Count
from glue_jax.kernels.mesh_axes import BATCH

# Of an axis; -1 takes all devices that are left.
Size = Count | Literal[-1]
AXES = ('data', 'fsdp', 'tensor', 'expert')

# Logical names of activation axes -> mesh axes.
ACTIVATIONS = (
  ('batch', BATCH),
  ('length', None),
  ('embed', None),
  ('heads', 'tensor'),
  ('mlp', 'tensor'),
  ('vocab', 'tensor'),
  ('expert', 'expert'),
  # Tokens of all devices along `expert`, for the experts that each of them has.
  ('expert_tokens', ('data', 'fsdp')),
)

# Leaves with fewer elements are copied to every device: splitting them would
# cost more in messages than it saves.
SMALL = 2**11


def make_mesh(
  data: Size = -1,
  fsdp: Size = 1,
  tensor: Size = 1,
  expert: Size = 1,
  devices: Sequence[Any] | None = None,
) -> Mesh:
  """Makes the mesh; an axis of size -1 takes all devices that are left.

  Args:
    data, fsdp, tensor, expert: devices along each axis.
    devices: defaults to all devices of all processes.

  Raises:
    ValueError: the sizes don't multiply to the number of devices, or devices
      along `tensor`, which share their rows, belong to several processes, each
      of which reads rows of its own.
  """
  devices = list(jax.devices() if devices is None else devices)
  shape = [data, fsdp, tensor, expert]
  known = math.prod(size for size in shape if size != -1)
  if shape.count(-1) == 1 and known and len(devices) % known == 0:
    shape[shape.index(-1)] = len(devices) // known
  if math.prod(shape) != len(devices) or min(shape) < 1:
    raise ValueError(
      f'mesh expert={expert} data={data} fsdp={fsdp} tensor={tensor} does not '
      f'fit {len(devices)} devices; sizes must multiply to it (one may be -1)'
    )
  # Auto axes: under the Explicit default a linen constraint raises.
  mesh = jax.make_mesh(
    tuple(shape), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices
  )
  check_processes(np.vectorize(lambda d: d.process_index)(mesh.devices))
  return mesh


def fitting(**sizes: Any) -> dict[str, Any]:
  """Returns the sizes of a mesh if they fit the devices here, else none.

  Without sizes `make_mesh` copies parameters to all devices and shares batches.
  """
  try:
    make_mesh(**sizes)
  except ValueError:
    return {}
  return sizes


def check_processes(owners: np.ndarray) -> None:
  """Refuses a mesh on which processes would read different rows as the same.

  Args:
    owners: the process of each device, an axis for each of `AXES`.

  Raises:
    ValueError: see `make_mesh`.
  """
  if (owners == owners.take([0], axis=AXES.index('tensor'))).all():
    return
  tensor, expert = (owners.shape[AXES.index(a)] for a in ('tensor', 'expert'))
  raise ValueError(
    f'mesh tensor={tensor} expert={expert}: devices along tensor belong to '
    f'several of the {len(np.unique(owners))} processes, which read different '
    'rows; lower tensor x expert to the devices of one process'
  )


def enter(mesh: Mesh) -> Any:
  """Returns a context in which activation constraints hold.

  Enter it around everything that traces. The older `with mesh:` drops the
  constraints silently.
  """
  stack = contextlib.ExitStack()
  stack.enter_context(jax.set_mesh(mesh))
  stack.enter_context(nn.logical_axis_rules(ACTIVATIONS))
  return stack


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Rows of a batch over `data`, `fsdp` and `expert`."""
  return NamedSharding(mesh, P(BATCH))


def batch_multiple(mesh: Mesh) -> int:
  """What the global batch size must be divisible by."""
  return math.prod(mesh.shape[axis] for axis in BATCH)


def shared_rows(rows: int, mesh: Mesh) -> int:
  """Rows of a batch, rounded up to what the devices can share."""
  return rows + -rows % batch_multiple(mesh)


def put_batch(
  batch: Mapping[str, np.ndarray], mesh: Mesh
) -> dict[str, jax.Array]:
  """Makes the global batch from this process's rows of it."""
  sharding = batch_sharding(mesh)
  if jax.process_count() == 1:
    return jax.device_put(batch, sharding)
  return {
    key: jax.make_array_from_process_local_data(sharding, value)
    for key, value in batch.items()
  }


def local_rows(value: jax.Array) -> np.ndarray:
  """Returns this process's rows of a global array that is split by rows."""
  if value.is_fully_addressable:
    return np.asarray(value)
  parts = {s.index[0].start or 0: s.data for s in value.addressable_shards}
  return np.concatenate([np.asarray(parts[at]) for at in sorted(parts)])


def replicated(mesh: Mesh) -> NamedSharding:
  """The same whole value on every device."""
  return NamedSharding(mesh, P())


def param_specs(
  params: tree.Tree, rules: Sequence[tuple[str, tuple]], mesh: Mesh
) -> tree.Tree:
  """Returns the sharding of every leaf.

  Args:
    params: tree of arrays or shapes.
    rules: ordered (regex, axes), axes one mesh axis or None a dimension.
    mesh: from `make_mesh`.

  Returns:
    Tree of NamedSharding. An axis that doesn't divide its dimension is left
    out there, so one set of rules serves every size.
  """
  return tree.map_named(
    lambda name, leaf: _spec(name, tuple(leaf.shape), rules, mesh), params
  )


def like_params(opt_state: Any, specs: tree.Tree, mesh: Mesh) -> Any:
  """Returns shardings for a state whose leaves are shaped like parameters.

  A leaf whose path ends in a parameter's path takes that parameter's sharding
  if it has as many dimensions and they divide; others are split by the
  fall-back rule.
  """
  flat = tree.flatten(specs)

  def spec(path, leaf):
    keys = tree.path_keys(path)
    for i in range(len(keys)):
      named = flat.get('/'.join(keys[i:]))
      if named is not None and len(named.spec) <= len(leaf.shape):
        axes = _dividing(tuple(named.spec), tuple(leaf.shape), mesh)
        return NamedSharding(mesh, P(*axes))
    return _fallback(tuple(leaf.shape), mesh)

  return jax.tree_util.tree_map_with_path(spec, opt_state)


def put_state(
  state: Any, rules: Sequence[tuple[str, tuple]], mesh: Mesh
) -> Any:
  """Places a TrainState: parameters by rule, the rest like parameters."""
  return put(state, state_specs(state, rules, mesh))


def state_specs(
  state: Any, rules: Sequence[tuple[str, tuple]], mesh: Mesh
) -> Any:
  """Returns the sharding of every leaf of a TrainState, see `put_state`.

  Frozen trees are named by their key, then their leaves' names.
  """
  specs = param_specs(state.params, rules, mesh)
  others = {k: v for k, v in state.frozen.items() if k != 'params'}
  # A tree without leaves has its place too.
  frozen = {key: {} for key in others} | param_specs(others, rules, mesh)
  frozen['params'] = param_specs(state.frozen['params'], rules, mesh)
  return state.replace(
    step=replicated(mesh),
    params=specs,
    frozen=frozen,
    opt_state=like_params(state.opt_state, specs, mesh),
    extra=like_params(state.extra, specs, mesh),
  )


def placed(shapes: Any, shardings: Any) -> Any:
  """Returns shapes that say where their arrays would be."""
  return jax.tree.map(
    lambda x, sharding: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding
    ),
    shapes,
    shardings,
  )


def gather(value: Any, mesh: Mesh) -> Any:
  """Returns the tree on the host, whole on every process."""
  whole = jax.jit(lambda x: x, out_shardings=replicated(mesh))(value)
  return jax.tree.map(np.asarray, whole)


def whole(leaf: jax.Array) -> np.ndarray:
  """Returns one array on the host, whole on every process."""
  if not leaf.is_fully_addressable:
    placed: Any = leaf.sharding
    everywhere = replicated(placed.mesh)
    leaf = jax.jit(lambda x: x, out_shardings=everywhere)(leaf)
  return np.asarray(leaf)


def put(value: Any, shardings: Any) -> Any:
  """Places a host-side tree; every process holds the same values.

  Leaf by leaf, so that of unread ones (`tree.Unread`) only one is on the host.
  """
  return jax.tree.map(_put, value, shardings)


def _put(x, sharding):
  if isinstance(x, tree.Unread):
    # Waits, or the next ones are read while this one is under way.
    return jax.block_until_ready(_put(np.asarray(x), sharding))
  if jax.process_count() == 1 or (
    isinstance(x, jax.Array) and not x.is_fully_addressable
  ):
    return jax.device_put(x, sharding)
  host = np.asarray(x)
  return jax.make_array_from_callback(host.shape, sharding, lambda i: host[i])


def _spec(name, shape, rules, mesh):
  axes = tree.first_match(rules, name)
  if axes is None or len(axes) != len(shape):
    return _fallback(shape, mesh)
  return NamedSharding(mesh, P(*_dividing(axes, shape, mesh)))


def _dividing(axes, shape, mesh):
  axes = tuple(axes) + (None,) * (len(shape) - len(axes))
  kept = []
  for axis, dim in zip(axes, shape, strict=True):
    parts = (axis,) if isinstance(axis, str) else tuple(axis or ())
    divides = dim % math.prod(mesh.shape[a] for a in parts) == 0
    kept.append(axis if parts and divides else None)
  return kept


def _fallback(shape, mesh):
  size = mesh.shape['fsdp']
  axes: list[str | None] = [None] * len(shape)
  if size > 1 and math.prod(shape) >= SMALL:
    dims = [i for i, dim in enumerate(shape) if dim % size == 0]
    if dims:
      axes[max(dims, key=lambda i: shape[i])] = 'fsdp'
  return NamedSharding(mesh, P(*axes))
