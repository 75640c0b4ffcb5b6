"""Golden vectors of DeBERTaV3's step, through the objective and its phases.

Masks and samples are the file's; everything else is what a run does: the tables
joined by the method, losses and gradients of the objective, and one step whose
first phase is plain SGD on the generator and whose second one doesn't move.
"""

import functools
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from glue_jax import tree
from glue_jax.models import deberta_v2
from glue_jax.models.model import Model
from glue_jax.objectives import mlm, rtd_shared
from glue_jax.plugs import Apply
from glue_jax.training import compose
from glue_jax.training import state as states
from glue_jax.training import step as steps
from glue_jax.training.phases import Optimizers
from tests import quick
from tests.golden import _library_names

VALUE = 2e-5
LOSS = 1e-5
GRADIENT = 1e-4  # of the largest value of an array
SGD = 0.05
WORD = 'encoder/embeddings/word/embedding'
POSITION = 'encoder/embeddings/position/embedding'
ABSOLUTE = 'encoder/positions/absolute/embedding'
# The files name the generator's head as the official code does.
HEAD = {
  'lm_predictions.lm_head.bias': 'cls.predictions.bias',
  'lm_predictions.lm_head.dense': 'cls.predictions.transform.dense',
  'lm_predictions.lm_head.LayerNorm': 'cls.predictions.transform.LayerNorm',
}


class Networks(NamedTuple):
  generator: Model
  discriminator: Model


def compare(a: dict[str, np.ndarray]) -> list[tuple]:
  """Rows of both networks, for each way to share the tables."""
  a = {_renamed(name): value for name, value in a.items()}
  networks = Networks(
    _model(a, 'generator', 'mlm'), _model(a, 'discriminator', 'replaced_tokens')
  )
  own = {
    name: _library_names.params(a, model, f'param/{name}.')
    for name, model in networks._asdict().items()
  }
  rows = []
  for sharing in rtd_shared.SHARINGS:
    if f'output/{sharing}/total' in a:
      rows += _one(a, networks, own, sharing)
  return rows


def _renamed(name: str) -> str:
  for theirs, ours in HEAD.items():
    name = name.replace(f'generator.{theirs}', f'generator.{ours}')
  return name


def _original(row: tuple) -> tuple:
  name = row[0]
  for theirs, ours in HEAD.items():
    name = name.replace(f'generator.{ours}', f'generator.{theirs}')
  return (name, *row[1:])


def _model(a, name: str, kind: str) -> Model:
  config = deberta_v2.config_from_hf(json.loads(str(a[f'config/{name}'])))
  if kind == 'mlm':
    config = rtd_shared.generator_config(config, config.num_layers)
  return Model(config, 'deberta_v2', kind, 0)


def _tree(a, own, sharing: str):
  """The whole tree of a run; the model's tables are deltas under gdes."""
  flat = tree.flatten(own['discriminator'])
  mine = tree.flatten(own['generator'])
  tables = [n for n in flat if tree.matches(rtd_shared.TABLES, n)]
  for name in tables:
    if sharing == 'es':
      flat[name] = mine.pop(name)
    elif sharing == 'gdes':
      delta = 'word' if name == WORD else 'pos'
      flat[name] = jnp.asarray(a[f'param_gdes/E_delta_{delta}'])
  return tree.unflatten(flat) | {'generator': tree.unflatten(mine)}


def _batch(a) -> dict[str, jax.Array]:
  ids = a['input/original_ids']
  return {
    'input_ids': jnp.asarray(ids),
    'attention_mask': jnp.asarray(a['input/input_mask']),
    'weight': jnp.ones(len(ids)),
  }


def _draws(a) -> rtd_shared.Draws:
  """The file's masks and samples, as the objective draws its own."""
  labels = a['input/labels']
  length = labels.shape[1]
  guess = np.zeros(labels.shape, np.int32)
  guess[labels > 0] = a['input/sampled_ids']

  def masked(rng, batch):
    hidden = {**batch, 'input_ids': jnp.asarray(a['input/input_ids_masked'])}
    hidden['labels'] = jnp.where(labels > 0, labels, -100)
    return mlm.at_chosen(hidden, length)

  def sampled(rng, logits):
    # In the order of the positions: the chosen ones first.
    order = np.argsort(labels <= 0, axis=-1, kind='stable')
    return jnp.asarray(np.take_along_axis(guess, order, -1))

  return rtd_shared.Draws(masked, sampled)


