"""COMET's local search: permutations learned by an annealed Sinkhorn.

Ibrahim et al. 2023, arXiv 2306.02824. Log-weights Theta (n, n) become
R = Sinkhorn(Theta / tau): rows, then columns normalised in log space. At step
t of T (t from 1) tau = 10^(-3 - 4 t / T) and floor(20 + 130 t / T) iterations;
from t = T on R is the hard permutation that maximises the last soft one.
Rows are leaves, columns experts. Gumbel noise, weight 0 in every published
setting, is left out.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

# At t = T the schedule reaches this number.
MAX_ITERATIONS = 150
INIT_RANGE = 0.05
_EPSILON = 1e-6


class Permutation(nn.Module):
  """Where a gate asks for its permutations; without local search the identity.

  The method `comet` puts a plug here (glue_jax/methods/comet.py).
  """

  def __call__(
    self, copies: int, experts: int
  ) -> tuple[jax.Array | None, bool]:
    """Returns R (m, n, n), or None for the identity, and whether it is hard.

    m is 1 or the number of copies that the gate asks for, or what `averaged`
    takes.

    Args:
      copies: trees or selectors k that may each have their own.
      experts: n.
    """
    del copies, experts
    return None, True


def schedule(step: jax.Array, total: int) -> tuple[jax.Array, jax.Array]:
  """Temperature and number of iterations.

  Args:
    step: t, from 1.
    total: T.
  """
  part = step / total
  tau = 10.0 ** (-3.0 - 4.0 * part)
  return tau, jnp.floor(20 + 130 * part).astype(jnp.int32)


def sinkhorn(
  log_alpha: jax.Array, temperature: jax.Array, iterations: jax.Array
) -> jax.Array:
  """Alternately normalises rows, then columns.

  Args:
    log_alpha: (..., n, n).
    temperature: divides it.
    iterations: at most `MAX_ITERATIONS`; may be traced, so the loop has the
      full length and stops changing anything (it must be differentiable).

  Returns:
    (..., n, n): columns sum to 1, rows up to the last normalisation.
  """
  start = log_alpha / temperature

  def step(x, i):
    y = x - jax.nn.logsumexp(x, axis=-1, keepdims=True)
    y = y - jax.nn.logsumexp(y, axis=-2, keepdims=True)
    return jnp.where(i < iterations, y, x), None

  x, _ = jax.lax.scan(step, start, jnp.arange(MAX_ITERATIONS))
  return jnp.exp(x)


def entropy(soft: jax.Array) -> jax.Array:
  """Mean over matrices of sum -R log(R + 1e-6); () float.

  That of R plus that of R with rows divided by their sum. The published weight
  is 1e-4.
  """
  rows = soft / soft.sum(-1, keepdims=True)

  def term(r):
    return -(r * jnp.log(r + _EPSILON)).sum((-2, -1)).mean()

  return term(soft) + term(rows)


def assign(soft: jax.Array) -> jax.Array:
  """Hard permutations (m, n, n) that maximise sum(P * soft)."""

  def one(matrix):
    rows, columns = optax.assignment.hungarian_algorithm(-matrix)
    return jnp.zeros_like(matrix).at[rows, columns].set(1.0)

  return jax.vmap(one)(soft)


def averaged(permutation: jax.Array | None, weights: jax.Array) -> jax.Array:
  """Applies the mean of all permutations to weights (..., n); renormalises.

  For gates with one vector of weights (Top-k, Hash, Soft).
  """
  if permutation is None:
    return weights
  moved = weights @ permutation.mean(0)
  return moved / moved.sum(-1, keepdims=True)
