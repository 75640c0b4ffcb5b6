"""Golden vectors of MEFT: the official reversible BERT.

The streams, logits and gradients are those of this project's model in float32,
with the ordinary backward pass and with the reversible one as published (one
segment). A second row of gradients runs glue_jax/layers/stacks/coupling.py in
float64 on a BERT block written down here.
"""

import dataclasses
import pathlib
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.layers.context import BatchContext
from glue_jax.layers.stacks import coupling, reversible
from glue_jax.methods import meft
from glue_jax.models import bert, stack
from glue_jax.models.model import Model, build
from glue_jax.plugs import Apply
from tests.golden import _library_names
from tests.quick import jit

Rows = list[tuple[str, Any, Any, float, float]]
VALUE = (2e-5, 0.0)
GRADIENT = (1e-5, 0.0)
DOUBLE = (1e-6, 0.0)

# Our place of an adapter -> the official name within a layer.
ADAPTERS = {
  'beside': 'rev_adapter',
  'ffn': 'ffn_adapter',
  'mixer': 'attention.output.attn_adapter',
}
ENDS = {'down': 'dense1', 'up': 'dense2'}


class Streams(Model):
  """The model, handing out the streams after each layer."""

  def __call__(self, batch, train=False):
    enc, ids = self.encoder, batch['input_ids']
    real = batch['attention_mask'] != 0
    context = BatchContext(
      real,
      stack.excluded(real)[:, None, None],
      input_ids=ids,
      token_type_ids=batch['token_type_ids'],
      positions=jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape),
    )
    x = enc.embeddings(ids, context, train)
    chosen = reversible.options(self.config)
    parts = reversible.VARIANTS[chosen.variant].parts
    streams, found = (x, x), []
    for pair in reversible.pairs(enc.layer, parts, context, train):
      streams = chosen.coupling.forward(pair, streams)
      found.append(jnp.concatenate(streams, -1))
    return {'streams': found}


