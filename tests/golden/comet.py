"""Golden vectors of COMET: official gates and MoEBERT layers, in float64."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.compress import moebert
from glue_jax.kernels.tree_gate import math, reference, tree_gate
from glue_jax.layers.context import BatchContext
from glue_jax.layers.ffn import experts
from glue_jax.layers.gates import dselectk, hash, permutation, topk
from glue_jax.layers.spec import EncoderConfig
from glue_jax.objectives import distill
from tests.golden._kinds import by_kind
from tests.quick import jit

Rows = list[tuple]
VALUE = (2e-5, 1e-4)
GRADIENT_RTOL = 5e-4
EXACT = (0.0, 0.0)
RESULT = re.compile(
  r'(s\d+_)?(out|mid|grad)(_.*)?|s\d+_entropy|(topk|dsk)_(?![wb]).*'
)


def compare(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  kinds = {
    'in_expert_outputs': _tree_gate,
    's0_in_log_weights': _search,
    's0_in_log_alpha': _sinkhorn,
    'out_expert_neurons': _importance,
    'w_experts.0.fc1.weight': _moebert,
    'dsk_wz': _topk_dselectk,
  }
  return by_kind(arrays, kinds, RESULT.fullmatch)


def _gradient(name, ours, theirs):
  """Relative to the array's largest value, as single elements may cancel."""
  return name, ours, theirs, 2e-6 + GRADIENT_RTOL * np.abs(theirs).max(), 0.0


def _tree_gate(a: dict[str, np.ndarray]) -> Rows:
  count = int(a['cfg_tokens_dim_experts_k_expdim'][2])
  gamma, weight = float(a['cfg_gamma']), float(a['cfg_entropy_reg'])
  names = ('x', 'expert_outputs', 'w_split', 'w_leaf', 'w_leaf_bias')
  inputs = {n: a.get(n, a.get(f'in_{n}')) for n in names}
  if 'in_permutation' in a:
    inputs['permutation'] = a['in_permutation']
  inputs = {n: jnp.asarray(x) for n, x in inputs.items()}

  def run(v):
    gated = tree_gate.tree_gate(
      v['x'], v['w_split'], v['w_leaf'], v['w_leaf_bias'],
      v.get('permutation'), gamma=gamma, keep=1,
    )  # fmt: skip
    y = jnp.einsum('te,etd->td', gated.weights, v['expert_outputs'])
    entropy = weight * gated.entropy.mean()
    return (y * a['in_cotangent_y']).sum() + entropy, (gated, y, entropy)

  gradients, (gated, y, entropy) = jit(jax.grad(run, has_aux=True))(inputs)
  split = inputs['w_split']
  p = reference.leaf_probabilities(
    inputs['x'], split, jnp.zeros(split.shape[:2]), gamma
  )
  order = 'mid_leaf_heap_index_left_to_right'
  return [
    (order, math.leaf_order(count), a[order], *EXACT),
    ('mid_leaf_prob', p, a['mid_leaf_prob'], *VALUE),
    ('out_gate_weights', gated.weights, a['out_gate_weights'], *VALUE),
    ('out_y', y, a['out_y'], *VALUE),
    ('out_entropy_loss', entropy, a['out_entropy_loss'], *VALUE),
    *(_gradient(f'grad_{n}', g, a[f'grad_{n}']) for n, g in gradients.items()),
  ]


def _search(a: dict[str, np.ndarray]) -> Rows:
  """In float64: at temperatures down to 1e-7 float32 keeps the order only."""
  total = int(a['cfg_experts_totalsteps'][1])
  rows = []
  prefixes = sorted({k.split('_')[0] for k in a if k.endswith('_out_soft')})
  with jax.enable_x64(True):
    for s in prefixes:
      step = jnp.asarray(a[f'{s}_in_step'], jnp.float64)
      tau, iterations = permutation.schedule(step, total)
      theta = jnp.asarray(a[f'{s}_in_log_weights'], jnp.float64)
      cotangent = a[f'{s}_in_cotangent']

      def run(theta, tau=tau, iterations=iterations, cotangent=cotangent):
        soft = permutation.sinkhorn(theta, tau, iterations)
        term = 1e-4 * permutation.entropy(soft)
        return (soft * cotangent).sum() + term, (soft, term)

      gradient, (soft, term) = jax.grad(run, has_aux=True)(theta)
      theirs = a[f'{s}_grad_log_weights']
      size = np.abs(theirs).max()
      rows += [
        (f'{s}_tau', tau, a[f'{s}_tau'], 0.0, 1e-5),
        (f'{s}_n_iters', iterations, a[f'{s}_n_iters'], *EXACT),
        (f'{s}_out_soft', soft, a[f'{s}_out_soft'], 1e-4, 1e-4),
        (f'{s}_out_entropy_reg', term, a[f'{s}_out_entropy_reg'], *VALUE),
        (f'{s}_grad_log_weights', gradient, theirs, 1e-2 * size, 0.0),
      ]
      for kind in (jnp.float64, jnp.float32):
        soft = permutation.sinkhorn(
          theta.astype(kind), tau.astype(kind), iterations
        )
        hard = permutation.assign(soft)
        rows.append((f'{s}_out_hard', hard, a[f'{s}_out_hard'], *EXACT))
        rows.append(
          (f'{s} columns', soft.sum(-2), np.ones(soft.shape[::2]), 1e-3, 0.0)
        )
  return rows


