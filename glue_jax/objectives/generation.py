"""Writing a text for each row: the target's tokens are learned, and written.

The loss is the cross-entropy of the target's tokens and the end token, each
given the prompt and the target before it: of a decoder on prompt and target in
one row, of an encoder-decoder on the target after the encoded prompt. The mean
is over the tokens of the batch. Predictions are texts, see glue_jax/generation.

Use it: for tasks of kind 'generation', and classes that are asked for by a
  prompt (task.prompt): with causal or encoder-decoder models.
Costs: an evaluation writes token by token, max_new_tokens passes at the most.
Not with: an encoder; tasks without a target text or a prompt.

A target is the text and the end token, for every family; the published BART has
its targets begin with `<s>`, which is left out.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import Count, Number, Positive, Whole
from glue_jax.data import prompts
from glue_jax.data.examples import IGNORED
from glue_jax.generation import generate, settings
from glue_jax.method import Context, Facts, Objective
from glue_jax.metrics import texts
from glue_jax.models import stack
from glue_jax.objectives import seq2seq_lm

FACTS = Facts(
  small=dict(max_new_tokens=4),
  needs=dict(
    task=dict(name='mini_acceptability', prompt='{sentence} is'),
    model=dict(name='llama', num_kv_heads=1),
  ),
)


def make(
  ctx: Context,
  *,
  max_new_tokens: Count = 64,
  beams: Count = 1,
  length_penalty: Number = 1.0,
  sample: bool = False,
  temperature: Positive = 1.0,
  top_k: Count | None = None,
  top_p: settings.Nucleus = 1.0,
  repetition_penalty: Positive = 1.0,
  seed: Whole = 0,
) -> Objective:
  """Returns the objective.

  Args:
    ctx: see `Context`.
    max_new_tokens, beams, length_penalty, sample, temperature, top_k, top_p,
      repetition_penalty: how predictions are written, see
      `generation.settings.Settings`.
    seed: of what is drawn with `sample`; rows draw apart from each other.

  Raises:
    ValueError: the task has neither target texts nor a prompt, the tokenizer no
      end token, a class's word more tokens than are written, or see
      `generation.settings.check`.
    ImportError: the task's metrics need a library that isn't there.
  """
  task, model = ctx.task, ctx.model
  if task.form != 'generation':
    raise ValueError(
      f"config.objective: 'generation' writes texts, {task.name} is "
      f"{task.kind}; give task.prompt, or another objective ('task')"
    )
  if task.kind == 'generation':
    texts.check(task.metrics)
  how = settings.Settings(
    max_new_tokens=max_new_tokens,
    beams=beams,
    length_penalty=length_penalty,
    sample=sample,
    temperature=temperature,
    top_k=top_k,
    top_p=top_p,
    repetition_penalty=repetition_penalty,
  )
  ends = (ctx.tokenizer.end_id,)
  settings.check(model, how, ends, max(ctx.lengths, default=1))
  _check_words(ctx, max_new_tokens)

  def loss(apply, params, batch, rng):
    real = batch['attention_mask'] != 0
    given = dict(batch, labels=jnp.where(real, batch['labels'], IGNORED))
    if apply.model.shape == 'seq2seq':
      given = parted(given, apply.model.config)
    logits = apply(params, given, train=True, rng=rng)['logits']
    labels = given['labels']
    if apply.model.shape == 'decoder':
      logits, labels = logits[:, :-1], labels[:, 1:]
    sums = seq2seq_lm.score(logits, labels, batch['weight'])
    total, right, count = (x.sum() for x in sums)
    metrics = {'loss': (total, count), 'accuracy': (right, count)}
    return total / jnp.maximum(count, 1), metrics

  def predict(apply, params, batch):
    tokens = generate.generate(
      apply,
      params,
      batch,
      jax.random.key(seed),
      settings=how,
      end_ids=ends,
      pad_id=ctx.tokenizer.pad_id,
    )
    return {'tokens': tokens}

  return Objective(loss, predict)


def parted(
  batch: Mapping[str, jax.Array], config: stack.EncoderConfig
) -> dict[str, jax.Array]:
  """Returns a row of prompt and target as the input and output of two stacks.

  Args:
    batch: input_ids, attention_mask (B, L), the prompt before the target, and
      labels (B, L), negative where a token isn't the target's.
    config: of the model, for `stack.shifted`.

  Returns:
    input_ids and attention_mask of the prompt, labels of the target from the
    first position on, and decoder_input_ids: all (B, L).
  """
  target = batch['labels'] >= 0
  width = target.shape[1]
  labels = seq2seq_lm.packed(batch['labels'], target, width, IGNORED)
  return dict(batch) | {
    'attention_mask': batch['attention_mask'] * ~target,
    'labels': labels,
    'decoder_input_ids': stack.shifted(labels, config),
  }


def _check_words(ctx: Context, most: int) -> None:
  """Refuses words of classes that can't be written in so many tokens.

  Raises:
    ValueError: see above.
  """
  task = ctx.task
  if task.kind != 'classification':
    return
  answers = [
    prompts.target(task, {'label': i}) for i in range(len(task.labels))
  ]
  for word, text in zip(task.prompt.words, answers, strict=True):
    encoded = ctx.tokenizer.backend.encode(text, add_special_tokens=False)
    needed = len(encoded.ids)
    if needed > most:
      raise ValueError(
        f'the answer {word!r} has {needed} tokens, and '
        f'objective.max_new_tokens={most} of them are written; raise it, or '
        'give task.words shorter ones'
      )