def compare(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  a = arrays
  batch = {
    key: a[key] for key in ('input_ids', 'attention_mask', 'token_type_ids')
  }
  ordinary = _apply(a, layers=0)
  params = _params(a, ordinary)
  model = ordinary.model
  streams = Streams(model.config, model.family, model.kind, model.num_outputs)
  found = jit(ordinary.replace(model=streams))(params, batch)['streams']
  rows = [
    (f'stream_after_layer{i}', x, a[f'stream_after_layer{i}'], *VALUE)
    for i, x in enumerate(found)
  ]
  outputs, gradients = _run(ordinary, params, batch, a['labels'])
  rows += [
    (name, outputs[ours], a[name], *VALUE)
    for name, ours in (
      ('embedding_output', 'entry'),
      ('sequence_output', 'last_hidden'),
      ('pooled_output', 'pooled'),
      ('logits', 'logits'),
      ('loss', 'loss'),
    )
  ]
  rows += _gradients(a, gradients, GRADIENT)
  again, gradients = _run(
    _apply(a, segment=len(found)), params, batch, a['labels']
  )
  rows.append(('logits, reversible', again['logits'], a['logits'], *VALUE))
  limit = 3 * float(a['g_err_reversible_f32']) + 1e-5
  rows += _gradients(a, gradients, (limit, 0.0), ', reversible')
  with jax.enable_x64(True):
    gradients = _double(a, ordinary, params)
  rows += _gradients(a, gradients, DOUBLE, ', float64')
  results = {
    k
    for k in a
    if k.startswith(('g/', 'stream_', 'logits', 'loss'))
    or k.endswith('_output')
  }
  left = sorted(results - {row[0] for row in rows})
  if left:
    raise ValueError(f'nothing compares {left}')
  return rows


def _apply(a: dict[str, np.ndarray], **given: Any) -> Apply:
  """The model with its adapters; all sizes from the arrays."""
  shape = lambda name: a[f'w/{name}.weight'].shape
  # The shortest decimal of the float32: 0.1, as the official run had it.
  first, second = (float(str(a[f'x{i}_factor'][()])) for i in (1, 2))
  layer = 'bert.encoder.layer.0'
  if f'w/{layer}.{ADAPTERS["mixer"]}.dense1.weight' in a:
    variant = 'meft3'
  else:
    variant = 'meft2' if _adapter_comes_first(a, layer) else 'meft1'
  vocab, width = shape('bert.embeddings.word_embeddings')
  options = dict(variant=variant, factors=(first, second), **given)
  model = build(
    'bert',
    config=dataclasses.replace(
      bert.PRESETS['tiny'],
      vocab_size=vocab,
      hidden_size=width,
      num_layers=int(a['num_layers']),
      num_heads=int(a['num_heads']),
      intermediate_size=shape(f'{layer}.intermediate.dense')[0],
      max_positions=shape('bert.embeddings.position_embeddings')[0],
      type_vocab_size=shape('bert.embeddings.token_type_embeddings')[0],
      dropout=0.0,
      attention_dropout=0.0,
    ),
    kind='classification',
    num_outputs=len(a['w/classifier.bias']),
    stack='reversible',
    options={'reversible': options},
  )
  size = len(a[f'w/{layer}.ffn_adapter.dense1.bias'])
  method = meft.make(types.SimpleNamespace(model=model), size=size)
  return Apply(model, method.plugs)


def _adapter_comes_first(a: dict[str, np.ndarray], layer: str) -> bool:
  """Whether a half behind the first layer is lambda x + adapter(x)."""
  x = a['embedding_output']
  w = {k.removeprefix('w/'): v for k, v in a.items()}
  name = f'{layer}.{ADAPTERS["beside"]}'
  h = jax.nn.gelu(_dense(w, f'{name}.dense1', x), approximate=False)
  y = a['x1_factor'] * x + _dense(w, f'{name}.dense2', h)
  halves = np.split(a['stream_after_layer0'], 2, axis=-1)
  return min(float(np.abs(half - y).max()) for half in halves) < 1e-3


def _params(a: dict[str, np.ndarray], apply: Apply) -> tree.Tree:
  model = apply.model
  flat = tree.flatten(_library_names.params(a, model, 'w/'))
  variant = reversible.options(model.config).variant
  for ours, theirs in _adapters(variant, model.config.num_layers).items():
    value = a[f'w/{theirs}']
    flat[ours] = value.T if ours.endswith('kernel') else value
  return tree.unflatten({n: jnp.asarray(x) for n, x in flat.items()})


def _adapters(variant: str, layers: int) -> dict[str, str]:
  """Returns {our leaf: official name}."""
  return {
    f'encoder/layer_{i}/{place}/adapter_{end}_{ours}': (
      f'bert.encoder.layer.{i}.{ADAPTERS[place]}.{dense}.{theirs}'
    )
    for i in range(layers)
    for place, _ in meft.ADAPTERS[variant]
    for end, dense in ENDS.items()
    for ours, theirs in (('kernel', 'weight'), ('bias', 'bias'))
  }


def _run(apply, params, batch, labels):
  """Returns (outputs and loss, {official name: gradient})."""
  learns = lambda name: '/adapter_' in name or name.startswith('head/')
  train, frozen = tree.partition(params, learns)

  def loss(train, frozen, batch, labels):
    out = apply(tree.merge(train, frozen), batch)
    value = _cross_entropy(out['logits'], labels)
    keep = ('last_hidden', 'pooled', 'logits')
    kept = {name: out[name] for name in keep}
    return value, kept | {'loss': value, 'entry': out['hidden_states'][0]}

  gradients, outputs = jit(jax.grad(loss, has_aux=True))(
    train, frozen, batch, labels
  )
  variant = reversible.options(apply.model.config).variant
  known = _adapters(variant, apply.model.config.num_layers) | {
    'head/out/kernel': 'classifier.weight',
    'head/out/bias': 'classifier.bias',
  }
  return outputs, {
    known[name]: x.T if name.endswith('kernel') else x
    for name, x in tree.flatten(gradients).items()
  }


def _cross_entropy(logits, labels):
  scores = jax.nn.log_softmax(logits)
  return -jnp.take_along_axis(scores, labels[:, None], 1).mean()


def _gradients(a, gradients, tolerance, suffix='') -> Rows:
  theirs = {k for k in a if k.startswith('g/')}
  if {f'g/{name}' for name in gradients} != theirs:
    raise ValueError(f'gradients of {sorted(gradients)}, expected of {theirs}')
  return [
    (f'g/{name}{suffix}', x, a[f'g/{name}'], *tolerance)
    for name, x in gradients.items()
  ]


def _double(a, apply, params):
  """Gradients of the reversible pass in float64, blocks written down here."""
  config = apply.model.config
  chosen = reversible.options(config)
  weights = {
    k[2:]: jnp.asarray(v, jnp.float64)
    for k, v in a.items()
    if k.startswith('w/')
  }
  train = {k[2:]: weights[k[2:]] for k in a if k.startswith('g/')}
  entry = _embedded(a, weights)
  bias = jnp.where(a['attention_mask'] != 0, 0.0, -1e300)[:, None, None]

  def loss(train):
    w = weights | train
    pairs = [
      _double_pair(w, f'bert.encoder.layer.{i}', chosen.variant, config, bias)
      for i in range(config.num_layers)
    ]
    streams = coupling.reversible(
      pairs, (entry, entry), chosen.coupling, config.num_layers
    )
    pooled = jnp.tanh(_dense(w, 'bert.pooler.dense', sum(streams)[:, 0] / 2))
    return _cross_entropy(_dense(w, 'classifier', pooled), a['labels'])

  return jit(jax.grad(loss))(train)


def _embedded(a, w):
  tables = {
    f'bert.embeddings.{name}_embeddings.weight': ids
    for name, ids in (
      ('word', a['input_ids']),
      ('position', np.arange(a['input_ids'].shape[1])),
      ('token_type', a['token_type_ids']),
    )
  }
  total = sum(w[name][ids] for name, ids in tables.items())
  return _norm(w, 'bert.embeddings.LayerNorm', total)


def _double_pair(w, layer, variant, config, bias):
  """F and G of a layer, from the sheet's equations."""
  gelu = lambda x: x * jax.scipy.stats.norm.cdf(x)
  dense = lambda name, x: _dense(w, f'{layer}.{name}', x)
  norm = lambda name, x: _norm(w, f'{layer}.{name}.LayerNorm', x)
  adapter = lambda name, x: dense(
    f'{name}.dense2', gelu(dense(f'{name}.dense1', x))
  )

  def attention(x):
    heads = lambda x: x.reshape(*x.shape[:2], config.num_heads, -1)
    query, key, value = (
      heads(dense(f'attention.self.{name}', x))
      for name in ('query', 'key', 'value')
    )
    scores = jnp.einsum('blhk,bmhk->bhlm', query, key)
    probs = jax.nn.softmax(scores * query.shape[-1] ** -0.5 + bias)
    out = jnp.einsum('bhlm,bmhk->blhk', probs, value).reshape(x.shape)
    out = dense('attention.output.dense', out)
    if variant == 'meft3':
      out += adapter(ADAPTERS['mixer'], out)
    return norm('attention.output', out + x)

  def transformed(x):
    out = dense('output.dense', gelu(dense('intermediate.dense', x)))
    return norm('output', out + adapter(ADAPTERS['ffn'], x) + x)

  block = lambda x: transformed(attention(x))
  beside = lambda x: adapter(ADAPTERS['beside'], x)
  return {
    'meft1': (block, beside),
    'meft2': (beside, block),
    'meft3': (attention, transformed),
  }[variant]


def _dense(w, name, x):
  return x @ w[f'{name}.weight'].T + w[f'{name}.bias']


def _norm(w, name, x):
  x = x - x.mean(-1, keepdims=True)
  x /= jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-12)
  return x * w[f'{name}.weight'] + w[f'{name}.bias']
