"""Rows weigh what their column says: the one user of `Examples.columns`."""

from glue_jax.method import Context, Facts, Method

FACTS = Facts(small={})


def make(ctx: Context) -> Method:
  """The loss's mean is over the weights `batch['difficulty']`."""
  del ctx

  def prepare(apply, params, batch, rng):
    return batch | {'weight': batch['weight'] * batch['difficulty']}

  return Method('weighed', prepare=prepare)
