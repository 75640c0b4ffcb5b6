"""Sparse experts in place of the feed-forward part.

y = sum_e g_e f_e(x), with g by a gate (layers/gates/) and f_e a two-layer
network. Shazeer et al. 2017, arXiv 1701.06538, eq. 1; with `inside`, the form
of MoEBERT (arXiv 2204.07675) and COMET-BERT (arXiv 2306.02824), every expert
has its own residual and LayerNorm: f_e(x) = LN_e(x + W2 act(W1 x)), and the
block adds none.

Parameter names: layer_{i}/ffn/{experts_in,experts_out}/{kernel,bias},
layer_{i}/ffn/ln_experts/{scale,bias}, stacked over experts, and
layer_{i}/ffn/gate/...

Dispatch: 'dense' computes every expert for every token; 'sparse' sorts tokens
by expert and computes what is chosen (grouped_matmul.py), at most `keep`
experts a token; 'auto' is sparse where the gate is by construction or where,
seen on the device, no weight is lost by it (in training exactly none, so that
the gradient is the same; at inference less than 1e-5). Where some tokens need
more experts, it is still sparse, with room for all experts of a token: only
pairs of token and expert with a weight are computed. Where most pairs have one,
it is dense. The released code always computes every expert.

With an `expert` axis in the mesh its E devices hold n / E experts each, and
share the batch's rows like those of `data`. Here they gather each other's
tokens, compute their experts' part of all, and a reduce-scatter sums the parts
and gives each device its own tokens back: either way a device gets E - 1 times
its own tokens. An all-to-all would send a token only where it has an expert;
but none is dropped here, so each pair of devices would need room for all tokens
of one, which are the same bytes.
"""

import functools
from collections.abc import Mapping
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from glue_jax.config.ranges import Count, OneOf, Range
from glue_jax.kernels import mesh_axes
from glue_jax.layers.activations import activation
from glue_jax.layers.context import BatchContext
from glue_jax.layers.dropout import Dropout, keep_mask
from glue_jax.layers.ffn import grouped_matmul
from glue_jax.layers.gates import base
from glue_jax.layers.spec import EncoderConfig

DISPATCH = ('auto', 'dense', 'sparse')
# From this share of pairs of token and expert on, 'auto' computes all of them.
MOST = 0.5


class FFN(nn.Module):
  """n experts and their gate.

  Attributes:
    config: of the encoder.
    experts: n.
    size: width F of an expert; None is `intermediate_size`.
    gate: file `glue_jax/layers/gates/<gate>.py`.
    gate_options: of the gate, ((name, value), ...).
    inside: experts have their own residual and LayerNorm.
    dispatch: one of `DISPATCH`.
    count_padding: padding counts in the gate's losses, as in the released
      code; otherwise the losses don't depend on it.
  """

  config: EncoderConfig
  experts: Annotated[int, Range(ge=2)] = 4
  size: Count | None = None
  gate: str = 'comet'
  gate_options: Mapping[str, Any] | tuple[tuple[str, Any], ...] = ()
  inside: bool = True
  dispatch: Annotated[str, OneOf(DISPATCH)] = 'auto'
  count_padding: bool = False

  @property
  def adds_residual(self) -> bool:
    """Whether the block leaves residual and LayerNorm to this part."""
    return self.inside

  @nn.compact
  def __call__(
    self, x: jax.Array, context: BatchContext, train: bool
  ) -> jax.Array:
    """Maps (B, L, D) to (B, L, D).

    Raises:
      ValueError: an unknown gate, dispatch or option, k above the number of
        experts, or a mesh that doesn't divide the experts.
    """
    c = self.config
    self._check()
    gate = base.make(self.gate, c, self.experts, dict(self.gate_options))
    context = context.replace(count_padding=self.count_padding)
    routing = gate(x, context, train)
    self._log(routing, x, context)
    compute = functools.partial(
      experts_of_rows, act=activation(c.activation),
      eps=c.layer_norm_eps if self.inside else None,
    )  # fmt: skip
    if self.inside and train and c.dropout:
      key = jax.random.key_data(self.make_rng('dropout'))
      compute = functools.partial(compute, dropout=(key, c.dropout))
    rows = x.reshape(-1, x.shape[-1])
    weights = routing.weights.reshape(len(rows), -1)
    params = self._params(x.shape[-1])
    params = jax.tree.map(lambda p: p.astype(c.dtype), params)
    y = self._dispatch(compute, params, rows, weights, routing, train)
    y = y.reshape(x.shape).astype(c.dtype)
    # Inside, dropout comes before each expert's residual.
    return y if self.inside else Dropout(c.dropout)(y, train)

  def _check(self):
    where = "model.options['experts']"
    if self.dispatch not in DISPATCH:
      raise ValueError(
        f'{where} dispatch={self.dispatch!r}: expected one of {DISPATCH}'
      )
    if self.experts < 2:
      raise ValueError(f'{where} experts={self.experts}: expected at least 2')
    shards = mesh_axes.sizes().get('expert', 1)
    if self.experts % shards:
      raise ValueError(
        f'mesh.expert={shards} does not divide the {self.experts} experts of '
        f'{where}'
      )

  def _params(self, width):
    n, size = self.experts, self.size or self.config.intermediate_size
    normal = nn.initializers.normal(self.config.init_range)
    params = {
      'experts_in': _Maps(n, width, size, normal, name='experts_in')(),
      'experts_out': _Maps(n, size, width, normal, name='experts_out')(),
    }
    if self.inside:
      params['ln_experts'] = _Norms(n, width, name='ln_experts')()
    return params

  def _log(self, routing, x, context):
    """Share of tokens with at most `keep` experts, and experts a token."""
    weight = base.counted(context.replace(count_padding=False), x)
    used = (routing.weights >= base.USED).sum(-1)
    few = (used <= routing.keep).astype(jnp.float32)
    base.capture(self, 'few_experts', base.mean(few, weight))
    count = base.mean(used.astype(jnp.float32), weight)
    base.capture(self, 'experts_per_token', count)

  def _dispatch(self, compute, params, rows, weights, routing, train):
    given = compute, params, rows, weights
    keep, form = routing.keep, self.dispatch
    if self.is_initializing() or keep == self.experts or form == 'dense':
      return dense(*given)
    if form == 'sparse' or routing.sparse:
      return sparse(*given, keep)
    return auto(*given, keep, train)


