"""A student's hidden states are pulled towards a teacher's, on running text.

The hidden loss of TinyBERT's general distillation (Jiao et al. 2020, arXiv
1909.10351, equation 8) without its projection: the mean over real tokens,
layers and width of the squared distance of the states after the blocks. The
embeddings' output counts among them. A student of fewer blocks is held to every
second, third, ... block of the teacher. Attention, which not every mixer has,
is not compared.

Use it: to give a network another mixer, or fewer blocks, and keep what its
  teacher knows: `model.weights` of the teacher, `model.fresh` for what is new.
Costs: the teacher's forward pass a step; its parameters in memory. Checkpoints
  name its folder and hold none of it, so it must stay as it is.
Not with: a teacher of another width or vocabulary, or with heads that label
  rows: it is of a corpus. What is printed as perplexity is exp(loss).
"""

import jax
import jax.numpy as jnp

from glue_jax.method import Companion, Context, Facts, Method, Objective
from glue_jax.objectives import distill

TEACHER = 'teacher'
KIND = 'language_modeling'

FACTS = Facts(
  small=dict(teacher='TEACHER'),
  needs=dict(
    task=dict(name='corpus', kind=KIND),
    data=dict(files='CORPUS'),
    model=dict(head='encoder'),
  ),
)


def make(ctx: Context, *, teacher: str) -> Objective:
  """Returns the objective.

  Args:
    ctx: see `Context`; its task is a corpus.
    teacher: a finished workdir, a Hugging Face folder or `'stage:<name>'`, with
      any head or none.

  Raises:
    ValueError: a task of another kind, another vocabulary or width, or a number
      of blocks that the teacher's isn't a multiple of.
  """
  if ctx.task.kind != KIND:
    raise ValueError(
      f'objective "hidden_states" needs task.kind={KIND!r}, found '
      f'{ctx.task.kind!r}'
    )
  teach, params = ctx.load(teacher, headless=True)
  ours, theirs = ctx.model.config, teach.model.config
  for field in ('vocab_size', 'hidden_size'):
    sizes = [getattr(config, field) for config in (ours, theirs)]
    if sizes[0] != sizes[1]:
      raise ValueError(
        f'objective "hidden_states": the teacher {teacher} has {field} '
        f'{sizes[1]}, the student {sizes[0]}; they must be equal'
      )
  every, rest = divmod(theirs.num_layers, ours.num_layers)
  if rest:
    raise ValueError(
      f'objective "hidden_states": the teacher {teacher} has '
      f'{theirs.num_layers} blocks, no multiple of the {ours.num_layers} of '
      'the student; set model.num_layers'
    )

  def sums(apply, params, batch, **kwargs):
    states = apply(params, batch, **kwargs)['hidden_states']
    given = apply.companions[TEACHER](apply.frozen[TEACHER], batch)
    targets = jax.lax.stop_gradient(given['hidden_states'][::every])
    real = (batch['attention_mask'] > 0) * batch['weight'][:, None]
    distances = distill.token_distance(states, targets)
    return (distances * real).sum(-1), real.sum(-1)

  def loss(apply, params, batch, rng):
    total, count = (
      x.sum() for x in sums(apply, params, batch, train=True, rng=rng)
    )
    return total / jnp.maximum(count, 1), {'loss': (total, count)}

  def predict(apply, params, batch):
    total, count = sums(apply, params, batch)
    return {'loss_sum': total, 'loss_count': count}

  def holds(names, _):
    # A pooled vector is no hidden state: its layer would but decay.
    return {name for name in names if name.startswith('pooler/')}

  brought = Method(
    'hidden_states',
    companions={TEACHER: Companion(teach, params, learns=False)},
    holds=holds,
  )
  return Objective(loss, predict, method=brought)