def _sinkhorn(a: dict[str, np.ndarray]) -> Rows:
  rows = []
  for s in sorted({k.split('_')[0] for k in a if k.endswith('_in_log_alpha')}):

    def run(x, s=s):
      soft = permutation.sinkhorn(x, a[f'{s}_temp'], a[f'{s}_n_iters'])
      term = permutation.entropy(soft)
      return (soft * a[f'{s}_in_cotangent']).sum() + term, (soft, term)

    gradient, (soft, term) = jax.grad(run, has_aux=True)(
      jnp.asarray(a[f'{s}_in_log_alpha'])
    )
    rows += [
      (f'{s}_out', soft, a[f'{s}_out'], *VALUE),
      (f'{s}_entropy', term, a[f'{s}_entropy'], *VALUE),
      _gradient(f'{s}_grad_log_alpha', gradient, a[f'{s}_grad_log_alpha']),
    ]
  return rows


def _importance(a: dict[str, np.ndarray]) -> Rows:
  _, count, shared, size = a['cfg_I_experts_share_dim'].tolist()
  scores = a['in_importance']

  def run(student):
    losses = distill.symmetric_divergence(student, a['in_teacher_logits'])
    return losses.mean()

  student = jnp.asarray(a['in_student_logits'])
  value, gradient = jax.value_and_grad(run)(student)
  order = np.argsort(-scores, kind='stable')
  found = moebert.neurons(scores, count, shared, size)
  name = 'grad_student_logits'
  return [
    ('mid_sorted_idx', order, a['mid_sorted_idx'], *EXACT),
    ('out_expert_neurons', found, a['out_expert_neurons'], *EXACT),
    ('out_symmetric_kl', value, a['out_symmetric_kl'], *VALUE),
    _gradient(name, gradient, a[name]),
  ]


# What chooses an expert: a token, or a sentence for all its tokens.
LEVELS = ('token', 'sentence')
# Ours -> the official name in expert i.
_EXPERT = {
  'experts_in/kernel': 'fc1.weight',
  'experts_in/bias': 'fc1.bias',
  'experts_out/kernel': 'fc2.weight',
  'experts_out/bias': 'fc2.bias',
  'ln_experts/scale': 'LayerNorm.weight',
  'ln_experts/bias': 'LayerNorm.bias',
}


def _moebert(a: dict[str, np.ndarray]) -> Rows:
  _, _, width, inner, count = a['cfg_B_L_D_I_experts'].tolist()
  level = str(a.get('cfg_level', np.array('token')).astype(str))
  if level not in LEVELS or (level == 'sentence' and 'in_hash_list' in a):
    raise ValueError(
      f'cfg_level={level!r}: expected one of {LEVELS}, token with a hash list'
    )
  gate, options = 'switch', (('sentence', level == 'sentence'),)
  if 'in_hash_list' in a:
    gate = 'hash'
    options = (('table', tuple(a['in_hash_list'].tolist())),)
  config = EncoderConfig(
    vocab_size=len(a.get('in_hash_list', ())) or 2,
    hidden_size=width, intermediate_size=inner, dropout=0.0,
  )  # fmt: skip
  params = {'gate': {}}
  if gate == 'switch':
    params['gate'] = {'logits': {'kernel': jnp.asarray(a['w_gate.weight'].T)}}
  for ours, theirs in _EXPERT.items():
    parts = [a[f'w_experts.{i}.{theirs}'] for i in range(count)]
    parts = [x.T if ours.endswith('kernel') else x for x in parts]
    folder, leaf = ours.split('/')
    params.setdefault(folder, {})[leaf] = jnp.asarray(np.stack(parts))
  context = BatchContext(
    jnp.asarray(a['in_attention_mask'] != 0),
    input_ids=jnp.asarray(a['in_input_ids']),
  )
  rows = []
  for dispatch in ('dense', 'sparse'):
    layer = experts.FFN(
      config, count, gate=gate, gate_options=options, dispatch=dispatch,
      count_padding=True,
    )  # fmt: skip
    rows += _moebert_layer(a, layer, params, context)
  return rows