def _one(a, networks: Networks, own, sharing: str) -> list[tuple]:
  params, batch, weight = (
    _tree(a, own, sharing),
    _batch(a),
    a['config/rtd_lambda'],
  )
  draws = _draws(a)
  made = {
    form: rtd_shared.built(draws, sharing, weight, form == 'decoupled')
    for form in ('joint', 'decoupled')
  }
  method = compose.compose([rtd_shared.joining(networks.generator, sharing)])
  apply = Apply(
    networks.discriminator,
    companions={'generator': Apply(networks.generator)},
  )
  found, gradients = _gradients(made['joint'], method, apply, params, batch)
  whole = method.reparam(params, 0, None)
  later = _after_generator(made['decoupled'], method, apply, params, batch)
  valid = a['input/input_mask'] > 0
  guess = draws.sampled(None, None)
  masked = draws.masked(None, batch)
  words, logits, seen, replaced = map(
    np.asarray, _forward(apply, whole, batch, masked, guess)
  )
  chosen = np.asarray(masked['labels']) >= 0
  labels = np.asarray(masked['labels'])[chosen]
  given = jax.nn.log_softmax(words[chosen])
  theirs = functools.partial(_row, a)
  rows = [
    theirs('output/gen_logits', words[chosen], VALUE),
    theirs('output/disc_input_ids', seen, 0),
    theirs(
      'output/mlm_loss_per_token', -given[np.arange(len(labels)), labels], LOSS
    ),
    theirs(
      'output/gen_masked_flat_index',
      np.flatnonzero(np.asarray(a['input/labels']) > 0), 0,
    ),
    theirs(f'output/{sharing}/disc_logits', logits * valid, VALUE),
    theirs(f'output/{sharing}/rtd_labels', replaced[valid], 0),
    theirs(
      f'output/{sharing}/rtd_loss_per_token',
      optax.sigmoid_binary_cross_entropy(logits, replaced)[valid], LOSS,
    ),
    theirs(f'output/{sharing}/mlm_loss', found['generator_loss'], LOSS),
    theirs(
      f'output/{sharing}/rtd_loss', found['discriminator_loss'], LOSS
    ),
    theirs(f'output/{sharing}/total', found['loss'], LOSS * (1 + weight)),
    theirs(
      f'output/{sharing}/rtd_loss_after_generator_sgd_step', later, LOSS
    ),
    *_tables(a, gradients, sharing),
  ]  # fmt: skip
  if sharing == 'nes':
    rows += _all_gradients(a, networks, gradients)
  return rows


def _row(a, name: str, ours, atol: float) -> tuple:
  return (name, ours, a[name], atol, 0.0)


def _gradients(objective, method, apply, params, batch):
  """({metric: mean}, gradient of the joint loss of all leaves)."""

  @functools.partial(jax.value_and_grad, has_aux=True)
  def loss(params):
    whole = method.reparam(params, 0, None)
    return objective.loss(apply, whole, batch, jax.random.key(0))

  (_, metrics), gradients = quick.jit(loss)(params)
  return {n: a / b for n, (a, b) in metrics.items()}, gradients


@functools.partial(quick.jit, static_argnums=0)
def _forward(apply, params, batch, masked, guess):
  """Logits of both networks, and what the discriminator reads."""
  words = apply.companions['generator'](params['generator'], masked)['logits']
  seen, replaced = rtd_shared.rtd.corrupt(batch, masked, guess)
  own = {n: x for n, x in params.items() if n != 'generator'}
  return words, apply(own, seen)['logits'], seen['input_ids'], replaced


def _after_generator(objective, method, apply, params, batch) -> jax.Array:
  """The discriminator's loss of a step that has moved the generator."""
  rates = {'generator': SGD, 'discriminator': 0.0}
  tx = Optimizers(objective.phases, {n: optax.sgd(r) for n, r in rates.items()})
  state = states.TrainState(
    step=jnp.zeros((), jnp.int32), params=params, frozen={},
    opt_state=tx.init(params), extra={},
  )  # fmt: skip
  step = steps.make_step(apply, objective, method, tx)
  _, metrics = quick.jit(step)(state, {'params': {}}, batch, jax.random.key(0))
  total, count = metrics['discriminator/discriminator_loss']
  return total / count


def _tables(a, gradients, sharing: str) -> list[tuple]:
  """Rows of the gradients of the shared tables."""
  flat = tree.flatten(gradients)
  generator = '' if sharing == 'es' else 'generator/'
  position = f'{generator}{POSITION}'
  if position not in flat:
    position = f'generator/{ABSOLUTE}'
  places = {'E_G': f'{generator}{WORD}', 'P_G': position}
  places |= {'nes': {'E_D': WORD}, 'gdes': {'E_delta': WORD}}.get(sharing, {})
  rows = []
  for short, name in places.items():
    key = f'grad/{sharing}/{short}'
    rows.append(_gradient(key, flat[name], a[key]))
  return rows


def _gradient(key: str, ours, theirs) -> tuple:
  return (key, ours, theirs, GRADIENT * np.abs(theirs).max(), 0.0)


def _all_gradients(a, networks: Networks, gradients) -> list[tuple]:
  """Rows of every leaf, of both networks' own trees."""
  own: dict[str, Any] = {
    'generator': gradients['generator'],
    'discriminator': {n: x for n, x in gradients.items() if n != 'generator'},
  }
  rows = []
  for name, model in networks._asdict().items():
    rows += _library_names.gradients(
      a, model, own[name], f'grad_nes/{name}.', GRADIENT
    )
  # A table that nothing reads isn't there: its gradient is nothing.
  compared = {row[0] for row in rows}
  for key in a:
    unread = key.endswith('position_embeddings.weight') and key not in compared
    if unread and key.startswith('grad_nes/'):
      rows.append(_row(a, key, np.zeros_like(a[key]), 0))
  return [_original(row) for row in rows]
