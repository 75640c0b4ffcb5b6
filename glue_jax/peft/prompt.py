"""Prompt tuning: learned vectors before the word embeddings of the input.

Lester et al. 2021, arXiv 2104.08691. The stack sees positions 0 to P + L - 1;
prompts have token type 0, pass the embeddings' LayerNorm as words do, and are
never masked.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.config.ranges import Count, checked
from glue_jax.layers import cache, paths
from glue_jax.plugs import Plug, Site

Pool = Literal['first', 'cls']


def leaf(stack: str) -> str:
  """Returns the prompt's name, in the stack that reads the input."""
  return f'{stack}/embeddings/word/prompt'


def plugs(shape: str, length: int, pool: Pool) -> tuple[Plug, ...]:
  """Returns the plugs of a model.

  Args:
    shape: of the `Model`: 'encoder', 'decoder' or 'seq2seq', whose encoder
      reads the prompts, and whose decoder their states.
    length, pool: see `inputs`.
  """
  stack = 'decoder' if shape == 'decoder' else 'encoder'
  reading: list[str] = []
  plugs = (inputs(length, pool, stack, reading), words(length, stack, reading))
  return (*plugs, _memory()) if shape == 'seq2seq' else plugs


def words(length: int, stack: str, reading: list[str]) -> Plug:
  """Adds the leaf prompt (P, E), from N(0, 1), before the words.

  Args:
    length: P; the first P ids of every row are never looked up.
    stack: that reads them.
    reading: not empty while it does: another stack may share its table.
  """
  normal = jax.nn.initializers.normal(1.0)

  def call(site: Site, next_fn, ids):
    if not reading:
      return next_fn(ids)
    x = next_fn(ids[:, length:])
    prompt = site.param('prompt', normal, (length, x.shape[-1]))
    prompt = jnp.broadcast_to(
      prompt.astype(x.dtype), (x.shape[0], *prompt.shape)
    )
    return jnp.concatenate([prompt, x], 1)

  return Plug(f'{stack}/embeddings/word', call)


@checked
def inputs(length: Count, pool: Pool, stack: str, reading: list[str]) -> Plug:
  """Makes room for P prompts before the tokens of every row.

  Args:
    length: P.
    pool: 'first' leaves the prompts' hidden states in the outputs, so that the
      first of them is what a sentence's head reads (Hugging Face's BERT does
      so); 'cls' takes them out, so that it is [CLS], and token by token heads
      see tokens.
    stack: that reads them.
    reading: has its path while it does.

  Raises:
    ValueError: an argument that isn't what its annotation says; (when bound)
      the input is too long with the prompts, or the stack doesn't compute
      [CLS].
  """

  def call(site: Site, next_fn, ids, mask, *rest):
    c = site.module.config
    if stack == 'decoder' and cache.kept(site.module):
      raise ValueError(
        'prompt: a decoder writes no texts behind prompts here, which its '
        'cache would have to hold; tune it with another method (prefix, lora)'
      )
    limit = c.max_positions - c.position_offset
    total = length + ids.shape[1]
    if c.max_positions and total > limit:
      raise ValueError(
        f'prompt length={length} and inputs of length {ids.shape[1]} exceed '
        f'the {limit} positions of the model; lower data.max_length'
      )
    # Any id but padding's, whose position and gradient are special.
    ids = _before(ids, length, int(c.pad_id == 0))
    mask = _before(mask, length, 1)
    if stack == 'encoder':
      types, train, segments = rest
      types = _before(types, length, 0)
      if segments is not None:
        segments = jnp.pad(segments, ((0, 0), (length, 0)), mode='edge')
      rest = types, train, segments
    reading.append(site.path)
    try:
      outputs = next_fn(ids, mask, *rest)
    finally:
      reading.pop()
    if pool == 'first':
      return outputs
    if outputs['last_hidden'].shape[1] != total:
      raise ValueError(
        f"prompt pool='cls' reads position {length}, but model.stack="
        f"{c.stack!r} computes the first only; give model.stack='plain'"
      )

    def after(x):
      return x[:, length:]

    return jax.tree.map(after, outputs)

  return Plug(stack, call)


def _memory() -> Plug:
  """Lets a decoder attend to the states of its encoder's prompts."""

  def call(site: Site, next_fn, ids, mask, train, memory, memory_mask):
    del site
    if memory is not None:  # else the cache knows of them
      length = memory.shape[1] - memory_mask.shape[1]
      memory_mask = _before(memory_mask, length, 1)
    return next_fn(ids, mask, train, memory, memory_mask)

  return Plug('decoder', call)


def from_vocabulary(rng: jax.Array, params: tree.Tree) -> tree.Tree:
  """Starts the prompt from words' embeddings, drawn without replacement."""
  flat = tree.flatten(params)
  name = tree.match((f'{paths.table("word")}/prompt',), flat).pop()
  table = flat[f'{name.rpartition("/")[0]}/embedding']
  rows = jax.random.choice(rng, len(table), (len(flat[name]),), replace=False)
  return tree.unflatten(flat | {name: table[rows]})


def _before(x, length, value):
  return jnp.pad(x, ((0, 0), (length, 0)), constant_values=value)
