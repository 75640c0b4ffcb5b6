"""Which axes of the mesh in use split a kernel's arrays.

XLA cannot look into a kernel, so a kernel on a mesh of several devices runs
under `jax.shard_map`, on every device's own part.
"""

import math

import jax

# The axes that share the rows of a batch.
BATCH = ('data', 'fsdp', 'expert')


def sizes() -> dict[str, int]:
  """{axis: devices} of the mesh in use; empty with one device or no mesh."""
  mesh = jax.sharding.get_abstract_mesh()
  return {} if mesh.empty or mesh.size == 1 else dict(mesh.shape)


def rows(batch: int) -> tuple[str, ...] | None:
  """Axes that split so many rows; None where they don't divide them."""
  devices = sizes()
  axes = tuple(axis for axis in BATCH if axis in devices)
  return None if batch % math.prod(devices[axis] for axis in axes) else axes
