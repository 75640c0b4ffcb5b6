"""COMET's gate: k decision trees. Ibrahim et al. 2023, arXiv 2306.02824.

The maths: glue_jax/kernels/tree_gate/tree_gate.py. Captures `entropy`, the mean
over tokens of the entropy of all trees' leaves; it pushes each tree to one
leaf. The published COMET-BERT has one tree (k = 1), no split bias.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from glue_jax.config.ranges import Count, Positive
from glue_jax.kernels.tree_gate.tree_gate import tree_gate
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dense import uniform
from glue_jax.layers.gates import base
from glue_jax.layers.gates.permutation import Permutation
from glue_jax.layers.spec import EncoderConfig


class Gate(nn.Module):
  """k trees over n experts.

  Attributes:
    config: of the encoder.
    experts: n.
    k: trees; the largest number of experts of a token after convergence.
    gamma: width of the smooth step.
    split_bias: a bias in the splits (Keras code), drawn like their weights.
    implementation: see the kernel.
  """

  config: EncoderConfig
  experts: int
  k: Count = 1
  gamma: Positive = 0.1
  split_bias: bool = False
  implementation: str | None = None

  @nn.compact
  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> base.Routing:
    """Routes x (B, L, D)."""
    del train
    n, k, width = self.experts, self.k, x.shape[-1]
    base.check_keep(k, n)
    small, wide = uniform(self.gamma / 100), uniform(0.05)
    bias = small if self.split_bias else None
    split, split_bias = _Nodes(n - 1, k, small, bias, name='split')(width)
    zeros = nn.initializers.zeros
    leaf, leaf_bias = _Nodes(n, k, wide, zeros, name='leaf')(width)
    permutation, _ = Permutation(name='permutation')(k, n)
    if permutation is not None:
      permutation = jnp.broadcast_to(permutation, (k, n, n))
    gate = functools.partial(
      tree_gate, gamma=self.gamma, keep=k,
      implementation=self.implementation,
    )  # fmt: skip
    mesh = jax.sharding.get_abstract_mesh()
    if not mesh.empty and mesh.size > 1 and not self.is_initializing():
      # XLA doesn't split a kernel by itself.
      specs = base.ROWS, *[P()] * 5
      gate = jax.shard_map(
        gate, in_specs=specs, out_specs=base.ROWS, check_vma=False
      )
    gated = gate(
      x.reshape(-1, width), split, leaf, leaf_bias, permutation, split_bias
    )
    entropy = gated.entropy.reshape(x.shape[:-1])
    base.capture(self, 'entropy', base.mean(entropy, base.counted(context, x)))
    weights = gated.weights.reshape(*x.shape[:-1], n)
    return base.Routing(weights, k, sparse=False)


class _Nodes(nn.Module):
  """Linear maps of the nodes of k trees."""

  nodes: int
  trees: int
  kernel_init: Any
  bias_init: Any

  @nn.compact
  def __call__(self, width):
    shape = (self.nodes, self.trees)
    kernel = self.param('kernel', self.kernel_init, (*shape, width))
    if self.bias_init is None:
      return kernel, None
    return kernel, self.param('bias', self.bias_init, shape)
