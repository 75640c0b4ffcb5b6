"""COMET's training. Ibrahim et al. 2023, arXiv 2306.02824.

For models with experts (layers/ffn/experts.py) and any of their gates: what the
gates capture is weighed into the loss, and with `search_steps` the local search
over permutations (COMET+, Top-k+, ...; layers/gates/permutation.py) is on.
Constant weights: there is no schedule. Logged: the share of tokens with at most
k experts and the experts a token.

At step T = `search_steps` the permutations become hard. So that the last soft
R is the one of step T - 1, as published, the switch comes with that step: its
temperature is 1e-7, its R hard to rounding. One permutation for all (copies=1)
is merged at export: the experts change places.

Use it: to train experts with the losses that their gate was published with.
Costs: the gates' losses; with a search, soft permutations of the experts until
  its last step.
Not with: a model without experts; what sits on `ffn_in`, `ffn_out` or `ln_ffn`
  (`ia3`, `pfeiffer`, `deft`), which experts don't have; `meft`.
"""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax import tree
from glue_jax.config.ranges import Count, NonNegative, Whole
from glue_jax.layers import paths
from glue_jax.layers.dense import uniform
from glue_jax.layers.gates import permutation
from glue_jax.method import Context, Facts, Hook, Method
from glue_jax.plugs import Plug, Recorder

_SITES = paths.of('ffn/gate/permutation')
_LEAF = 'log_weights'
# The variant's key: {path: rows of columns}, as text.
_CHOSEN = 'permutations'
_LOGGED = ('few_experts', 'experts_per_token')

FACTS = Facts(
  small=dict(entropy=0.1, search_steps=20),
  needs=dict(
    model=dict(
      ffn='experts',
      options=dict(experts=dict(size=12, gate_options=dict(gamma=1.0))),
    )
  ),
)


def make(
  ctx: Context,
  *,
  entropy: NonNegative = 0.0,
  balance: NonNegative = 0.0,
  importance: NonNegative = 0.0,
  load: NonNegative = 0.0,
  reciprocal: NonNegative = 0.0,
  search_steps: Whole = 0,
  search_weight: NonNegative = 1e-4,
  copies: Count = 1,
) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.
    entropy, balance, importance, load, reciprocal: weights of what the gates
      capture (summed over layers); see glue_jax/layers/gates_*.py for which
      gate captures what.
    search_steps: T, steps per epoch times epochs of the search; 0 for none.
    search_weight: of the permutations' entropy.
    copies: permutations a gate: 1 shared one, or one for each of its k trees
      or selectors.

  Raises:
    ValueError: a model without experts.
  """
  weights = {
    'entropy': entropy, 'balance': balance, 'importance': importance,
    'load': load, 'reciprocal': reciprocal,
  }  # fmt: skip
  if 'experts' not in ctx.model.config.names('ffn'):
    raise ValueError(
      f"comet needs model.ffn='experts'; it is {ctx.model.config.ffn!r}"
    )
  if not search_steps:
    return Method('comet', wrap_loss=lambda loss: _wrapped(loss, weights))
  weights['search'] = search_weight
  return Method(
    'comet',
    plugs=(Plug(_SITES, lambda *a: _site(search_steps, copies, *a)),),
    wrap_loss=lambda loss: _wrapped(loss, weights),
    holds=_holds,
    hooks=(Hook(before_step=lambda host: _fix(search_steps, host)),),
    export=lambda params: _merged(search_steps, params),
  )


def _wrapped(loss, weights):
  """Returns the loss with the weighted sum of what the gates captured."""

  def with_terms(apply, params, batch, rng):
    recorder = Recorder(apply)
    total, metrics = loss(recorder, params, batch, rng)
    captured = recorder.outputs[-1].get('captured', {})
    terms = {}
    for name, value in captured.items():
      terms.setdefault(name.rpartition('/')[2], []).append(value)
    absent = {n for n, w in weights.items() if w} - terms.keys() - {'search'}
    if absent:
      raise ValueError(
        f'comet: no gate of the model captures {sorted(absent)}; they capture '
        f'{sorted(terms.keys() - set(_LOGGED))}'
      )
    count = metrics['loss'][1]
    for name, weight in weights.items():
      if weight and name in terms:
        term = sum(terms[name])
        total += weight * term
        metrics[name] = (term * count, count)
    for name in _LOGGED:
      metrics[name] = (sum(terms[name]) / len(terms[name]) * count, count)
    return total, metrics

  return with_terms


def hard(log_weights: jax.Array, total: int) -> jax.Array:
  """The assignment of the last soft R of a search of `total` steps."""
  soft = permutation.sinkhorn(
    log_weights, *permutation.schedule(jnp.float32(max(total - 1, 1)), total)
  )
  return permutation.assign(soft)


def _site(total, copies, site, next_fn, wanted, experts):
  """The plug: soft while searching, hard afterwards and at inference."""
  del next_fn
  if copies not in (1, wanted):
    raise ValueError(
      f'comet copies={copies}: the gate at {site.path} has {wanted} to '
      f'permute; give 1 or {wanted}'
    )
  shape = copies, experts, experts
  theta = site.param(_LEAF, uniform(permutation.INIT_RANGE), shape)
  chosen = site.apply.variant.get(_CHOSEN)
  if chosen:
    columns = np.asarray(json.loads(chosen)[site.path])
    return jnp.eye(experts)[columns], copies == 1
  if not site.train or site.apply.step is None:
    return hard(theta, total), copies == 1
  step = (site.apply.step + 1).astype(jnp.float32)
  soft = permutation.sinkhorn(theta, *permutation.schedule(step, total))
  site.capture('search', permutation.entropy(soft))
  return soft, False


def _fix(total, host):
  """Ends the search: one assignment, from then on a part of the program."""
  if _CHOSEN in host.variant or host.step + 1 < total - 1:
    return
  leaves = tree.flatten(host.state.all_params())
  columns = {
    name.rpartition('/')[0]: np.asarray(hard(theta, total)).argmax(-1).tolist()
    for name, theta in leaves.items()
    if name.endswith(f'/permutation/{_LEAF}')
  }
  host.variant[_CHOSEN] = json.dumps(columns, sort_keys=True)


def _holds(names, variant):
  """The permutations, once they are chosen."""
  searched = {n for n in names if n.endswith(f'/permutation/{_LEAF}')}
  return searched if _CHOSEN in variant else set()


def _merged(total, params):
  """Moves the experts; separate permutations stay as leaves."""
  flat = tree.flatten(params)
  for name in list(flat):
    site = re.fullmatch(rf'(.*/ffn)/gate/permutation/{_LEAF}', name)
    if not site or flat[name].shape[0] > 1:
      continue
    columns = hard(flat.pop(name), total)[0].argmax(-1)
    for leaf in list(flat):
      if re.match(rf'{site[1]}/(experts_in|experts_out|ln_experts)/', leaf):
        flat[leaf] = flat[leaf][columns]
  return tree.unflatten(flat)
