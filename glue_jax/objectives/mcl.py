"""Multi-perspective course learning: ELECTRA with more ways to be wrong.

Chen et al. 2023, Findings of ACL, arXiv 2305.03981. Beside ELECTRA's replaced
tokens (objectives/rtd.py) the discriminator judges two further kinds of text,
and both networks go over their mistakes once more within the same step:

  replaced  the generator fills masked tokens in (MLM, RTD)
  swapped   it restores tokens that changed places (SLM, STD)
  inserted  it fills [MASK]s in that were put between the tokens (ITD); there is
            no right answer, so it learns nothing by it, and every inserted
            token is labelled as such: positive labels stay as frequent however
            good the generator gets
  generator's notebook      what the discriminator saw through of the first two:
            just that is masked, or swapped, again (re-MLM, re-SLM)
  discriminator's notebook  what it got wrong there: it judges a text that is
            the original but for these tokens, and only them (re-RTD, re-STD)

  L = L_MLM + L_SLM + L_reMLM + L_reSLM
      + 50 (L_RTD + L_STD + L_ITD + L_reRTD + L_reSTD)

each the mean over its own tokens, an empty notebook's 0; one backward pass, no
gradient through samples or verdicts. The abstract has the courses' names and
their purpose; how they are made (objectives/courses.py), the form of the
notebooks' texts and the loss are definitions of this project, for no code is
published. Masks are ELECTRA's, and with the weights of all other courses 0 the
step is ELECTRA's. The generator is as wide as the model and shallower, and
shares the tables and their norm (as in COCO-LM; not confirmed).

Use it: to pre-train where compute is short and replacements get rare.
Costs: five passes of each network, ELECTRA has one; the inserted course is 15 %
  longer. With train.accumulate, the passes forward twice: how long the
  notebooks of a batch are, only the networks know.
Not with: what 'rtd' doesn't go with; rows that have no room for insertions
  among the model's positions; a mixer whose results depend on the padded
  length. An evaluation makes the first three courses.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import (
  Count,
  NonNegative,
  OpenShare,
  Positive,
  Share,
)
from glue_jax.layers.spec import EncoderConfig
from glue_jax.method import Companion, Context, Facts, Method, Objective
from glue_jax.models import model as models
from glue_jax.objectives import courses, mlm, rtd
from glue_jax.plugs import Apply

FACTS = Facts(
  # Fifty times the discriminator's, sums of gradients are rounded as coarsely.
  small=dict(generator_layers=1, discriminator_weight=1.0),
  needs=dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files='CORPUS'),
    model=dict(name='electra', head='replaced_tokens'),
  ),
)

# The courses that have a right answer, and the names of their losses: of the
# generator, of the discriminator.
LOSSES = {'replaced': ('mlm', 'rtd'), 'swapped': ('slm', 'std')}
# Those that an evaluation adds up.
JUDGED = ('rtd_loss', 'std_loss', 'itd_loss')

Batch = Mapping[str, jax.Array]
Row = tuple[jax.Array, jax.Array]


class Plan(NamedTuple):
  """What a step does, see `make`."""

  first: tuple[str, ...]
  inserted: bool
  corrects: tuple[bool, bool]  # the generator, the discriminator
  rate: float
  mask_share: float
  temperature: float
  mask_id: int
  pad_id: int


def make(
  ctx: Context,
  *,
  rate: OpenShare = 0.15,
  mask_share: Share = 0.85,
  generator_layers: Count = 4,
  replaced: NonNegative = 1.0,
  swapped: NonNegative = 1.0,
  inserted: NonNegative = 1.0,
  generator_correction: NonNegative = 1.0,
  discriminator_correction: NonNegative = 1.0,
  generator_weight: NonNegative = 1.0,
  discriminator_weight: NonNegative = 50.0,
  temperature: Positive = 1.0,
  keep_generator: bool = False,
) -> Objective:
  """Returns the objective, with the generator that it brings.

  Args:
    ctx: see `Context`; its model has the head 'replaced_tokens'.
    rate: tokens to mask, to swap and to insert, as a share of the real ones.
    mask_share: of the tokens chosen by the first course, what becomes [MASK].
    generator_layers: its depth.
    replaced, swapped, inserted: weights of the courses; one of weight 0 is left
      out.
    generator_correction, discriminator_correction: weights of the notebooks'
      losses beside those of their courses; 0 leaves them out.
    generator_weight, discriminator_weight: of the two networks' losses.
    temperature: of the samples.
    keep_generator: leave it in the finished model's folder.

  Raises:
    ValueError: another head, a tokenizer without [MASK], no course that
      teaches the generator, a generator deeper than the model, or rows that
      have no room for insertions.
  """
  of_courses = {'replaced': replaced, 'swapped': swapped}
  first = tuple(name for name, weight in of_courses.items() if weight > 0)
  check(ctx, first, rate if inserted else None)
  size = generator_config(ctx.model.config, generator_layers)
  generator = models.build(ctx.model.family, kind='mlm', config=size)
  again = (generator_correction, discriminator_correction)
  plan = Plan(
    first,
    inserted > 0,
    (again[0] > 0, again[1] > 0),
    rate,
    mask_share,
    temperature,
    ctx.tokenizer.mask_id,
    ctx.tokenizer.pad_id,
  )
  terms = {'itd_loss': discriminator_weight * inserted} if inserted else {}
  networks = (generator_weight, discriminator_weight)
  for course in first:
    for name, weight, more in zip(LOSSES[course], networks, again, strict=True):
      terms[f'{name}_loss'] = weight * of_courses[course]
      if more:
        terms[f're_{name}_loss'] = terms[f'{name}_loss'] * more

  def loss(apply, params, batch, rng):
    found = _forward(apply, params, batch, rng, plan, True)
    sums = {name: (x.sum(), n.sum()) for name, (x, n) in found.items()}
    means = {name: sums[name][0] / jnp.maximum(sums[name][1], 1)
             for name in terms}  # fmt: skip
    value = sum(weight * means[name] for name, weight in terms.items())
    real = (batch['attention_mask'] * batch['weight'][:, None]).sum()
    return value, sums | {'loss': (value * real, real)}

  def predict(apply, params, batch):
    # The same texts at every evaluation, without the notebooks.
    once = plan._replace(corrects=(False, False))
    found = _forward(apply, params, batch, jax.random.key(0), once, False)
    right, count = found.pop('accuracy')
    sums = {f'{name}_sum': x for name, (x, _) in found.items()}
    counts = {f'{name}_count': n for name, (_, n) in found.items()}
    total = sum(found[name][0] for name in JUDGED if name in found)
    rest = {'loss_sum': total, 'correct': right, 'loss_count': count}
    return sums | counts | rest

  beside = Companion(Apply(generator), keep=keep_generator)
  brought = Method(
    'mcl',
    companions={rtd.GENERATOR: beside},
    surgery=lambda _, params: rtd.tied(params),
  )
  return Objective(loss, predict, method=brought, terms=terms)


def check(ctx: Context, first: Sequence[str], rate: float | None) -> None:
  """Refuses what the courses can't be given by.

  Args:
    ctx: see `make`.
    first: the courses that have a right answer.
    rate: of insertions; None = there are none.

  Raises:
    ValueError: see `make`.
  """
  rtd.check(ctx, 'mcl')
  if not first:
    raise ValueError(
      'config.objective has replaced=0 and swapped=0, and inserted tokens '
      'teach the generator nothing; give one of the two a weight'
    )
  if rate:
    check_room(ctx, rate)


def check_room(ctx: Context, rate: float) -> None:
  """Refuses rows that insertions make longer than the model's positions.

  Raises:
    ValueError: they do, or results depend on the padded length.
  """
  config = ctx.model.config
  limit = config.max_positions - config.position_offset
  longest = max(ctx.lengths, default=0)
  needed = courses.inserted_length(longest, rate)
  if config.max_positions and needed > limit:
    most = next(
      n for n in range(limit, -1, -1)
      if courses.inserted_length(n, rate) <= limit
    )  # fmt: skip
    raise ValueError(
      f'rows of {longest} tokens have {needed} with those that the course of '
      f'inserted tokens adds, and the model has {limit} positions; give '
      f'data.max_length={most} or less, model.max_positions={needed} (of '
      f'weights model.grow_positions={needed}), or leave the course out '
      '(objective.inserted=0)'
    )
  if config.fixed_length:
    raise ValueError(
      f'with the mixer {config.mixer!r} padding changes the result, and the '
      'course of inserted tokens has rows of another length; leave it out '
      '(objective.inserted=0)'
    )


def generator_config(config: EncoderConfig, layers: int) -> EncoderConfig:
  """Returns the generator's sizes: the model's first `layers` layers.

  Raises:
    ValueError: the model hasn't as many.
  """
  if layers > config.num_layers:
    raise ValueError(
      f'config.objective.generator_layers={layers} are more than the '
      f'{config.num_layers} layers of the model; give fewer'
    )

  def first(names):
    return names if isinstance(names, str) else names[:layers]

  per_layer = tuple((name, x[:layers]) for name, x in config.per_layer)
  return dataclasses.replace(
    config,
    num_layers=layers,
    mixer=first(config.mixer),
    ffn=first(config.ffn),
    per_layer=per_layer,
  )


def _forward(
  apply: Any, params: Any, batch: Batch, rng: jax.Array, plan: Plan, train: bool
) -> dict[str, Row]:
  """Sums and counts (B,): of losses, of verdicts, of positive labels."""
  _check_generator(params)
  mask_rng, noise_rng, *own = jax.random.split(rng, 4)  # as ELECTRA's step
  swap_rng, gap_rng, *more = jax.random.split(jax.random.fold_in(rng, 1), 6)

  def generate(params, batch, rng):
    whole = rtd.whole_generator(params)
    model = apply.companions[rtd.GENERATOR]
    return model(whole, batch, train=train, rng=rng)['logits']

  def judge(batch, rng):
    return apply(params, batch, train=train, rng=rng)['logits']

  texts = {'replaced': (_masked, mask_rng), 'swapped': (_swapped, swap_rng)}
  made = [texts[course] for course in plan.first]
  given = courses.stacked([text(key, batch, plan) for text, key in made])
  batches = {n: jnp.repeat(x, len(made), axis=0) for n, x in batch.items()}
  words = generate(params, given, own[0])
  noise = jax.random.uniform(noise_rng, words.shape)
  guess = rtd.sample(words, noise, plan.temperature)
  seen, replaced = rtd.corrupt(batches, given, guess)
  logits = judge(seen, own[1])
  verdicts = rtd.score(logits, replaced, batches)
  first = mlm.score(words, given), verdicts

  _, false_alarm, deceived, caught = courses.classes(
    logits, replaced, batches['word_ids'] >= 0
  )
  again: list[Any] = [None, None]
  if plan.corrects[0]:
    asked = courses.to_restore(batches, given, caught)
    again[0] = mlm.score(generate(params, asked, more[0]), asked)
  if plan.corrects[1]:
    noted = false_alarm | deceived
    ids = jnp.where(noted, seen['input_ids'], batches['input_ids'])
    logits = judge(batches | {'input_ids': ids}, more[1])
    only = batches | {'attention_mask': noted}
    again[1] = rtd.score(logits, replaced, only)
  sums = _by_course(plan.first, '', first) | _by_course(
    plan.first, 're_', again
  )

  # Per row, not per course: verdicts of all texts, and what was spoilt in them.
  rows = len(batch['input_ids'])
  _, right, count = (x.reshape(rows, -1).sum(-1) for x in verdicts)
  positive = replaced.reshape(rows, -1).sum(-1)
  if plan.inserted:
    held = jax.lax.stop_gradient(params)
    longer, labels = _filled_in(
      lambda asked: generate(held, asked, more[2]), batch, gap_rng, plan
    )
    total, seen_right, real = rtd.score(judge(longer, more[3]), labels, longer)
    sums['itd_loss'] = total, real
    right, count = right + seen_right, count + real
    positive += labels.sum(-1)
  positive *= batch['weight']
  return sums | {'accuracy': (right, count), 'positive': (positive, count)}


def _check_generator(params: Any) -> None:
  if rtd.GENERATOR not in params:
    raise ValueError(
      'this model has lost its generator, so that nothing fills its texts in; '
      'to evaluate it later, train with objective.keep_generator=True'
    )


def _by_course(first, prefix, scores) -> dict[str, Row]:
  """Sums and counts under the losses' names, apart for each course.

  Args:
    first: the courses whose rows `courses.stacked` has put beside each other.
    prefix: of the names.
    scores: of the generator, of the discriminator; None for what there isn't.
  """
  return {
    f'{prefix}{LOSSES[course][network]}_loss': (
      score[0][i :: len(first)],
      score[2][i :: len(first)],
    )
    for network, score in enumerate(scores)
    for i, course in enumerate(first)
    if score
  }


def _masked(rng, batch, plan):
  """The first course's text as the generator reads it."""
  masked = rtd.masks(rng, batch, plan.rate, plan.mask_share, plan.mask_id)
  return masked | {'blanks': jnp.full_like(batch['input_ids'], plan.mask_id)}


