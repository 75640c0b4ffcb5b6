"""SlimFit. Ardakani et al. 2023, arXiv 2305.18513.

Parts: optim/layer_schedule.py (which layers learn),
compress/saved_activations.py (what is kept for the backward pass). Which layers
learn is a part of the compiled program: a mask inside it would save nothing. So
the schedule is refreshed every `refresh` steps (published: every step), and
after `masks` different choices the nearest of them is taken again; of equally
near ones that which wasn't taken for longest, so that the layers wanted learn
in turn.

Train without warm-up, as published: a layer that learns while the rate is low
moves little, and so waits until the others move as little.

Use it: for full fine-tuning in less memory: few layers learn at a time, all of
  them in turn.
Costs: a program for each choice of layers, most of a short run's time; the
  optimizer's state of frozen layers is kept.
Not with: methods that freeze layers, GaLore, a warm-up; with all of `compress`,
  also FNet, PoNet, Hydra and experts (leave out what they don't have).
"""

from collections.abc import Sequence

import jax
import numpy as np
import optax
from absl import logging

from glue_jax import tree
from glue_jax.compress import saved_activation_plugs
from glue_jax.config.ranges import Count, Rate
from glue_jax.method import Context, Facts, Hook, Method
from glue_jax.models import model as models
from glue_jax.optim import layer_schedule

# Names of the layers that learn, in the variant; priorities at the start, in
# the state; all choices so far, in the notes.
_ACTIVE, _START, _CHOICES = 'slimfit', 'slimfit_priorities', 'slimfit_choices'

FACTS = Facts(
  small=dict(freezing_rate=0.5, refresh=2, pruned_by='example'),
  needs=dict(optimizer=dict(warmup=0.0)),
  identity=True,
  axis='tune',
  cell=dict(freezing_rate=0.5),
  refuses={
    "has 'gelu', but": ('fnet', 'llama'),
    'has no layer': ('comet', 'hydra', 'ponet'),
    'match': ('galore', 'natural_galore'),
  },
)


def make(
  ctx: Context,
  *,
  freezing_rate: Rate = 0.9,
  refresh: Count = 50,
  masks: Count | None = None,
  compress: Sequence[str] = tuple(saved_activation_plugs.SITES),
  value_dropout: bool = False,
  pruned_by: saved_activation_plugs.PrunedBy = 'device',
) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.
    freezing_rate: F, share of the layers that is frozen; 0 freezes none.
    refresh: steps for which the same layers learn.
    masks: most different choices, and so most programs for a batch's shape;
      None has no bound.
    compress, value_dropout, pruned_by: see `saved_activation_plugs.plugs`; ()
      keeps everything, with exact gradients.

  Raises:
    ValueError: fewer masks than it takes for each layer to learn once; see
      also `saved_activation_plugs.plugs`.
  """
  names = layer_schedule.layers(models.shapes(ctx.model))
  least = layer_schedule.rounds(len(names), freezing_rate)
  if masks is not None and masks < least:
    raise ValueError(
      f'slimfit masks={masks}: at freezing_rate={freezing_rate} it takes '
      f'{least} until each of the {len(names)} layers has learnt once'
    )

  def choose(host):
    if _ACTIVE in host.variant and host.step % refresh:
      return
    slots = tree.paths(host.state.opt_state)
    slots |= tree.flatten(host.state.frozen['opt_state'])
    start = np.asarray(host.state.extra[_START])
    priority = layer_schedule.priorities(start, names, slots)
    frozen = layer_schedule.frozen_layers(priority, freezing_rate)
    wanted = [name for name, f in zip(names, frozen) if not f]
    choices = host.memory.setdefault(_CHOICES, [])
    if wanted not in choices and len(choices) == masks:
      wanted = choices[layer_schedule.nearest(wanted, choices)]
    if wanted in choices:
      choices.remove(wanted)
    choices.append(wanted)  # the one last taken is at the end
    host.variant[_ACTIVE] = ' '.join(wanted)
    logging.info('step %d: %d choices of layers', host.step, len(choices))

  def holds(_, variant):
    chosen = variant.get(_ACTIVE)
    return set() if chosen is None else set(names) - set(chosen.split())

  return Method(
    'slimfit',
    plugs=saved_activation_plugs.plugs(
      compress, ctx.model.config, value_dropout, pruned_by
    ),
    turns=lambda _: set(names),
    holds=holds,
    wrap_tx=lambda tx: optax.chain(tx, layer_schedule.track(names)),
    revisits=True,
    init_extra=lambda rng, _: {
      _START: layer_schedule.START * jax.random.uniform(rng, (len(names),))
    },
    hooks=(Hook(before_step=choose),),
  )
