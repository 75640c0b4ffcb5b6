"""Prompt transfer with a teacher: PANDA. Zhong et al. 2022, arXiv 2208.10160;
what Vega v2 (arXiv 2212.01853) tunes SuperGLUE's small tasks by.

A prompt (peft/prefix.py) learns a small target task from fresh values, pulled
towards a prompt that knows more, as the released code has it:

  L = CE(s, y) + 0.1 beta MSE(s, t) / B

with logits s of the student and t of the teacher, B rows of which the mean of
the squares is taken already, and beta a number or the similarity of two tasks
(objectives/transferability.py). The teacher is a prompt of the target task that
began as that of a source task (plain `prefix` with model.carry: vanilla
transfer). It runs on the backbone of this run, so only its prompt and head are
kept, without dropout (in the released code it has dropout: an oversight).

Use it: for a target task of few rows, when a related one has many.
Costs: `prefix`, and the teacher's forward pass a step.
Not with: methods that train or replace the backbone's leaves, another backbone
  than the teacher's, or tasks without sentence logits (spans, tokens).
"""

import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.config.ranges import Count, NonNegative, Rate
from glue_jax.method import HEAD, Context, Facts, Method, Tuned
from glue_jax.methods import prefix
from glue_jax.models import model as models
from glue_jax.objectives import distill
from glue_jax.peft import source_adapters
from glue_jax.plugs import Apply, Recorder

FACTS = Facts(small=dict(teacher='PROMPT', length=3, beta=1.0))

TEACHER = 'prompt_teacher'
_KINDS = ('classification', 'multiple_choice', 'regression')
# Methods whose leaves are prompts of this form.
_PROMPTS = ('prefix', 'prompt_transfer')


def make(
  ctx: Context,
  *,
  teacher: str,
  length: Count = 20,
  dropout: Rate = 0.1,
  position_offset: bool = True,
  beta: NonNegative = 0.1,
  similarity: str = '',
) -> Method:
  """Returns a fresh prompt that learns from the teacher's.

  Args:
    ctx: see `Context`.
    teacher: a finished run of the target task with the method `prefix` (or this
      one): its workdir or `'stage:<name>'`. Its length may be another.
    length, dropout, position_offset: of the student, see methods/prefix.py.
    beta: weight of the teacher, times 0.1.
    similarity: file of `launch.probe transferability`, whose figure takes the
      place of beta; none below 0.

  Raises:
    ValueError: a task without sentence logits, or a teacher that is no prompt
      of this task and backbone.
  """
  if ctx.task.form not in _KINDS:
    raise ValueError(
      f'prompt_transfer needs a task of {_KINDS}, {ctx.task.name} is '
      f'{ctx.task.form}'
    )
  tuned = ctx.load_tuned(teacher)
  settings = _settings(ctx, teacher, tuned)
  kept, _ = tree.partition(tuned.params, _of_prompt)
  teach = Apply(ctx.model, plugs=prefix.make(ctx, **settings).plugs)
  plain = models.shapes(ctx.model)
  base = [name for name in plain if not tree.matches(HEAD, name)]
  student = prefix.make(
    ctx, length=length, dropout=dropout, position_offset=position_offset
  )
  if similarity:
    beta = max(0.0, float(ctx.load_arrays(similarity)['similarity']))

  def prepare(apply, params, batch, rng):
    # Micro-batches of a step are divided by the rows of all of them.
    del apply, params, rng
    rows = batch['weight'].sum()
    return batch | {'rows': jnp.broadcast_to(rows, batch['weight'].shape)}

  def wrap(loss):
    def pulled(apply, params, batch, rng):
      recorder = Recorder(apply)
      hard, metrics = loss(recorder, params, batch, rng)
      whole = tree.merge(_backbone(params, base), apply.frozen[TEACHER])
      target = jax.lax.stop_gradient(teach(whole, batch)['logits'])
      logits = recorder.outputs[-1]['logits']
      losses = distill.mean_square(logits, target) * batch['weight']
      total, count = losses.sum(), batch['weight'].sum()
      mean = total / jnp.maximum(count, 1)
      beta, rows = apply.extra['beta'], batch['rows'][0]
      metrics = metrics | {'transfer': (total, count)}
      return distill.pulled(hard, mean, beta, rows), metrics

    return pulled

  return Method(
    'prompt_transfer',
    plugs=student.plugs,
    learns=student.learns,
    holds=lambda names, _: set(names) & set(base),
    init_frozen=lambda _: {TEACHER: kept},
    init_extra=lambda *_: {'beta': jnp.float32(beta)},
    prepare=prepare,
    wrap_loss=wrap,
    hooks=(
      source_adapters.same_backbone(
        ctx.load_tuned, teacher, 'prompt', '/prefix_'
      ),
    ),
  )


def _of_prompt(name: str) -> bool:
  return '/prefix_' in name or tree.matches(HEAD, name)


def _settings(ctx: Context, teacher: str, tuned: Tuned) -> dict:
  """The settings of a teacher's prompt.

  Raises:
    ValueError: see `make`.
  """
  if len(tuned.methods) != 1 or not tuned.methods.keys() <= set(_PROMPTS):
    raise ValueError(
      f'the teacher {teacher} was tuned with '
      f"{list(tuned.methods) or 'no method'}; expected methods=(('prefix', "
      '...),) alone'
    )
  source_adapters.check_sizes(f'the teacher {teacher}', tuned, ctx.model.config)
  labels = list(ctx.task.labels)
  if tuned.labels is not None and list(tuned.labels) != labels:
    raise ValueError(
      f'the teacher {teacher} tells {list(tuned.labels)} apart, this task '
      f'{labels}; a teacher is a prompt of the target task, begun as that of '
      'the source task: train one with model.carry'
    )
  wanted = models.shapes(ctx.model)
  head = {n: x for n, x in wanted.items() if tree.matches(HEAD, n)}
  theirs, _ = tree.partition(tuned.params, lambda n: tree.matches(HEAD, n))
  gap = tree.diff(tree.unflatten(head), theirs)
  if gap:
    raise ValueError(
      f"the teacher {teacher} has another head than this task's (- missing, + "
      f'left over, ! other shape):\n{gap}'
    )
  (settings,) = tuned.methods.values()
  names = ('length', 'position_offset')
  return {name: settings[name] for name in names if name in settings}


def _backbone(params: tree.Tree, names: list[str]) -> tree.Tree:
  """The plain model's leaves but for the head.

  Raises:
    ValueError: another method has put something else in their place.
  """
  flat = tree.flatten(params)
  gone = [name for name in names if name not in flat]
  if gone:
    raise ValueError(
      f'prompt_transfer: another method has replaced {gone[0]}, which the '
      'teacher reads; leave one of the two out'
    )
  return tree.unflatten({name: flat[name] for name in names})
