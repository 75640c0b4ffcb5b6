"""Golden vectors of a BERT classifier tuned by each baseline method."""

import types

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.layers.spec import EncoderConfig
from glue_jax.methods import bitfit, ia3, lora, prefix, prompt
from glue_jax.models import names
from glue_jax.models.model import build, shapes
from glue_jax.objectives.task import cross_entropy
from glue_jax.peft import prefix as prefixes
from glue_jax.peft import prompt as prompts
from glue_jax.plugs import Apply
from glue_jax.training.compose import add_leaves
from tests.golden import _library_names
from tests.quick import jit

Rows = list[tuple]
VALUE = (2e-5, 0.0)
GRADIENT = (1e-6, 1e-4)
IDENTITIES = ('lora', 'ia3', 'ia3_ffn_only_intermediate')


def compare_tuned(a: dict[str, np.ndarray]) -> Rows:
  """Rows of the plain classifier and of every method that the file holds."""
  plain, params = classifier(a)
  rows = outputs(a, 'base', plain, params) + _bitfit(a, plain, params)
  results = {
    key
    for key in a
    if '/g/' in key or key.endswith(('/logits', '/loss', '/init_logits'))
  }
  for kind in sorted({key.partition('/')[0] for key in results}):
    if kind in ('base', 'bitfit'):
      continue
    made, apply, fresh, tuned = tune(a, kind)
    # What depends on a random table that the file doesn't hold says nothing.
    results.discard(f'{kind}/init_logits')
    if kind in IDENTITIES and f'{kind}/init_logits' in a:
      logits = apply(fresh, batch(a))['logits']
      rows.append(
        (f'{kind}/init_logits', logits, a[f'{kind}/init_logits'], *VALUE)
      )
    rows += outputs(a, kind, apply, tuned) + _gradients(a, kind, apply, tuned)
    if made.export:
      merged = made.export(tuned)
      rows.append(
        (
          f'{kind}, merged',
          plain(merged, batch(a))['logits'],
          a[f'{kind}/logits'],
          *VALUE,
        )
      )
  left = sorted(results - {row[0] for row in rows})
  if left:
    raise ValueError(f'nothing compares {left}')
  return rows


def classifier(a: dict[str, np.ndarray]) -> tuple[Apply, tree.Tree]:
  """The plain classifier with the arrays' weights and their sizes."""
  shape = lambda name: a[f'w/{name}.weight'].shape
  layers = sum(
    name.startswith('w/') and 'attention.self.query.weight' in name
    for name in a
  )
  vocab, width = shape('bert.embeddings.word_embeddings')
  config = EncoderConfig(
    vocab_size=vocab,
    hidden_size=width,
    num_layers=layers,
    num_heads=int(a['num_heads']),
    intermediate_size=shape('bert.encoder.layer.0.intermediate.dense')[0],
    max_positions=shape('bert.embeddings.position_embeddings')[0],
    type_vocab_size=shape('bert.embeddings.token_type_embeddings')[0],
  )
  model = build(
    'bert',
    config=config,
    kind='classification',
    num_outputs=shape('classifier')[0],
  )
  return Apply(model), _library_names.params(a, model, 'w/')