def _swapped(rng, batch, plan):
  """The second course's text as the generator reads it."""
  ids = batch['input_ids']
  luck = jax.random.uniform(rng, ids.shape)
  chosen = courses.to_swap(luck, batch, plan.rate)
  moved = courses.swap(ids, chosen)
  labels = jnp.where(chosen, ids, -100)
  given = {**batch, 'input_ids': moved, 'labels': labels, 'blanks': moved}
  return mlm.at_chosen(given, max(2, mlm.most(plan.rate, ids.shape[-1])))


def _filled_in(
  generate: Callable[[Batch], jax.Array],
  batch: Batch,
  rng: jax.Array,
  plan: Plan,
) -> tuple[dict[str, jax.Array], jax.Array]:
  """The third course's text, and (B, M) 1.0 where a token was inserted."""
  gap_rng, noise_rng = jax.random.split(rng)
  ids = batch['input_ids']
  opened = courses.gaps(
    jax.random.uniform(gap_rng, ids.shape), batch, plan.rate
  )
  room = courses.inserted_length(ids.shape[-1], plan.rate)
  longer, inserted = courses.insert(
    batch, opened, room, plan.mask_id, plan.pad_id
  )
  # There is no right answer: a label only says that the token is asked for.
  asked = longer | {'labels': jnp.where(inserted, 0, -100)}
  asked = mlm.at_chosen(asked, room - ids.shape[-1])
  words = generate(asked)
  noise = jax.random.uniform(noise_rng, words.shape)
  guess = rtd.sample(words, noise, plan.temperature)
  filled, _ = rtd.corrupt(longer, asked, guess)
  return filled, inserted * 1.0
