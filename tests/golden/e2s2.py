"""Golden vectors of E2S2: its losses, and noise that the code has drawn.

The losses go through the objective's own functions, with the code's defects
(`official/`) and without (`recommended/`). What the code drew isn't in its
samples: draws are looked for with which our functions give just these rows, in
the code's budgets.
"""

import functools
import itertools
import json
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.objectives import e2s2, e2s2_noise, infill
from tests.golden import _kinds

SUM = (0.0, 1e-4)
GRADIENT = (1e-5, 0.0)
EXACT = (0.0, 0.0)
# The code's shares, whatever its command says.
SHUFFLE, REPLACE = 0.05, 0.15
TWO_VIEWS = 'decoder_logits_masked_only'

Rows = list[tuple[str, Any, Any, float, float]]


def compare(arrays: dict[str, np.ndarray], folder: Any) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  return _kinds.by_kind(
    arrays,
    {'input/tokens_0': _noise, 'input/noise_labels': _losses},
    lambda name: name.startswith(('official', 'recommended', 'output/')),
  )


def _losses(a):
  given = {
    name: jnp.asarray(a[f'input/{name}'])
    for name in (
      'decoder_logits_noised', 'encoder_label_logits', 'encoder_hidden_noised',
      TWO_VIEWS, 'encoder_hidden_masked_only',
    )
    if f'input/{name}' in a
  }  # fmt: skip
  (_, found), gradients = _official(a, given)
  rows = [(f'official/{n}', x, a[f'official/{n}'], *SUM)
          for n, x in found.items()]  # fmt: skip
  for name, theirs in a.items():
    side, _, key = name.partition('/')
    if side == 'official_grad':
      rows.append((name, gradients[key], theirs, *GRADIENT))
  for name, ours in _recommended(a, given).items():
    name = f'recommended/{name}'
    close = GRADIENT if 'pooled' in name else SUM
    rows.append((name, ours, a[name], *close))
  return rows


def _sums(a, given, official):
  """The objective's sums of what the networks are given to have said."""
  mask = jnp.asarray(a['input/attention_mask']) != 0
  target = jnp.asarray(a['input/target'])
  target = jnp.where(target == int(a['input/padding_idx']), -100, target)
  labels = jnp.asarray(a['input/noise_labels'])
  views = e2s2.Views(labels, labels, mask, labels, target)
  outputs = [(given['decoder_logits_noised'], given['encoder_hidden_noised'])]
  if TWO_VIEWS in given:
    outputs.append((given[TWO_VIEWS], given['encoder_hidden_masked_only']))
  weights = e2s2.Weights(
    0.05,
    0.05 * (len(outputs) == 2),
    int(a['input/padding_idx']) if official else None,
  )
  weight = jnp.ones(len(mask))
  found = e2s2.sums(
    outputs, given['encoder_label_logits'], views, weight, weights
  )
  return found, e2s2.joined(found, weights)[0]


def _official(a, given):
  """((total, sums), gradients of the total by input)."""

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def run(given):
    found, value = _sums(a, given, True)
    tokens = found['reconstruction'][1].sum()
    said = {
      'total': value * tokens,
      'nll_noised': found['reconstruction'][0].sum(),
      'label_loss': found['noise_loss'][0].sum(),
    }
    if TWO_VIEWS in given:
      scaled = found['contrastive_loss'][0].sum()
      scale = jnp.floor(tokens / len(a['input/target']))
      said |= {
        'nll_masked_only': found['plain_reconstruction'][0].sum(),
        'contrastive_scaled': scaled,
        'contrastive_scale': scale,
        'contrastive_unscaled_sum': scaled / scale,
      }
    return said['total'], said

  return run(given)


def _recommended(a, given):
  found, _ = _sums(a, given, False)
  total, count = (x.sum() for x in found['noise_loss'])
  said = {
    'label_loss_sum': total,
    'label_loss_mean_over_real_tokens': total / count,
  }
  if TWO_VIEWS in given:
    mask = jnp.asarray(a['input/attention_mask']) != 0
    total, count = (x.sum() for x in found['contrastive_loss'])
    said |= {
      'contrastive_sum': total,
      'contrastive_mean': total / count,
      **{
        f'pooled_{view}': e2s2.pooled(given[f'encoder_hidden_{view}'], mask)
        for view in ('noised', 'masked_only')
      },
    }
  return said


def _noise(a):
  """Rows of every sample, each step from what the code's step before gave."""
  config = json.loads(str(a['config']))
  length = max(len(x) for n, x in a.items() if n != 'config')
  rows = []
  for i in range(sum(name.startswith('input/tokens_') for name in a)):
    names = ('after_infilling', 'after_shuffle', 'labels_after_shuffle',
             'after_random', 'labels_final')  # fmt: skip
    wanted = [a[f'output/{name}_{i}'] for name in names]
    filled = _infilled(a[f'input/tokens_{i}'], wanted[0], config, length)
    ours = filled, *_noised(*wanted, config, length)
    rows += [
      (f'output/{name}_{i}', x, theirs, *EXACT)
      for name, x, theirs in zip(names, ours, wanted, strict=True)
    ]
  return rows


def _row(values, length, fill):
  """A batch of one row of that length."""
  return np.pad(values, (0, length - len(values)), constant_values=fill)[None]


