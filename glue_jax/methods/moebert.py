"""MoEBERT: experts out of a fine-tuned model, and distillation layer by layer.

Zuo et al. 2022, arXiv 2204.07675; COMET-BERT's training as well. Parts:
compress/moebert.py, objectives/distill.py. The importance file is written by
`python -m launch.probe importance`; the gate's losses are the method `comet`'s.

Use it: to make sparse experts of a model that is tuned already.
Costs: the teacher's forward pass a step; its parameters in memory. Checkpoints
  name its folder and hold none of it; a pass for the importance before.
Not with: a teacher of another width, depth or vocabulary, tasks that label
  tokens; a gated feed-forward part, an encoder-decoder. With the norm before
  each sublayer (GPT-2, OPT) only experts with `inside=False`.
"""

import dataclasses

import jax
import jax.numpy as jnp

from glue_jax.compress import moebert
from glue_jax.config.ranges import NonNegative, Whole
from glue_jax.method import Companion, Context, Facts, Method
from glue_jax.objectives import distill
from glue_jax.plugs import Apply, Recorder

FACTS = Facts(
  small=dict(teacher='TEACHER', importance='IMPORTANCE', shared=8),
  needs=dict(
    model=dict(
      ffn='experts',
      options=dict(experts=dict(size=12, gate_options=dict(gamma=1.0))),
    )
  ),
  identity=True,
)


def make(
  ctx: Context,
  *,
  teacher: str,
  importance: str,
  shared: Whole = 512,
  distillation: NonNegative = 1.0,
) -> Method:
  """Returns the method: task loss + distillation * (hidden states + logits).

  Args:
    ctx: see `Context`.
    teacher: the fine-tuned dense model: a finished workdir or `'stage:<name>'`.
    importance: .npz file of its neurons' importance.
    shared: neurons that every expert gets.
    distillation: weight; 0 trains without a teacher in the loss.

  Raises:
    ValueError: another task kind, vocabulary, width or number of layers, or a
      file that isn't there or doesn't fit.
  """
  if ctx.task.form not in _LOGITS:
    raise ValueError(
      f'moebert needs a task of {sorted(_LOGITS)}, {ctx.task.name} is '
      f'{ctx.task.form}'
    )
  teach, params = ctx.load(teacher)
  config = ctx.model.config
  for field in ('vocab_size', 'hidden_size', 'num_layers'):
    ours, theirs = (getattr(m, field) for m in (config, teach.model.config))
    if ours != theirs:
      raise ValueError(
        f'moebert: the teacher {teacher} has {field} {theirs}, the student '
        f'{ours}; they must be equal'
      )
  # The same positions of the last layer, whatever the teacher was run with.
  stack = dataclasses.replace(teach.model.config, stack=config.stack)
  teach = Apply(teach.model.clone(config=stack))
  scores = _importance(ctx, importance)
  kind = ctx.task.kind
  return Method(
    'moebert',
    surgery=lambda _, ours: moebert.experts_from_dense(
      ours, params, scores, shared
    ),
    wrap_loss=lambda loss: _wrapped(loss, kind, distillation),
    companions={'teacher': Companion(teach, params, learns=False)},
  )


def _importance(ctx, path):
  """{'layer_{i}': (F,)}."""
  try:
    return ctx.load_arrays(path)
  except ValueError as error:
    raise ValueError(
      f'importance {error}; write it with '
      'python -m launch.probe importance --workdir=TEACHER --output=FILE'
    ) from error


def _wrapped(loss, kind, weight):
  def distilled(apply, params, batch, rng):
    recorder = Recorder(apply)
    hard, metrics = loss(recorder, params, batch, rng)
    student = recorder.outputs[-1]
    teach = apply.companions['teacher']
    target = jax.lax.stop_gradient(teach(apply.frozen['teacher'], batch))
    losses = _LOGITS[kind](student, target)
    hidden = distill.hidden_distance(
      student['hidden_states'], target['hidden_states']
    )
    # Rows of several choices lie one after another.
    losses += hidden.reshape(len(losses), -1).mean(-1)
    total, count = (losses * batch['weight']).sum(), batch['weight'].sum()
    metrics = metrics | {'distillation': (total, count)}
    return hard + weight * total / jnp.maximum(count, 1), metrics

  return distilled


def _classes(student, target):
  return distill.symmetric_divergence(student['logits'], target['logits'])


def _scores(student, target):
  return distill.squared_error(student['logits'], target['logits'])


def _span(student, target):
  ends = ('start_logits', 'end_logits')
  terms = (distill.symmetric_divergence(student[e], target[e]) for e in ends)
  return sum(terms) / 2


_LOGITS = {
  'classification': _classes,
  'multiple_choice': _classes,
  'regression': _scores,
  'span': _span,
}
