"""A tiny BERT here and in the library, for tests of peft's folders."""

import functools
import json
import types

import jax
import numpy as np
import peft
import torch
import transformers

from glue_jax import tree
from glue_jax.config import config
from glue_jax.models import model as models
from glue_jax.plugs import Apply
from glue_jax.training.compose import add_leaves
from glue_jax.weights import huggingface
from tests.conftest import jit

SIZES = dict(
  vocab_size=41,
  hidden_size=12,
  num_layers=2,
  num_heads=3,
  intermediate_size=20,
  max_positions=24,
  dropout=0.0,
)


class Tokenizer:
  """What the folder needs none of."""

  def save(self, folder):
    pass


def build(num_outputs=3):
  """The model as a classifier."""
  return models.build(
    'bert', 'tiny', kind='classification', num_outputs=num_outputs, **SIZES
  )


@functools.cache
def plain():
  """(Apply, parameters) of the backbone with a head, compiled once."""
  apply = Apply(build())

  def init(rng):
    params = apply.model.init(rng, batch())['params']
    return jax.tree.map(lambda x: x * 4 + 0.01, params)

  return apply, jit(init)(jax.random.key(0))


@functools.cache
def plain_logits():
  """Compiled (params) -> logits of the plain model."""
  apply = plain()[0]
  return jit(lambda params: apply(params, batch())['logits'])


def save(folder):
  """Writes the backbone for the library."""
  apply, params = plain()
  huggingface.save_hf(folder, apply.model, params, Tokenizer())


def load(folder, kind=transformers.BertForSequenceClassification):
  """The same backbone in the library."""
  return kind.from_pretrained(folder, attn_implementation='eager').eval()


def batch():
  rng = np.random.default_rng(0)
  ids = rng.integers(1, 41, (3, 9)).astype(np.int32)
  mask = np.ones_like(ids)
  mask[1, 6:] = 0
  ids[1, 6:] = 0
  segments = (np.arange(9) > 4).astype(np.int32) * np.ones_like(ids)
  return dict(input_ids=ids, attention_mask=mask, token_type_ids=segments)


def method(name, settings):
  make = config.module('methods', name, name).make
  return make(types.SimpleNamespace(model=plain()[0].model), **settings)


@functools.cache
def _started(name, settings):
  made = method(name, json.loads(settings))
  rng = jax.random.key(1)
  apply, params = plain()
  params, leaves = add_leaves(rng, params, apply, [made], batch())
  return made, leaves.owners, tree.flatten(params)


def started(name, settings):
  """(method, names of its leaves, {leaf: array}), fresh."""
  return _started(name, json.dumps(settings))


def abstract(name, settings):
  """({leaf: shape}, names of what learns); nothing is computed."""
  made = method(name, settings)
  init = plain()[0].replace(plugs=made.plugs).init
  shapes = tree.flatten(jax.eval_shape(init, jax.random.key(1), batch()))
  learns = made.learns(shapes, {})
  return {n: x.shape for n, x in shapes.items()}, learns


def our_logits(name, settings, leaves):
  """Logits with the method's leaves in place."""
  made, _, flat = started(name, settings)
  assert leaves.keys() <= flat.keys()
  apply = plain()[0].replace(plugs=made.plugs)

  def run(flat):
    params = tree.unflatten(flat)
    if made.reparam:
      params = made.reparam(params, 0, None)
    return apply(params, batch())['logits']

  return jit(run)(flat | leaves)


def merged_logits(name, settings, leaves):
  """The same by the exported model: no program of its own."""
  made = method(name, settings)
  flat = tree.flatten(plain()[1]) | leaves
  return plain_logits()(made.export(tree.unflatten(flat)))


def tune(base, settings):
  """The library's adapter, as if it had been trained; not in place."""
  torch.manual_seed(0)
  tuned = peft.get_peft_model(base, settings)
  for parameter in tuned.parameters():
    if parameter.requires_grad:
      parameter.data.add_(0.2 * torch.randn_like(parameter))
  return tuned.eval()


def their_logits(tuned):
  tensors = {k: torch.tensor(v).long() for k, v in batch().items()}
  with torch.no_grad():
    return tuned.eval()(**tensors).logits.numpy()


def flat():
  """{leaf: array} of the plain model."""
  return tree.flatten(plain()[1])