def _moebert_layer(a, layer, params, context) -> Rows:
  def run(params, x):
    y, state = layer.apply(
      {'params': params}, x, context, False, mutable=['captured']
    )
    captured = state['captured'].get('gate', {})
    balance = captured.get('balance', jnp.zeros(()))
    total = (y * a['in_cotangent']).sum() + 0.01 * balance
    return total, (y, balance)

  x = jnp.asarray(a['in_x'])
  gradient = jit(jax.grad(run, (0, 1), has_aux=True))
  gradients, (y, balance) = gradient(params, x)
  if 'in_hash_list' in a:
    table = jnp.asarray(a['in_hash_list'])[:, None]
    chosen = hash.hashed(context.input_ids, table, layer.experts)
  else:
    chosen = _chosen(a, layer, params['gate']['logits']['kernel'])
  rows = [
    ('out_y', y, a['out_y'], *VALUE),
    ('out_gate_load', chosen.sum((0, 1)), a['out_gate_load'], *EXACT),
    ('out_balance_loss', balance, a['out_balance_loss'], *VALUE),
    _gradient('grad_x', gradients[1], a['grad_x']),
  ]
  for ours, theirs in _EXPERT.items():
    folder, leaf = ours.split('/')
    for i, ours_i in enumerate(gradients[0][folder][leaf]):
      name = f'grad_w_experts.{i}.{theirs}'
      ours_i = ours_i.T if leaf == 'kernel' else ours_i
      rows.append(_gradient(name, ours_i, a[name]))
  if 'grad_w_gate.weight' in a:
    ours = gradients[0]['gate']['logits']['kernel'].T
    name = 'grad_w_gate.weight'
    rows.append(_gradient(name, ours, a[name]))
  return rows


def _chosen(a, layer, kernel):
  """One-hot choice of each token or sentence, (B, 1 or L, n)."""
  x = a['in_x']
  if dict(layer.gate_options)['sentence']:
    mask = (a['in_attention_mask'] != 0)[..., None]
    x = (x * mask).sum(1, keepdims=True) / mask.sum(1, keepdims=True)
  return jax.nn.one_hot((x @ kernel).argmax(-1), layer.experts)


def _topk_dselectk(a: dict[str, np.ndarray]) -> Rows:
  _, _, count, keep = a['cfg_tokens_dim_experts_k'].tolist()
  gamma, cotangent = float(a['cfg_gamma']), a['in_cotangent']
  matrices = jnp.asarray(a['in_permutation'])
  x = jnp.asarray(a['in_x'])

  def top(x, w, b):
    plain, _ = topk.top_k(x @ w.T + b, keep)
    moved = permutation.averaged(matrices, plain)
    return (moved * cotangent).sum(), (plain, moved)

  given = [jnp.asarray(a[n]) for n in ('topk_w', 'topk_b')]
  gradients, (plain, moved) = jax.grad(top, (0, 1, 2), has_aux=True)(x, *given)
  rows = [
    ('topk_gate', plain, a['topk_gate'], *VALUE),
    ('topk_gate_permuted', moved, a['topk_gate_permuted'], *VALUE),
  ]
  for n, gradient in zip(('x', 'w', 'b'), gradients):
    rows.append(_gradient(f'topk_grad_{n}', gradient, a[f'topk_grad_{n}']))

  def dselect(x, wz, bz, ww, bw):
    z = (x @ wz + bz).reshape(len(x), keep, -1)
    q = dselectk.selectors(z, count, gamma)
    g = dselectk.combine(q, x @ ww + bw, matrices)
    entropy = -(q * jnp.log(q + 1e-6)).sum((1, 2)).mean()
    lost = dselectk.reciprocal(q).sum()
    total = (g * cotangent).sum() + 0.3 * entropy + 0.01 * lost
    return total, (q, g, entropy, lost)

  names = ('wz', 'bz', 'ww', 'bw')
  given = [jnp.asarray(a[f'dsk_{n}']) for n in names]
  gradients, (q, g, entropy, lost) = jit(
    jax.grad(dselect, tuple(range(5)), has_aux=True)
  )(x, *given)
  rows += [
    ('dsk_selectors', q, a['dsk_selectors'], *VALUE),
    ('dsk_gate', g, a['dsk_gate'], *VALUE),
    ('dsk_entropy', entropy, a['dsk_entropy'], *VALUE),
    ('dsk_reciprocal_loss', lost, a['dsk_reciprocal_loss'], *VALUE),
  ]
  for n, gradient in zip(('x', *names), gradients):
    rows.append(_gradient(f'dsk_grad_{n}', gradient, a[f'dsk_grad_{n}']))
  return rows
