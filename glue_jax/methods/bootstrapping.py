"""Hard bootstrapping against noisy labels. Reed et al. 2015, arXiv 1412.6596.

Equation 3.2 mixes a label with the model's own prediction. Here each label of a
batch is replaced by the current prediction with probability 1 - beta, whose
expected loss is that of the paper.

Use it: when some labels of a classification task are wrong.
Costs: one more forward pass a step.
Not with: tasks other than classification: there is no predicted label.
"""

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import Share
from glue_jax.method import Context, Facts, Method

FACTS = Facts(
  small=dict(beta=0.5),
  identity=True,
  axis='regularizer',
  cell=dict(beta=0.8),
)


def make(ctx: Context, *, beta: Share = 0.8) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.
    beta: probability of keeping the given label (paper: 0.8).

  Raises:
    ValueError: the task doesn't classify.
  """
  if ctx.task.form != 'classification':
    raise ValueError(
      f'bootstrapping needs a classification task, {ctx.task.name} is '
      f'{ctx.task.form}'
    )

  def prepare(apply, params, batch, rng):
    predicted = jnp.argmax(apply(params, batch)['logits'], -1)
    keep = jax.random.bernoulli(rng, beta, predicted.shape)
    labels = jnp.where(keep, batch['labels'], predicted)
    return dict(batch, labels=labels.astype(batch['labels'].dtype))

  return Method('bootstrapping', prepare=prepare)