def _infilled(tokens, wanted, config, length):
  """What our infilling makes of the tokens by the spans that the code drew."""
  lengths, begins, inserted = _spans(tokens, wanted, config)
  drawn, words, places = (np.ones((1, length)) for _ in range(3))
  drawn[0, : len(lengths)] = lengths
  # The k-th span that isn't empty begins at the word of rank k.
  words[0, begins] = np.arange(len(begins)) / length - 1
  places[0, inserted] = 0
  numbers = np.pad(np.arange(len(tokens) - 2), 1, constant_values=-1)
  noise = infill.Noise(drawn.astype(int), words, places, places)
  ids, real = _run_infilled(
    _row(tokens, length, config['pad']), _row(numbers, length, -1),
    _row(np.ones(len(tokens), bool), length, False), noise,
    config['mask_ratio'], config['mask'], config['pad'],
  )  # fmt: skip
  return np.asarray(ids)[np.asarray(real)]


def _noised(spans, moved, _, last, labels, config, length):
  """Our ids and classes after shuffling, and after replacing, by its draws."""
  special = np.isin(spans, [config[n] for n in ('bos', 'eos', 'mask')])
  kind = np.where(special, e2s2_noise.SPECIAL, e2s2_noise.START)
  noise = _draws(spans, moved, last, labels, kind, length)
  given = (
    _row(spans, length, config['pad']), _row(kind, length, e2s2_noise.SPECIAL),
    _row(np.ones(len(spans), bool), length, False), noise,
  )  # fmt: skip
  for shares in ((SHUFFLE, 0.0), (SHUFFLE, REPLACE)):
    for x in _run_noised(*given, shares, config['mask']):
      yield x[0][: len(spans)]


_run_infilled = jax.jit(infill.infilled, static_argnums=(4, 5, 6))
_run_noised = jax.jit(e2s2.noised, static_argnums=(4, 5))


def _spans(tokens, wanted, config):
  """(lengths, words that those above 0 begin at, places of masks put in).

  A row of masks stands for what the row has between the tokens around it: a
  token for each but the last, which has what is left.
  """
  runs, at = [], 0  # (place of the first, how many)
  while at < len(wanted):
    end = at
    while wanted[end] == config['mask']:
      end += 1
    if end > at:
      runs.append((at, end - at))
    at = end + 1
  masks = re.escape(chr(config['mask']))
  pattern = re.sub(
    f'(?:{masks})+', '(.*)', re.escape(''.join(map(chr, wanted)))
  )
  hit = re.fullmatch(pattern, ''.join(map(chr, tokens)), re.DOTALL)
  lengths, begins, inserted = [], [], []
  for group, (place, many) in enumerate(runs, 1):
    begin, lost = hit.start(group), len(hit[group])
    spans = min(many, lost)
    lengths += [1] * (spans - 1) + [lost - spans + 1] * (spans > 0)
    begins += range(begin - 1, begin - 1 + spans)  # words begin at token 1
    inserted += range(place + spans, place + many)
  # What the budget has beyond the tokens that are gone: a last span that is
  # longer than the row, or else spans that begin inside another one.
  more = math.ceil(config['mask_ratio'] * (len(tokens) - 2)) - sum(lengths)
  if more and begins[-1] + lengths[-1] == len(tokens) - 2:
    lengths[-1] += more
    more = 0
  inside = [
    begin + j
    for begin, size in zip(begins, lengths)
    for j in range(1, size)
  ]  # fmt: skip
  begins += inside[:more]
  lengths += [1] * len(inside[:more])
  return [0] * len(inserted) + lengths, begins, inserted


def _draws(ids, moved, last, labels, kind, length):
  """Draws that shuffle and replace as the code did, as `e2s2_noise.Noise`."""
  text = np.flatnonzero(kind != e2s2_noise.SPECIAL)
  width = e2s2_noise.window(SHUFFLE)
  windows = [text[i : i + width] for i in range(0, len(text), width)]
  most = max(1, round(SHUFFLE * len(ids)))

  def fits(own, word):
    """Whether a word may be a centre; those that may not cost no budget."""
    return (kind[own[word] + np.arange(-1, 2)] != e2s2_noise.SPECIAL).all()

  def search(ids, number, done):
    """[(word of the window, order)] of this window and those behind it."""
    if number == len(windows):
      return [] if (ids == moved).all() else None
    own = windows[number]
    for word, order in sorted(
      itertools.product(range(len(own)), range(6)),
      key=lambda x: fits(own, x[0]),
    ):
      around = own[word] + np.arange(-1, 2)
      on = fits(own, word) and done < most
      if not on and order:
        continue
      new = ids.copy()
      if on:
        new[around] = ids[around][e2s2_noise.ORDERS[order]]
      # The next window's first centre reaches one token back.
      fixed = len(ids)
      if number + 1 < len(windows):
        fixed = windows[number + 1][0] - 1
      if (new[:fixed] == moved[:fixed]).all():
        rest = search(new, number + 1, done + on)
        if rest is not None:
          return [(word, order), *rest]
    return None

  found = search(ids.copy(), 0, 0)
  if found is None:
    raise ValueError('no centres in the budget give the shuffled row')
  size = np.array([[len(own) for own in windows]])
  pad = math.ceil(length / width) - len(windows)
  words, orders = (np.array([x]) for x in zip(*found))
  centres = np.pad((words + 0.5) / size, ((0, 0), (0, pad)))
  orders = np.pad(orders, ((0, 0), (0, pad)))
  # Replaced tokens first, then those that were drawn in vain.
  luck = np.where(labels == 2, 0.0, np.where(labels == 1, 0.5, 1.0))
  drawn = centres, orders, _row(luck, length, 2.0), _row(last, length, 0)
  return e2s2_noise.Noise(*map(jnp.asarray, drawn))
