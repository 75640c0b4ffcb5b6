"""MEFT: adapters that make a pretrained encoder reversible.

Liao et al. 2023, arXiv 2306.00477. Parts: layers/stacks/reversible.py (the
stack, chosen and set in the model's section), peft/meft.py (the adapters). The
backbone is frozen; the adapters and the head learn.

Logged every `measure_every` steps as `reconstruction_error`: how far the
streams that the backward pass makes are from those of the forward pass, the
worst segment (layers/stacks/coupling.py `errors`), at the price of two more
forward passes in such a step.

Use it: when activations fill the memory: long inputs, deep models.
Costs: each block is run again in the backward pass; it learns slower than
  ordinary adapters (published: 5 to 10 times the epochs).
Not with: what reads activations out of the blocks (`deft`, `ada_deft`,
  experts), Hydra (no feed-forward part).
"""

import dataclasses

import jax
import jax.numpy as jnp

from glue_jax.config.ranges import Count, Positive, Whole
from glue_jax.layers import paths
from glue_jax.layers.spec import freeze
from glue_jax.layers.stacks import reversible
from glue_jax.method import HEAD, Context, Facts, Method, matching
from glue_jax.peft import meft

MEASURES = 'meft_measures'  # key of the variant that measures

# Where each variant has adapters: (module of a block, place).
ADAPTERS = {
  'meft1': (('ffn', 'parallel'), ('beside', 'alone')),
  'meft2': (('ffn', 'parallel'), ('beside', 'alone')),
  'meft3': (('mixer', 'sequential'), ('ffn', 'parallel')),
}

FACTS = Facts(
  small=dict(size=4, measure_every=1),
  needs=dict(model=dict(stack='reversible')),
  sizes=(
    (
      dict(size=8),
      lambda c: c.num_layers * 2 * (2 * 8 * c.hidden_size + 8 + c.hidden_size),
    ),
  ),
  axis='tune',
  cell=dict(size=8),
  refuses={
    'needs a feed-forward part': ('hydra',),
    'cannot hand': ('ada_deft', 'comet', 'deft'),
  },
)


def make(
  ctx: Context,
  *,
  size: Count = 8,
  init_range: Positive = 0.02,
  measure_every: Whole = 100,
) -> Method:
  """Returns the adapters of the variant that the model's stack runs.

  Args:
    ctx: see `Context`.
    size: bottleneck of each adapter.
    init_range: standard deviation of the fresh kernels.
    measure_every: steps between two measurements of the reconstruction error;
      0 for none.

  Raises:
    ValueError: the model's stack isn't 'reversible'.
  """
  config = ctx.model.config
  if config.stack != 'reversible':
    raise ValueError(
      f"meft needs model.stack='reversible'; it is {config.stack!r}. Set it, "
      "and the variant by model.options={'reversible': {'variant': 'meft1'}}"
    )
  chosen = reversible.options(config)
  plugs = tuple(
    meft.plug(
      paths.of(module), place, size, config.activation, config.dropout,
      init_range,
    )
    for module, place in ADAPTERS[chosen.variant]
  )  # fmt: skip
  wrap = None
  if measure_every and chosen.layers != 0:

    def wrap(loss):
      return _measured(loss, measure_every)

  return Method(
    'meft',
    shape=_measuring,
    plugs=plugs,
    wrap_loss=wrap,
    learns=matching('.*/adapter_.*', HEAD),
  )


def _measured(loss, every):
  def with_error(apply, params, batch, rng):
    total, metrics = loss(apply, params, batch, rng)
    if apply.step is None:
      return total, metrics
    probe = apply.replace(variant={**apply.variant, MEASURES: True})
    fixed = jax.lax.stop_gradient(params)

    def measure():
      captured = probe(fixed, batch, True, rng)['captured']
      found = [
        value.max()
        for path, value in captured.items()
        if path.endswith(f'/{reversible.MEASURED}')
      ]
      return jnp.stack(found).max(), jnp.float32(1)

    # Count 0 leaves a step out of the mean that is logged.
    metrics['reconstruction_error'] = jax.lax.cond(
      apply.step % every == 0, measure, lambda: (jnp.float32(0),) * 2
    )
    return total, metrics

  return with_error


def _measuring(config, variant):
  """The network with a stack that hands out the error, where it is asked."""
  if MEASURES not in variant:
    return config
  given = {name: dict(values) for name, values in config.options}
  given['reversible'] = given.get('reversible', {}) | {'measure': True}
  return dataclasses.replace(config, options=freeze(given))
