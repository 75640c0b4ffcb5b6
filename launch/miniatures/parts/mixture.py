"""Small mixtures of experts without an encoder, trained many at a time.

The gates are those of the encoder's experts (glue_jax/layers/gates/base.py).
Every expert is computed; what is studied here is the gates.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from glue_jax.layers.context import BatchContext
from glue_jax.layers.gates import base, permutation
from glue_jax.layers.spec import EncoderConfig
from glue_jax.plugs import Apply, Plug


@dataclasses.dataclass(frozen=True)
class Design:
  """Of a mixture.

  Attributes:
    experts: n.
    gate: name of the gate.
    options: of the gate, ((name, value), ...).
    hidden: width of each expert's hidden layer; None for a linear expert.
    features: outputs of an expert.
    classes: logits of each task's tower; None: the experts' sum is the output.
    tasks: each has its own gate and tower.
    ids: number of different ids, for the hash gate.
    search_steps: T of the local search; 0 for none.
    copies: permutations of a gate.
  """

  experts: int
  gate: str
  options: tuple = ()
  hidden: int | None = None
  features: int = 4
  classes: int | None = None
  tasks: int = 1
  ids: int = 1
  search_steps: int = 0
  copies: int = 1


class _Task(nn.Module):
  """A task's gate and tower over the experts' outputs."""

  design: Design

  @nn.compact
  def __call__(self, x, ids, outputs, train):
    d = self.design
    config = EncoderConfig(vocab_size=d.ids, init_range=0.05)
    gate = base.make(d.gate, config, d.experts, dict(d.options))
    mask = jnp.ones((len(x), 1), bool)
    context = BatchContext(mask, input_ids=ids[:, None])
    routing = gate(x[:, None], context, train)
    weights = routing.weights[:, 0]
    used = (weights >= base.USED).sum(-1)
    y = jnp.einsum('be,ebf->bf', weights, outputs)
    if d.classes is not None:
      y = nn.Dense(d.classes, name='tower')(nn.relu(y))
    return y, used


class Mixture(nn.Module):
  """Shared experts and the tasks; returns {'outputs', 'used'}."""

  design: Design

  @nn.compact
  def __call__(
    self, batch: Mapping[str, jax.Array], train: bool = False
  ) -> dict[str, jax.Array]:
    """Maps x (B, D), ids (B,) to outputs (B, tasks, F), used (B, tasks)."""
    d = self.design
    stacked = nn.vmap(
      nn.Dense, variable_axes={'params': 0}, split_rngs={'params': True},
      in_axes=None if d.hidden is None else 0, axis_size=d.experts,
    )  # fmt: skip
    h = batch['x']
    if d.hidden is not None:
      first = nn.vmap(
        nn.Dense, variable_axes={'params': 0}, split_rngs={'params': True},
        in_axes=None, axis_size=d.experts,
      )  # fmt: skip
      h = nn.relu(first(d.hidden, name='experts_in')(h))
    outputs = stacked(d.features, name='experts_out')(h)
    tasks = [
      _Task(d, name=f'task_{i}')(batch['x'], batch['ids'], outputs, train)
      for i in range(d.tasks)
    ]
    y, used = (jnp.stack(parts, axis=1) for parts in zip(*tasks))
    return {'outputs': y, 'used': used}


def train(
  design: Design,
  data: Mapping[str, jax.Array],
  loss: Callable[[jax.Array, jax.Array], jax.Array],
  settings: Mapping[str, jax.Array],
  *,
  steps: int,
  batch_size: int,
) -> Callable[[Mapping[str, jax.Array]], tuple[dict, jax.Array]]:
  """Trains one mixture for each row of the settings, all in one program.

  Args:
    design: of all.
    data: x (N, D), ids (N,), y (N, tasks, ...).
    loss: (outputs, y) -> (B,).
    settings: `seed`, `lr`, and a weight for each captured term by its name,
      all (R,).
    steps: Adam updates.
    batch_size: rows drawn for each.

  Returns:
    evaluate(data) -> ({'outputs' (R, N, tasks, F), 'used'}, losses (R, N)).
  """
  fit = functools.partial(
    _fit, design, data, loss, steps=steps, batch_size=batch_size
  )
  first = {k: v[:2] for k, v in data.items()}
  # Not in the program of the fit: draws are what compiles slowest.
  params = jax.vmap(lambda seed: _init(design, first, seed))(settings['seed'])
  params, matrices = jax.jit(jax.vmap(fit))(params, dict(settings))

  @jax.jit
  def evaluate(data):
    def one(params, matrices):
      out = _apply(design, params, data, matrices, False, None)
      return out, loss(out['outputs'], data['y'])

    return jax.vmap(one)(params, matrices)

  return evaluate


def _init(design, batch, seed):
  """Fresh parameters: {'model', and 'theta' where there is a search}."""
  key = jax.random.key(seed)
  params = {'model': Mixture(design).init({'params': key}, batch)['params']}
  if design.search_steps:
    shape = (design.tasks, design.copies, design.experts, design.experts)
    limit = permutation.INIT_RANGE
    theta = jax.random.uniform(key, shape, minval=-limit, maxval=limit)
    params['theta'] = theta
  return params


def _fit(design, data, loss, params, setting, *, steps, batch_size):
  """Trains one mixture; returns its parameters and permutations."""
  key = jax.random.key(setting['seed'])
  searched = design.search_steps
  tx = optax.adam(setting['lr'])

  def update(carry, step, matrices_of):
    params, state = carry
    rng = jax.random.fold_in(key, step)
    rows = jax.random.randint(rng, (batch_size,), 0, len(data['x']))
    batch = {k: v[rows] for k, v in data.items()}

    def objective(params):
      matrices, total = matrices_of(params, step)
      out = _apply(design, params['model'], batch, matrices, True, rng)
      total += loss(out['outputs'], batch['y']).mean()
      for name, value in out.get('captured', {}).items():
        weight = setting.get(name.rpartition('/')[2])
        total += 0.0 if weight is None else weight * value
      return total

    updates, state = tx.update(jax.grad(objective)(params), state)
    return (optax.apply_updates(params, updates), state), None

  def soft(params, step):
    schedule = permutation.schedule(step + 1.0, searched)
    matrix = permutation.sinkhorn(params['theta'], *schedule)
    return matrix, 1e-4 * permutation.entropy(matrix)

  carry, matrices = (params, tx.init(params)), None
  if searched:
    carry, _ = jax.lax.scan(
      lambda c, i: update(c, i, soft), carry, jnp.arange(searched)
    )
    last, _ = soft(carry[0], searched - 1.0)
    matrices = jax.vmap(permutation.assign)(last)
  carry, _ = jax.lax.scan(
    lambda c, i: update(c, i, lambda *_: (matrices, 0.0)),
    carry,
    jnp.arange(searched, steps),
  )
  return carry[0]['model'], matrices


def _apply(design, params, batch, matrices, train, rng):
  """The mixture with permutations (tasks, m, n, n), or without."""

  def fixed(site, next_fn, copies, experts):
    del next_fn, copies, experts
    task = int(site.path.split('/')[0].removeprefix('task_'))
    return matrices[task], False

  plugs = () if matrices is None else (Plug('.*/permutation', fixed),)
  return Apply(Mixture(design), plugs)(params, batch, train, rng)
