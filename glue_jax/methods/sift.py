"""SiFT: virtual adversarial fine-tuning of DeBERTa and of Vega v1.

He et al. 2021, arXiv 2006.03654, section 5, as in the code of the authors.
Parts: objectives/adversarial.py. The normalised embeddings of a row are
disturbed where that changes the prediction most, and the two predictions are
pulled together:

  L = L_task + weight * mean_rows(-sum p log p_adv - sum p_adv log p)

Every leaf stays as it is, the norm in front has none. It stands in evaluations
too, and is left out of what is exported: logits differ by the rounding of
var / (var + 1e-7) only.

Use it: for a large encoder on a task with few rows, or with wrong labels.
Costs: a step takes about 2.5 times as long; a perturbation of float32 as large
  as the embeddings.
Not with: families without a norm of an encoder's embeddings (T5, decoders);
  tasks other than of whole texts. Dropout masks are drawn for each of the three
  passes, as a module in training mode does (not confirmed for the published
  figures).
"""

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import NonNegative, Positive
from glue_jax.method import Context, Facts, Method
from glue_jax.objectives import adversarial
from glue_jax.objectives.adversarial import NAME, PLACE
from glue_jax.plugs import Recorder

KINDS = ('classification', 'multiple_choice', 'regression')
SEEDS = 'sift_seed'  # a row's, in the batch

FACTS = Facts(small=dict(sigma=0.1, eps=0.1), arms={'kl': dict(find='kl')})


def make(
  ctx: Context,
  *,
  weight: NonNegative = 5.0,
  eps: Positive = 1e-4,
  sigma: Positive = 1e-2,
  find: adversarial.Divergence = 'symmetric-kl',
) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.
    weight: of the adversarial term (published: 5, xsmall 3).
    eps: length of the step uphill (published: 1e-4).
    sigma: deviation of the first perturbation (published: 1e-2).
    find: divergence that the step goes up. That of a regression is 'mse', for
      the term of the loss too: a softmax of one logit is constant. How the
      published STS-B runs did that is not confirmed.

  Raises:
    ValueError: a task kind without sentence logits.
  """
  if ctx.task.form not in KINDS:
    raise ValueError(
      f'sift needs a task of {KINDS}, {ctx.task.name} is {ctx.task.form}'
    )
  regression = ctx.task.kind == 'regression'
  kind, pull = ('mse', 'mse') if regression else (find, 'symmetric-kl')

  def prepare(apply, params, batch, rng):
    del apply, params
    # Drawn before the batch is cut up, so that accumulation changes nothing.
    seeds = jax.random.bits(rng, batch['weight'].shape)
    return {**batch, SEEDS: seeds}

  def wrap(loss):
    def adversarial_loss(apply, params, batch, rng):
      recorder = Recorder(apply)
      total, metrics = loss(recorder, params, batch, rng)
      outputs = recorder.outputs[-1]
      clean = {
        'input': outputs['captured'][f'{PLACE}/{NAME}'],
        'logits': _rows(outputs['logits']),
      }

      def run(x, params, number):
        disturbed = apply.replace(extra={**apply.extra, NAME: x})
        key = jax.random.fold_in(rng, 1 + number)
        return _rows(disturbed(params, batch, True, key)['logits'])

      delta = adversarial.start(batch[SEEDS], clean['input'].shape, sigma)
      logits, _ = adversarial.attacked(run, params, clean, delta, eps, kind)
      losses = adversarial.divergence(pull, logits, clean['logits'])
      if regression:
        losses *= logits.size  # a row's square, whose mean is taken here
      summed = (losses * batch['weight']).sum()
      count = batch['weight'].sum()
      metrics = metrics | {'adversarial': (summed, count)}
      return total + weight * summed / jnp.maximum(count, 1), metrics

    return adversarial_loss

  return Method(
    'sift', plugs=(adversarial.PLUG,), prepare=prepare, wrap_loss=wrap
  )


def _rows(logits):
  """(B, C) of (B, C), or (B, 1) of the (B,) of a regression."""
  return logits.reshape(len(logits), -1)