class _Maps(nn.Module):
  """Stacked dense layers' kernel (n, D, F) and bias (n, F)."""

  experts: int
  inputs: int
  outputs: int
  init: Any

  @nn.compact
  def __call__(self):
    shape = (self.experts, self.inputs, self.outputs)
    zeros = nn.initializers.zeros
    return {
      'kernel': self.param('kernel', self.init, shape),
      'bias': self.param('bias', zeros, (self.experts, self.outputs)),
    }


class _Norms(nn.Module):
  """Stacked LayerNorms' scale and bias (n, D)."""

  experts: int
  width: int

  @nn.compact
  def __call__(self):
    shape = (self.experts, self.width)
    return {
      'scale': self.param('scale', nn.initializers.ones, shape),
      'bias': self.param('bias', nn.initializers.zeros, shape),
    }


def experts_of_rows(
  params: Any,
  x: jax.Array,
  pick: Any,
  dot: Any,
  join: Any = lambda y: y,
  *,
  act: Any,
  eps: float | None,
  dropout: tuple[jax.Array, float] | None = None,
) -> jax.Array:
  """f_e of rows; dense and sparse dispatch differ in the functions given.

  Args:
    params: of the experts.
    x: rows, (..., D).
    pick: (n, D) -> that of each row's expert.
    dot: (rows, kernels (n, D, F)) -> (..., F).
    join: sums the parts of a product that a mesh axis split.
    act: activation.
    eps: of the LayerNorm; None leaves residual and LayerNorm out.
    dropout: key data and rate, before the residual.
  """
  maps_in, maps_out = params['experts_in'], params['experts_out']
  h = act(dot(x, maps_in['kernel']) + pick(maps_in['bias']))
  y = join(dot(h, maps_out['kernel'])) + pick(maps_out['bias'])
  if eps is None:
    return y
  if dropout:
    key, rate = dropout
    y = jnp.where(keep_mask(key, rate, y.shape), y / (1 - rate), 0)
  norm = params['ln_experts']
  y = (x + y).astype(jnp.float32)
  y -= y.mean(-1, keepdims=True)
  y *= jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + eps)
  return y * pick(norm['scale']) + pick(norm['bias'])


def dense(
  compute: Any, params: Any, x: jax.Array, weights: jax.Array
) -> jax.Array:
  """Every expert for every row: x (T, D), weights (T, n) to (T, D)."""

  def dot(x, kernels):
    equation = 'td,ndf->ntf' if x.ndim == 2 else 'ntd,ndf->ntf'
    y = jnp.einsum(equation, x, kernels)
    return nn.with_logical_constraint(y, ('expert', 'expert_tokens', None))

  # Both ends of each move are named: else XLA sends what every expert makes of
  # the tokens instead of them, or moves the gate's work too.
  own, shared = ('batch', None), ('expert_tokens', None)
  x = _moved(x, own, shared)
  weights = _moved(weights, own, ('expert_tokens', 'expert'))
  y = compute(params, x, lambda table: table[:, None], dot)
  y = jnp.einsum('tn,ntd->td', weights.astype(y.dtype), y)
  return _moved(y, shared, own)


