"""Distillation terms: what a student's outputs are pulled towards.

Use them: in a method that has a teacher (methods/distillation.py, moebert.py).
Cost: as many operations as there are logits; the teacher's pass is the price.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def soft_cross_entropy(
  student: jax.Array, teacher: jax.Array, temperature: float
) -> jax.Array:
  """T^2 KL(teacher || student) of softened class distributions.

  Hinton, Vinyals and Dean 2015, arXiv 1503.02531, section 2; the factor T^2
  keeps the gradient's size independent of T.

  Args:
    student, teacher: logits (B, C).
    temperature: T.

  Returns:
    (B,) float32.
  """
  soft = jax.nn.log_softmax(teacher.astype(jnp.float32) / temperature)
  ours = jax.nn.log_softmax(student.astype(jnp.float32) / temperature)
  return temperature**2 * (jnp.exp(soft) * (soft - ours)).sum(-1)


def squared_error(student: jax.Array, teacher: jax.Array) -> jax.Array:
  """Squared distance of scores (B,), for regression; float32 (B,)."""
  return (student.astype(jnp.float32) - teacher.astype(jnp.float32)) ** 2


def mean_square(student: jax.Array, teacher: jax.Array) -> jax.Array:
  """Squared distance of logits (B, ...), the mean over a row's: float32 (B,).

  What PANDA (Zhong et al. 2022, arXiv 2208.10160) pulls a student by.
  """
  square = jnp.square(student.astype(jnp.float32) - teacher)
  return square.reshape(len(square), -1).mean(-1)


def pulled(
  hard: jax.Array, mean: jax.Array, beta: jax.Array | float, rows: jax.Array
) -> jax.Array:
  """PANDA's loss: that of the labels + 0.1 beta mean / B.

  Zhong et al. 2022, as its code has it: the mean over rows is divided by their
  number once more.

  Args:
    hard: (), mean loss of the labels.
    mean: (), mean over the rows of `mean_square`.
    beta: the teacher's weight.
    rows: B, of the whole batch.
  """
  return hard + 0.1 * beta * mean / jnp.maximum(rows, 1)


def symmetric_divergence(student: jax.Array, teacher: jax.Array) -> jax.Array:
  """1/2 sum_c (p - q)(log p - log q) of two softmaxes over the last axis.

  MoEBERT (Zuo et al. 2022, arXiv 2204.07675), section 3.3; no temperature.

  Args:
    student, teacher: logits (B, C); positions of a span as well.

  Returns:
    (B,) float32.
  """
  ours = jax.nn.log_softmax(student.astype(jnp.float32))
  theirs = jax.nn.log_softmax(teacher.astype(jnp.float32))
  return ((jnp.exp(ours) - jnp.exp(theirs)) * (ours - theirs)).sum(-1) / 2


def hidden_distance(
  student: Sequence[jax.Array], teacher: Sequence[jax.Array]
) -> jax.Array:
  """Mean squared distance of hidden states (B, L, D), summed over layers: (B,).

  Every position of a row counts, padding too, as in the released MoEBERT.
  """

  def square(a, b):
    return jnp.square(a.astype(jnp.float32) - b).mean((-2, -1))

  return sum(square(a, b) for a, b in zip(student, teacher, strict=True))


def token_distance(
  student: Sequence[jax.Array], teacher: Sequence[jax.Array]
) -> jax.Array:
  """Mean squared distance of hidden states, over layers and width, by token.

  Args:
    student, teacher: as many (B, L, D) each.

  Returns:
    (B, L) float32.
  """
  parts = [
    jnp.square(ours.astype(jnp.float32) - theirs).mean(-1)
    for ours, theirs in zip(student, teacher, strict=True)
  ]
  return sum(parts) / len(parts)
