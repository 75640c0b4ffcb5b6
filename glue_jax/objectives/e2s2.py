"""E2S2: two tasks for the encoder beside the reconstruction.

Zhong, Ding, Liu, Du and Tao 2022, arXiv 2205.14912 (its abstract; the rest, and
all weights, as the authors' code has it, WHU-ZQH/E2S2 at 04498ef; the paper's
own weights are not confirmed). A row is corrupted as the model's own
pre-training does it; then words change places and tokens are replaced
(e2s2_noise.py). The decoder reconstructs from both views, with and without this
local noise; the encoder says of each token of the noisy one whether it is the
original, a shuffled or a replaced one, and its mean vectors of the two views
are to be nearer than those of other rows:

  L = (L*_nll + L_nll) / 2 + w_de L_de + w_cl L_cl
  L_cl = NT-Xent at temperature 1: a row's other view is the positive one, both
    views of the B - 1 other rows are the 2 B - 2 negatives; mean of both sides

Without L_cl there is one view, L*_nll + w_de L_de. All is drawn in the step,
and rows are compared with those of all devices. The label head, a linear layer
on the encoder's states after dropout, is dropped from the finished model.

With `official_compat` two defects of the code are kept: the class that has the
number of the padding token (BART's: 1, 'shuffled') counts for nothing, while
padding counts as original; and padding is averaged into the vectors. Its
command, besides, has no contrastive view, and replaces 0.15 of the tokens
whatever it is told.

T5's form is ours, as its settings are not confirmed: span corruption with T5's
own target, the local noise on the text that is left, no sentinel replaced.

Use it: to go on with the pre-training of BART or T5 where the encoder matters.
Costs: two encoder and two decoder passes, twice BART's pre-training; without
  the contrastive view one of each. B^2 similarities.
Not with: another model than an encoder-decoder. Accumulated micro-batches don't
  see each other's rows. The finished model has lost the label head, and isn't
  evaluated on this objective.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import NonNegative, OpenShare, Positive, Range, Rate
from glue_jax.layers.dropout import dropout
from glue_jax.method import Context, Facts, Method, Objective
from glue_jax.models import stack
from glue_jax.objectives import (
  e2s2_noise,
  e2s2_prompt,
  infill,
  seq2seq_lm,
  simcse,
  span_corruption,
)
from glue_jax.objectives.task import cross_entropy

FACTS = Facts(
  small=dict(shuffle=0.2, replace=0.2, contrastive_weight=0.3),
  # Adam takes no steps by the rounding of gradients that are zero.
  needs=dict(
    task=dict(name='corpus', kind='language_modeling'),
    data=dict(files='CORPUS'),
    model=dict(name='bart'),
    optimizer=dict(args=dict(eps=1e-3)),
  ),
  still=('head/bias',),
  unequal='rows are compared with those of their own micro-batch',
)

# The label head's leaves.
LABELS = 'noise_labels'

Batch = Mapping[str, jax.Array]
Shares = tuple[float, float]
# Sums of each row (B,), and what their mean is taken over.
Rows = dict[str, tuple[jax.Array, jax.Array]]


class Views(NamedTuple):
  """What the encoder reads of a batch, and what is asked for.

  Attributes:
    noisy: (B, L) ids with local noise.
    plain: (B, L) ids without it.
    mask: (B, L) bool of both, True = real token.
    labels: (B, L) class of each noisy token.
    target: (B, T) the decoder's, negative where there is none.
  """

  noisy: jax.Array
  plain: jax.Array
  mask: jax.Array
  labels: jax.Array
  target: jax.Array


class Weights(NamedTuple):
  """Of the losses, see `make`.

  Attributes:
    label, contrastive: w_de and w_cl.
    left_out: of the code's defects: the class that counts for nothing, the
      number that padding has; None = without them.
  """

  label: float
  contrastive: float
  left_out: int | None = None


def make(
  ctx: Context,
  *,
  corruption: Literal['infill', 'span_corruption'] = 'infill',
  rate: OpenShare = 0.15,
  mean_length: Positive = 3.0,
  shuffle: Annotated[float, Range(ge=0, le=1 / 3)] = 0.05,
  replace: Rate = 0.05,
  label_weight: NonNegative = 0.05,
  contrastive_weight: NonNegative = 0.05,
  prompt: str = '',
  official_compat: bool = False,
) -> Objective:
  """Returns the objective, with the label head that it brings.

  Args:
    ctx: see `Context`.
    corruption: what comes before the local noise: BART's or T5's.
    rate, mean_length: of the corruption, see `infill` and `span_corruption`.
    shuffle: share of the tokens that are centres of shuffled triples.
    replace: share of the tokens to replace (the code's: 0.15). Without one of
      the two there are two classes, without both no labels.
    label_weight: w_de; 0 = no label head.
    contrastive_weight: w_cl; 0 = one view.
    prompt: what both views are wrapped in, as '{mask} represents "{text}".';
      it stands in the code as a comment, and is not confirmed.
    official_compat: keeps the code's defects, see the module.

  Raises:
    ValueError: the model is no encoder-decoder, the tokenizer has no token that
      the corruption needs, or the prompt has no text in it or leaves no room.
  """
  config = ctx.model.config
  # BART's rows begin with a token of their own.
  wrap = e2s2_prompt.wrapper(prompt, ctx, start=int(corruption == 'infill'))
  corrupt = CORRUPTIONS[corruption](ctx, rate, mean_length)
  shares = shuffle, replace
  classes = 1 + sum(share > 0 for share in shares)
  label_weight *= classes > 1
  left_out = config.pad_id if official_compat else None
  weights = Weights(label_weight, contrastive_weight, left_out)

  def rows(apply, params, batch, noise_rng, rng=None):
    if weights.label and LABELS not in params:
      raise ValueError(
        'this model has lost the head of labels, as finished models of '
        'objective "e2s2" have; its figures are in the run\'s result.json'
      )
    *read, target = views(ctx, batch, noise_rng, corrupt, shares)
    seen = Views(*wrap(*read), target)
    return _rows(apply, params, batch, seen, weights, rng)

  def loss(apply, params, batch, rng):
    e2s2_noise.check_rows(batch, weights.contrastive)
    return joined(rows(apply, params, batch, *jax.random.split(rng)), weights)

  def predict(apply, params, batch):
    # The same noise at every evaluation.
    found = rows(apply, params, batch, jax.random.key(0))
    total, count = found.pop('reconstruction')
    right, _ = found.pop('accuracy')
    outputs = {'loss_sum': total, 'correct': right, 'loss_count': count}
    for name, (total, count) in found.items():
      outputs |= {f'{name}_sum': total, f'{name}_count': count}
    return outputs

  means = {'noise_loss': label_weight, 'contrastive_loss': contrastive_weight}
  return Objective(
    loss,
    predict,
    method=_head(config.hidden_size, classes) if weights.label else None,
    terms={name: weight for name, weight in means.items() if weight},
  )


def _head(width: int, classes: int) -> Method:
  """The label head: drawn as fairseq's layers, dropped at the end."""

  def surgery(rng, params):
    kernel = jax.nn.initializers.glorot_uniform()(rng, (width, classes))
    return {**params, LABELS: {'kernel': kernel, 'bias': jnp.zeros(classes)}}

  def export(params):
    return {name: x for name, x in params.items() if name != LABELS}

  return Method('e2s2', surgery=surgery, export=export)


def views(
  ctx: Any, batch: Batch, rng: jax.Array, corrupt: Callable, shares: Shares
) -> tuple[jax.Array, ...]:
  """Draws the noise of a batch: the fields of `Views`, without a prompt.

  Args:
    ctx: its model and tokenizer are read.
    batch: input_ids, attention_mask and word_ids (B, L).
    rng: typed key.
    corrupt: made by one of CORRUPTIONS.
    shares: of shuffled centres and replaced tokens.
  """
  first, second = jax.random.split(rng)
  size = ctx.model.config.vocab_size
  # What a token is goes with it through the corruption, in its id.
  coded = batch['input_ids'] + size * e2s2_noise.kinds(batch['word_ids'])
  coded, mask, target = corrupt(batch, coded, first)
  ids, kind = coded % size, coded // size
  noise = e2s2_noise.draw(
    second, ids.shape, shares[0], ctx.tokenizer.vocab_size
  )
  noisy, labels = noised(ids, kind, mask, noise, shares, ctx.tokenizer.mask_id)
  return noisy, ids, mask, labels, jnp.where(target < 0, target, target % size)


def noised(
  ids: jax.Array,
  kind: jax.Array,
  mask: jax.Array,
  noise: e2s2_noise.Noise,
  shares: Shares,
  mask_id: int | None,
) -> tuple[jax.Array, jax.Array]:
  """Returns ids with local noise and their classes: twice (B, L).

  Args:
    ids: (B, L), corrupted.
    kind: (B, L), see `e2s2_noise.kinds`.
    mask: (B, L) bool.
    noise: see there.
    shares: of shuffled centres and replaced tokens.
    mask_id: of the tokenizer; None = there is no such token.
  """
  shuffle, replace = shares
  count, noisy = mask.sum(-1), ids
  if shuffle:
    noisy = e2s2_noise.shuffled(ids, kind, count, noise, shuffle)
  moved = noisy != ids
  labels = moved.astype(jnp.int32)
  if replace:
    open_ = kind != e2s2_noise.SPECIAL
    if mask_id is not None:
      open_ |= ids == mask_id
    noisy, new = e2s2_noise.replaced(
      noisy, ~moved, open_ & mask, count, noise, replace
    )
    labels = jnp.where(new, 2 if shuffle else 1, labels)
  return noisy, labels


def _rows(apply, params, batch, views, weights, rng):
  """`sums` of what the model says of the views; no dropout without a key."""
  before = stack.shifted(views.target, apply.model.config)
  keys = [None] * 3 if rng is None else list(jax.random.split(rng, 3))

  def said(ids, key):
    how = {} if key is None else dict(train=True, rng=key)
    rows = {'input_ids': ids, 'attention_mask': views.mask}
    outputs = apply(params, rows | {'decoder_input_ids': before}, **how)
    return outputs['logits'], outputs['encoder_last_hidden']

  outputs = [said(views.noisy, keys[0])]
  if weights.contrastive:
    outputs.append(said(views.plain, keys[1]))
  logits = None
  if weights.label:
    hidden, rate = outputs[0][1].astype(jnp.float32), apply.model.config.dropout
    if rate and rng is not None:
      hidden = dropout(hidden, keys[2], rate)
    logits = hidden @ params[LABELS]['kernel'] + params[LABELS]['bias']
  return sums(outputs, logits, views, batch['weight'], weights)


def sums(
  outputs: list[tuple[jax.Array, jax.Array]],
  logits: jax.Array | None,
  views: Views,
  weight: jax.Array,
  weights: Weights,
) -> Rows:
  """Returns each row's sums, by metric.

  Args:
    outputs: of the noisy view and, where they are compared, of the plain one:
      the decoder's logits (B, T, V), the encoder's states (B, L, D).
    logits: (B, L, C) of the label head; None = there is none.
    views: labels, mask and target are read.
    weight: (B,) of the rows.
    weights: of the losses.
  """
  names, found = ('reconstruction', 'plain_reconstruction'), {}
  for name, (words, _) in zip(names, outputs):
    total, right, count = seq2seq_lm.score(words, views.target, weight)
    found[name] = total, count
    found.setdefault('accuracy', (right, count))
  official, count = weights.left_out is not None, found['accuracy'][1]
  if logits is not None:
    kept = (views.labels != weights.left_out) if official else views.mask
    kept = kept * weight[:, None]
    losses = cross_entropy(logits, views.labels) * kept
    right = (jnp.argmax(logits, -1) == views.labels) * kept
    own = kept.sum(-1)
    found['noise_loss'] = losses.sum(-1), count if official else own
    found['noise_accuracy'] = right.sum(-1), own
  if len(outputs) == 2:
    real = jnp.ones_like(views.mask) if official else views.mask
    one, two = (pooled(hidden, real) for _, hidden in outputs)
    losses = nt_xent(one, two, weight) * weight
    if official:
      tokens = jnp.floor(count.sum() / jnp.maximum(weight.sum(), 1))
      found['contrastive_loss'] = losses * tokens, count
    else:
      found['contrastive_loss'] = losses, weight
  return found


def joined(found: Rows, weights: Weights) -> tuple[jax.Array, dict[str, Any]]:
  """Returns the loss and its metrics, as `method.Loss` has them.

  Args:
    found: of `sums`.
    weights: of the losses.
  """
  metrics = {name: (a.sum(), b.sum()) for name, (a, b) in found.items()}
  means = {n: total / jnp.maximum(b, 1) for n, (total, b) in metrics.items()}
  value = means['reconstruction']
  if 'plain_reconstruction' in means:
    value = (value + means['plain_reconstruction']) / 2
  value += weights.label * means.get('noise_loss', 0)
  value += weights.contrastive * means.get('contrastive_loss', 0)
  count = metrics['reconstruction'][1]
  return value, {'loss': (value * count, count), **metrics}


def pooled(hidden: jax.Array, mask: jax.Array) -> jax.Array:
  """Means of the real tokens' states: (B, D) float32.

  Args:
    hidden: (B, L, D).
    mask: (B, L) bool.
  """
  real = mask[..., None].astype(jnp.float32)
  total = (hidden.astype(jnp.float32) * real).sum(1)
  return total / jnp.maximum(real.sum(1), 1)


def nt_xent(one: jax.Array, two: jax.Array, weight: jax.Array) -> jax.Array:
  """Losses of rows that look for their other view, see the module: (B,).

  Args:
    one, two: (B, D), the views' vectors.
    weight: (B,), 0 for rows that fill up a batch: they are no one's negatives.
  """
  # A row is no negative of its own.
  nce = functools.partial(
    simcse.info_nce, temperature=1.0, weight=weight, hard_weight=-1e9
  )
  return (nce(one, two, one)[0] + nce(two, one, two)[0]) / 2


def _infilling(ctx, rate, mean_length):
  infill.check(ctx)

  def corrupt(batch, coded, rng):
    mask = batch['attention_mask'] != 0
    noise = infill.draw(rng, coded.shape, mean_length)
    ids, real = infill.infilled(
      coded, batch['word_ids'], mask, noise, rate,
      ctx.tokenizer.mask_id, ctx.model.config.pad_id,
    )  # fmt: skip
    return ids, real, jnp.where(mask, batch['input_ids'], -100)

  return corrupt


def _leaving_out(ctx, rate, mean_length):
  seq2seq_lm.check(ctx)
  run = span_corruption.corrupter(ctx, rate, mean_length)

  def corrupt(batch, coded, rng):
    tokens, count = seq2seq_lm.text({**batch, 'input_ids': coded})
    return run(rng, tokens, count)

  return corrupt


# (batch, ids (B, L), rng) -> ids and mask (B, M), target (B, T).
CORRUPTIONS: dict[str, Callable] = {
  'infill': _infilling,
  'span_corruption': _leaving_out,
}