def _moved(x, start, end):
  """Rows that lie on the mesh by one pair of logical axes, then by another."""
  return nn.with_logical_constraint(nn.with_logical_constraint(x, start), end)


def sparse(
  compute: Any, params: Any, x: jax.Array, weights: jax.Array, keep: int
) -> jax.Array:
  """The `keep` experts of largest weight for every row.

  Exact if no other has any. Rows are split over the batch axes of the mesh,
  experts over `expert`, their width over `tensor`; see the module.

  Args:
    compute: f_e of rows, `experts_of_rows` with its options.
    params: of the experts.
    x: (T, D).
    weights: (T, n).
    keep: k.

  Returns:
    (T, D).
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.size == 1:
    return _local_sparse(compute, params, x, *jax.lax.top_k(weights, keep))
  split = {
    'experts_in': {
      'kernel': P('expert', None, 'tensor'),
      'bias': P('expert', 'tensor'),
    },
    'experts_out': {'kernel': P('expert', 'tensor'), 'bias': P('expert')},
    'ln_experts': {'scale': P('expert'), 'bias': P('expert')},
  }

  def local(params, x, weights):
    top, index = jax.lax.top_k(weights, keep)
    x, top, index = (
      jax.lax.all_gather(rows, 'expert', tiled=True) for rows in (x, top, index)
    )
    held = params['experts_in']['kernel'].shape[0]
    index = index - jax.lax.axis_index('expert') * held

    def join(y):
      return jax.lax.psum(y, 'tensor')

    compute_here = compute
    if 'dropout' in compute.keywords:  # rows elsewhere have other masks
      key, rate = compute.keywords['dropout']
      here = jax.lax.axis_index(('data', 'fsdp', 'expert'))
      dropout = key + here.astype(key.dtype), rate
      compute_here = functools.partial(compute, dropout=dropout)
    y = _local_sparse(compute_here, params, x, top, index, join)
    return jax.lax.psum_scatter(y, 'expert', tiled=True)

  specs = {name: split[name] for name in params}
  return jax.shard_map(
    local,
    in_specs=(specs, base.ROWS, base.ROWS),
    out_specs=base.ROWS,
    check_vma=False,
  )(params, x, weights)


def auto(
  compute: Any,
  params: Any,
  x: jax.Array,
  weights: jax.Array,
  keep: int,
  train: bool,
) -> jax.Array:
  """The cheapest of three forms that loses no weight, chosen on the device.

  Args:
    compute, params, x, weights: as for `sparse`.
    keep: k, the experts that most tokens need.
    train: a weight below `USED` counts as well.

  Returns:
    (T, D).
  """
  given = compute, params, x, weights
  forms = (
    lambda: sparse(*given, keep),
    # Room for all experts of a token; pairs without weight aren't computed.
    lambda: sparse(*given, weights.shape[-1]),
    lambda: dense(*given),
  )
  return jax.lax.switch(cheapest(weights, keep, train), forms)


def cheapest(weights: jax.Array, keep: int, train: bool) -> jax.Array:
  """Which form `auto` takes for weights (T, n): 0, 1, or 2 for dense."""
  used = (weights > 0).sum(-1)
  if train:  # a count: a sum would take a rest of rounding for a weight
    fits = used.max() <= keep
  else:
    top, _ = jax.lax.top_k(weights, keep)
    fits = (weights.sum(-1) - top.sum(-1)).max() < base.USED
  many = used.sum() > MOST * weights.size
  return jnp.where(fits, 0, 1 + many)


def _local_sparse(compute, params, x, top, index, join=lambda y: y):
  """Of the experts at hand, those numbered by index (T, k)."""
  tokens, keep = index.shape
  experts = params['experts_in']['kernel'].shape[0]
  # A weight of zero is no choice.
  ids = jnp.where(top > 0, index, -1).reshape(-1)
  groups = grouped_matmul.sort(ids, experts)
  place = groups.place.reshape(tokens, keep)
  slots = tokens * keep
  token = jnp.where(groups.source < slots, groups.source // keep, tokens)
  rows = grouped_matmul.gather(x, token, place)
  owner = jax.nn.one_hot(groups.group, experts, dtype=x.dtype)
  y = compute(
    params, rows, lambda table: jnp.dot(owner, table, precision='highest'),
    lambda x, kernels: grouped_matmul.dot(x, kernels, groups), join,
  )  # fmt: skip
  y = grouped_matmul.gather(y, groups.place, groups.source[:, None])
  y = y.reshape(tokens, keep, -1)
  return (y * top[..., None].astype(y.dtype)).sum(1)
