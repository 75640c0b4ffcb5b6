"""Transferability: how alike two tasks are by what a prompt makes of them.

The authors of PANDA (Zhong et al. 2022, arXiv 2208.10160) weigh the teacher by
the cosine of two tasks' embeddings that soft prompts give; the code for it
isn't released, and the definition here is ours:

  E_t = mean over examples of the mean over their real tokens of the last
        hidden state, with the source's prompt in the model
  similarity = cos(E_source, E_target)

Use it: to choose a source for `prompt_transfer`, and as its beta
  (`launch.probe transferability`).
Cost: a forward pass over 100 examples of either task.
"""

import jax
import jax.numpy as jnp


def features(hidden: jax.Array, mask: jax.Array) -> jax.Array:
  """Means over real tokens.

  Args:
    hidden: (..., L, D).
    mask: (..., L), 1 at real tokens.

  Returns:
    (..., D) float32; zeros where a row has none.
  """
  mask = mask[..., None].astype(jnp.float32)
  total = (hidden.astype(jnp.float32) * mask).sum(-2)
  return total / jnp.maximum(mask.sum(-2), 1)


def cosine(one: jax.Array, other: jax.Array) -> jax.Array:
  """Cosine () of two embeddings (D,); 0 if one is zero."""
  one, other = (jnp.asarray(x, jnp.float32) for x in (one, other))
  size = jnp.linalg.norm(one) * jnp.linalg.norm(other)
  return one @ other / jnp.maximum(size, 1e-12)
