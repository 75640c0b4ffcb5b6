"""Logit distillation from a frozen teacher. Hinton et al. 2015, 1503.02531.

Parts: objectives/distill.py. The teacher's tree is one of the state's frozen
trees. It reads the same token ids, and its logits stand for the same labels:
`Context.load` matches its head by label names and refuses other tokens.

Use it: to make a smaller model of one that is tuned already.
Costs: the teacher's forward pass a step; its parameters in memory. Checkpoints
  name its folder and hold none of it, so it must stay as it is.
Not with: a teacher with another vocabulary, or tasks without sentence logits
  (spans, tokens).
"""

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import Positive, Share
from glue_jax.method import Companion, Context, Facts, Method
from glue_jax.objectives import distill
from glue_jax.plugs import Recorder

FACTS = Facts(small=dict(teacher='TEACHER'), identity=True)


def make(
  ctx: Context, *, teacher: str, alpha: Share = 0.5, temperature: Positive = 2.0
) -> Method:
  """Returns the method: (1 - alpha) task loss + alpha distillation loss.

  Args:
    ctx: see `Context`.
    teacher: a finished workdir, a Hugging Face folder or `'stage:<name>'`.
    alpha: weight of the distillation loss.
    temperature: softens both distributions.

  Raises:
    ValueError: a task kind without sentence logits, or another vocabulary.
  """
  kinds = ('classification', 'multiple_choice', 'regression')
  if ctx.task.form not in kinds:
    raise ValueError(
      f'distillation needs a task of {kinds}, {ctx.task.name} is '
      f'{ctx.task.form}'
    )
  teach, params = ctx.load(teacher)
  ours, theirs = (m.config.vocab_size for m in (ctx.model, teach.model))
  if ours != theirs:
    raise ValueError(
      f'the teacher {teacher} has a vocabulary of {theirs}, the student of '
      f'{ours}; they must share one'
    )
  regression = ctx.task.kind == 'regression'

  def wrap(loss):
    def distilled(apply, params, batch, rng):
      recorder = Recorder(apply)
      hard, metrics = loss(recorder, params, batch, rng)
      student = recorder.outputs[-1]['logits']
      teach = apply.companions['teacher']
      target = teach(apply.frozen['teacher'], batch)['logits']
      target = jax.lax.stop_gradient(target)
      if regression:
        losses = distill.squared_error(student, target)
      else:
        losses = distill.soft_cross_entropy(student, target, temperature)
      total, count = (losses * batch['weight']).sum(), batch['weight'].sum()
      soft = total / jnp.maximum(count, 1)
      metrics = metrics | {'distillation': (total, count)}
      return (1 - alpha) * hard + alpha * soft, metrics

    return distilled

  return Method(
    'distillation',
    companions={'teacher': Companion(teach, params, learns=False)},
    wrap_loss=wrap,
  )
