"""What the tree gate's reference and kernels share: the trees themselves.

A tree of n leaves has n - 1 internal nodes in heap order: root 0, children
2q + 1 (left) and 2q + 2, leaves n - 1 .. 2n - 2, so n need not be a power of
two. Leaves are numbered from left to right.

`combine` and `combine_gradient` are the part after the linear maps, on blocks
of a kernel. Where an element lies is a matter of the `Layout`: tokens along
the last axis (TPU: a node is a row) or along the first (GPU: a column).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

# Below the first a leaf counts as unreachable; the second keeps log finite
# (both of the official PyTorch code).
UNREACHABLE, EPSILON = 1e-5, 1e-6


def leaf_order(experts: int) -> list[int]:
  """Heap indices of the n leaves from left to right."""

  def walk(node):
    if node >= experts - 1:
      return [node]
    return walk(2 * node + 1) + walk(2 * node + 2)

  return walk(0)


def smooth_step(u: jax.Array, gamma: float) -> jax.Array:
  """0 up to -gamma/2, 1 from gamma/2 on, a cubic between; exact at both ends.

  With t = u / gamma + 1/2 the cubic is t^2 (3 - 2 t).
  """
  t = jnp.clip(u / gamma + 0.5, 0.0, 1.0)
  return t * t * (3.0 - 2.0 * t)


def smooth_step_slope(u: jax.Array, gamma: float) -> jax.Array:
  """Derivative of `smooth_step` by u."""
  t = jnp.clip(u / gamma + 0.5, 0.0, 1.0)
  return 6.0 / gamma * t * (1.0 - t)


def descend(left: Sequence[jax.Array]) -> list[jax.Array]:
  """Probability of each of the 2n - 1 nodes of one tree, in heap order.

  Args:
    left: of each internal node the share that goes left, n - 1 arrays.
  """
  nodes: list[Any] = [None] * (2 * len(left) + 1)
  nodes[0] = jnp.ones_like(left[0])
  for q, h in enumerate(left):
    nodes[2 * q + 1] = nodes[q] * h
    nodes[2 * q + 2] = nodes[q] * (1.0 - h)
  return nodes


def ascend(
  left: Sequence[jax.Array],
  nodes: Sequence[jax.Array],
  leaves: Sequence[jax.Array],
) -> list[jax.Array]:
  """Gradient of each internal node's share, by products only, no division.

  Args:
    left: as in `descend`.
    nodes: its result.
    leaves: gradient of the leaves' probabilities, from left to right.
  """
  total: list[Any] = [None] * len(nodes)
  for node, gradient in zip(leaf_order(len(leaves)), leaves):
    total[node] = gradient
  out: list[Any] = [None] * len(left)
  for q in reversed(range(len(left))):
    a, b = total[2 * q + 1], total[2 * q + 2]
    out[q] = nodes[q] * (a - b)
    total[q] = left[q] * a + (1.0 - left[q]) * b
  return out


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where the nodes of a block lie.

  Attributes:
    axis: of the nodes; tokens are the other one.
    split: (block, count) -> the first `count` nodes, an array each.
    join: (arrays, size) -> block with those nodes, zeros after them.
    contract: (leaf block, matrix) -> expert block.
    contract_back: its gradient by the leaf block, (expert block, matrix).
  """

  axis: int
  split: Callable[[jax.Array, int], list[jax.Array]]
  join: Callable[[Sequence[jax.Array], int], jax.Array]
  contract: Callable[[jax.Array, jax.Array], jax.Array]
  contract_back: Callable[[jax.Array, jax.Array], jax.Array]

  def sum(self, x: jax.Array) -> jax.Array:
    """Over the nodes."""
    return jnp.sum(x, axis=self.axis, keepdims=True)

  def max(self, x: jax.Array) -> jax.Array:
    """Over the nodes."""
    return jnp.max(x, axis=self.axis, keepdims=True)


@dataclasses.dataclass(frozen=True)
class Shape:
  """Of a gate: n experts, k trees, width gamma of the smooth step."""

  experts: int
  trees: int
  gamma: float