def batch(a: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """The inputs of a file."""
  fields = ('input_ids', 'attention_mask', 'token_type_ids')
  return {field: a[field].astype(np.int32) for field in fields}


def tune(a: dict[str, np.ndarray], kind: str) -> tuple:
  """Returns (method, apply, fresh parameters, those of the file)."""
  plain, params = classifier(a)
  ctx = types.SimpleNamespace(model=plain.model)
  count = int(a['num_virtual_tokens'])
  make = {
    'lora': lambda: lora.make(
      ctx, rank=int(a['lora_r']), alpha=float(a['lora_alpha'])
    ),
    'ia3': lambda: ia3.make(ctx, form='library'),
    'ia3_ffn_only_intermediate': lambda: ia3.make(ctx, form='paper'),
    'prefix': lambda: prefix.make(ctx, length=count),
    'prompt': lambda: prompt.make(ctx, length=count, pool='first'),
  }
  if kind not in make:
    raise ValueError(f'unknown method {kind!r}; known are {sorted(make)}')
  made = make[kind]()
  rng = jax.random.key(0)
  fresh, _ = add_leaves(rng, params, plain, [made], batch(a))
  tuned = fresh
  for theirs, leaf in _places(a, kind, fresh).items():
    tuned = leaf(tuned, jnp.asarray(a[f'{kind}/p/{theirs}']))
  return made, plain.replace(plugs=made.plugs), fresh, tuned


def outputs(a: dict, kind: str, apply: Apply, params: tree.Tree) -> Rows:
  """Rows of the logits and the loss."""
  logits = apply(params, batch(a))['logits']
  loss = cross_entropy(logits, a['labels']).mean()
  return [
    (f'{kind}/logits', logits, a[f'{kind}/logits'], *VALUE),
    (f'{kind}/loss', loss, a[f'{kind}/loss'], *VALUE),
  ]


def gradients(a: dict, apply: Apply, params: tree.Tree) -> tree.Tree:
  """Gradients of the mean cross-entropy."""

  def loss(params):
    logits = apply(params, batch(a))['logits']
    return cross_entropy(logits, a['labels']).mean()

  return jit(jax.grad(loss))(params)


def _gradients(a, kind, apply, params) -> Rows:
  found = gradients(a, apply, params)
  return [
    (f'{kind}/g/{theirs}', leaf(found), a[f'{kind}/g/{theirs}'], *GRADIENT)
    for theirs, leaf in _places(a, kind, params).items()
  ]


def _bitfit(a, plain, params) -> Rows:
  learns = bitfit.make(None).learns(tree.flatten(params), {})
  targets = names.targets(plain.model, shapes(plain.model))
  found = tree.flatten(gradients(a, plain, params))
  rows = []
  for name in sorted(learns):
    # The head's kernel learns too, but isn't a bias.
    if name.endswith('/bias'):
      key = f'bitfit/g/{targets[name].name}'
      rows.append((key, found[name], a[key], *GRADIENT))
  return rows


class _Leaf:
  """One leaf of ours, under the name and shape of theirs.

  Called with a tree it reads, called with a tree and a value it replaces.
  """

  def __init__(self, name, read, write):
    self.name, self.read, self.write = name, read, write

  def __call__(self, params, value=None):
    flat = tree.flatten(params)
    if value is None:
      return self.read(flat[self.name])
    value = self.write(value)
    assert value.shape == flat[self.name].shape, self.name
    return tree.unflatten(flat | {self.name: value})


class _Prefixes:
  """The prefixes of all layers as one table."""

  def __call__(self, params, value=None):
    if value is None:
      return prefixes.table(params)
    return prefixes.place(params, value)


def _places(a, kind, params) -> dict:
  """{their parameter: our leaf} of every trained parameter of a method."""
  head = {'weight': 'kernel', 'bias': 'bias'}
  turned = lambda x: x.T
  found = {}
  for key in a:
    if not key.startswith(f'{kind}/p/'):
      continue
    theirs = key.removeprefix(f'{kind}/p/')
    module, _, last = theirs.rpartition('.')
    if 'classifier' in theirs:
      found[theirs] = _Leaf(f'head/out/{head[last]}', turned, turned)
    elif kind == 'prefix':
      found[theirs] = _Prefixes()
    elif kind == 'prompt':
      found[theirs] = _Leaf(prompts.leaf('encoder'), lambda x: x, lambda x: x)
    elif kind == 'lora':
      module, _, factor = module.rpartition('.')
      name = f'{_ours(module)}/{factor.lower()}'
      found[theirs] = _Leaf(name, turned, turned)
    else:
      shape = a[key].shape
      name = f'{_ours(module)}/ia3_scale'
      found[theirs] = _Leaf(
        name, lambda x, s=shape: x.reshape(s), lambda x: x.reshape(-1)
      )
  return found


def _ours(module):
  """Path of our module for a module of Hugging Face's BERT."""
  layer = module.split('.')[3]
  table = {
    'attention.self.query': 'mixer/query',
    'attention.self.key': 'mixer/key',
    'attention.self.value': 'mixer/value',
    'attention.output.dense': 'mixer/attn_out',
    'output.dense': 'ffn/ffn_out',
  }
  return f'encoder/layer_{layer}/' + table[module.split('.', 4)[4]]
