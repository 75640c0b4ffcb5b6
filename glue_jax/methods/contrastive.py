"""The second phase of Vega v1: a contrastive term beside any objective.

Zhong et al. 2023, arXiv 2302.09268, pre-train by replaced tokens, then go on
with a contrastive loss of sentence vectors beside it. Which network, pooling,
weight, temperature and lengths are not confirmed; ours are those of SimCSE
(Gao et al. 2021, arXiv 2104.08821): each row is encoded twice by the model,
uncorrupted, with two dropout masks; z = tanh(dense(h_[CLS])); the rows of the
batch on all devices are the negatives (objectives/simcse.py).

  L_2 = L_1 + weight * InfoNCE(z, z')

It begins at step `begins` of the run, so that optimizer and companions (the
generator) go on; until then the program is that of the objective alone. The
dense layer is dropped from what is exported.

Use it: in pre-training an encoder whose first token shall stand for the text.
Costs: two more passes of the encoder a step, B^2 similarities.
Not with: objectives in several phases; a model without dropout, whose two
  vectors are one. Accumulated micro-batches don't see each other.
"""

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import NonNegative, Positive, Whole
from glue_jax.method import Context, Facts, Hook, Method
from glue_jax.objectives import simcse

WAITS = 'contrastive_waits'  # key of the variant before it begins
HEAD = 'contrastive'

FACTS = Facts(
  small=dict(temperature=0.5),
  identity=True,
  needs=dict(model=dict(dropout=0.1)),
)


def make(
  ctx: Context,
  *,
  begins: Whole = 0,
  weight: NonNegative = 1.0,
  temperature: Positive = 0.05,
) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.
    begins: the first step with the term.
    weight: of the term.
    temperature: of the similarities.

  Raises:
    ValueError: it begins after the run's end, or the model isn't an encoder of
      single rows with dropout.
  """
  config = ctx.model.config
  if begins >= ctx.total_steps:
    raise ValueError(
      f'contrastive begins={begins}: the run has {ctx.total_steps} steps; give '
      'a step of it'
    )
  if ctx.model.shape != 'encoder' or ctx.model.kind == 'multiple_choice':
    raise ValueError(
      f'contrastive compares texts by an encoder, a row each; found '
      f'{ctx.model.family} with the head {ctx.model.kind!r}'
    )
  if not (config.dropout or config.attention_dropout):
    raise ValueError(
      'contrastive tells two encodings of a row apart by dropout, and '
      'model.dropout and model.attention_dropout are 0'
    )

  def surgery(rng, params):
    width = config.hidden_size
    kernel = config.init_range * jax.random.normal(rng, (width, width))
    return params | {HEAD: {'kernel': kernel, 'bias': jnp.zeros(width)}}

  def before_step(host):
    if host.step < begins:
      host.variant[WAITS] = True
    else:
      host.variant.pop(WAITS, None)

  def wrap(loss):
    def with_term(apply, params, batch, rng):
      total, metrics = loss(apply, params, batch, rng)
      if apply.variant.get(WAITS):
        return total, metrics

      def vectors(number):
        key = jax.random.fold_in(rng, 1 + number)
        hidden = apply(params, batch, True, key)['last_hidden'][:, 0]
        dense = params[HEAD]
        return jnp.tanh(hidden @ dense['kernel'] + dense['bias'])

      rows = batch['weight']
      losses, _ = simcse.info_nce(
        vectors(0), vectors(1), temperature=temperature, weight=rows
      )
      summed, count = (losses * rows).sum(), rows.sum()
      metrics = metrics | {'contrastive': (summed, count)}
      return total + weight * summed / jnp.maximum(count, 1), metrics

    return with_term

  return Method(
    'contrastive',
    surgery=surgery,
    hooks=(Hook(before_step=before_step),),
    wrap_loss=wrap,
    export=lambda params: {n: x for n, x in params.items() if n != HEAD},
  )
