"""Distillation terms: what a student's outputs are pulled towards."""

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
