"""Prompt tuning. Lester et al. 2021, arXiv 2104.08691.

Parts: peft/prompt.py. The prompt (P E parameters) and the head learn. The
paper's setting (T5, P = 100, learning rate 0.3 with Adafactor, a start from
embeddings of the vocabulary) is not confirmed.

Use it: for the smallest thing to store for each task.
Costs: P E parameters; every input is P tokens longer; learns slowly, at 1e-3
  for 157 steps MiniLM stays at chance.
Not with: GaLore (no kernel learns); with pool='first', heads that read every
  token.
"""

from typing import Literal

from glue_jax.config.ranges import Count
from glue_jax.layers import paths
from glue_jax.method import HEAD, Context, Facts, Method, matching
from glue_jax.peft import prompt

_SENTENCES = ('classification', 'regression', 'multiple_choice')

FACTS = Facts(
  small=dict(length=3),
  sizes=((dict(length=20), lambda c: 20 * c.hidden_size),),
  axis='tune',
  cell=dict(length=8),
  refuses={'match none of the leaves': ('galore', 'natural_galore')},
  peft_type='PROMPT_TUNING',
)


def make(
  ctx: Context,
  *,
  length: Count = 20,
  pool: prompt.Pool | None = None,
  init: Literal['normal', 'vocabulary'] = 'normal',
) -> Method:
  """Returns the method.

  Args:
    ctx: see `Context`.
    length: P.
    pool: see `prompt.inputs`; None = 'first' where the head reads the first
      token, else 'cls'.
    init: 'normal' = N(0, 1), as libraries do; 'vocabulary' = embeddings of
      words drawn at random.

  Raises:
    ValueError: pool='first' for a head that reads other tokens than the first.
  """
  model = ctx.model
  first = model.shape == 'encoder' and model.kind in _SENTENCES
  first &= model.config.pooler in ('first_token', 'tanh')
  if pool == 'first' and not first:
    raise ValueError(
      f"prompt pool='first': the head of kind {model.kind!r} of a "
      f"{model.shape} would read the prompts as tokens; give pool='cls'"
    )
  pool = pool or ('first' if first else 'cls')
  return Method(
    name='prompt',
    plugs=prompt.plugs(model.shape, length, pool),
    surgery=prompt.from_vocabulary if init == 'vocabulary' else None,
    learns=matching(f'{paths.table("word")}/prompt', HEAD),
  )