def leaf_probabilities(
  shape: Shape, layout: Layout, u: jax.Array, size: int
) -> tuple[list, list, jax.Array]:
  """Shares and node probabilities of each tree, and the block of leaves."""
  n, k = shape.experts, shape.trees
  rows = layout.split(smooth_step(u, shape.gamma), k * (n - 1))
  left = [rows[j * (n - 1) : (j + 1) * (n - 1)] for j in range(k)]
  nodes = [descend(tree) for tree in left]
  order = leaf_order(n)
  leaves = [tree[node] for tree in nodes for node in order]
  return left, nodes, layout.join(leaves, size)


def _softmax(layout, p, a):
  """Joint softmax over the leaves of all trees; unreachable ones get zero."""
  reached = p >= UNREACHABLE
  scores = jnp.where(reached, a + jnp.log(p + EPSILON), -1e30)
  e = jnp.where(reached, jnp.exp(scores - layout.max(scores)), 0.0)
  return reached, e / layout.sum(e)


def combine(
  shape: Shape, layout: Layout, u: jax.Array, a: jax.Array, matrix: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Gate weights and entropy from the splits' and the leaves' values.

  Args:
    shape: of the gate.
    layout: of the blocks.
    u: block of k (n - 1) splits, tree after tree, and padding.
    a: block of k n leaf scores, tree after tree, and padding.
    matrix: which leaf adds to which expert, as `layout.contract` takes it.

  Returns:
    block of expert weights, and the entropy of each token.
  """
  _, _, p = leaf_probabilities(shape, layout, u, a.shape[layout.axis])
  _, share = _softmax(layout, p, a)
  raw = layout.contract(share, matrix)
  clamped = jnp.maximum(p, EPSILON) + EPSILON
  index = jax.lax.broadcasted_iota(jnp.int32, p.shape, layout.axis)
  real = index < shape.trees * shape.experts
  entropy = jnp.where(real, -clamped * jnp.log(clamped), 0.0)
  return raw / layout.sum(raw), layout.sum(entropy)


def combine_gradient(
  shape: Shape,
  layout: Layout,
  u: jax.Array,
  a: jax.Array,
  matrix: jax.Array,
  d_weights: jax.Array,
  d_entropy: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Gradients of `combine`, which it computes again.

  Returns:
    blocks du and da, and the blocks of leaf weights and of d(raw weights),
    whose product over tokens is the matrix's gradient.
  """
  size = a.shape[layout.axis]
  left, nodes, p = leaf_probabilities(shape, layout, u, size)
  reached, share = _softmax(layout, p, a)
  raw = layout.contract(share, matrix)
  total = layout.sum(raw)
  d_raw = (d_weights - layout.sum(d_weights * raw) / total) / total
  d_share = layout.contract_back(d_raw, matrix)
  d_a = share * (d_share - layout.sum(d_share * share))
  d_p = jnp.where(reached, d_a / (p + EPSILON), 0.0)
  slope = -(jnp.log(jnp.maximum(p, EPSILON) + EPSILON) + 1.0)
  d_p += jnp.where(p > EPSILON, slope, 0.0) * d_entropy
  n, k = shape.experts, shape.trees
  rows = layout.split(d_p, k * n)
  d_left = [
    row
    for j in range(k)
    for row in ascend(left[j], nodes[j], rows[j * n : (j + 1) * n])
  ]
  d_u = layout.join(d_left, u.shape[layout.axis])
  return d_u * smooth_step_slope(u, shape.gamma), d_a, share, d_raw


def best(
  layout: Layout, weights: jax.Array, count: int
) -> list[tuple[jax.Array, jax.Array]]:
  """The `count` largest weights with their indices; the first at ties."""
  size = weights.shape[layout.axis]
  index = jax.lax.broadcasted_iota(jnp.int32, weights.shape, layout.axis)
  largest, left = [], weights
  for _ in range(count):
    top = layout.max(left)
    at = -layout.max(jnp.where(left == top, -index, -size))
    largest.append((at, top))
    left = jnp.where(index == at, -1.0, left)
  return largest
