"""Beam search with a length penalty (Wu et al. 2016, arXiv 1609.08144, eq. 14).

As the library `transformers` has it: n running hypotheses and the n best
finished ones of each row; scores are log-probabilities over length ** penalty;
a row is done when its best running one, at today's length, can't beat its worst
finished one. Letters: B rows, n beams, V tokens, T new tokens.
"""

import flax.struct
import jax
import jax.numpy as jnp

from glue_jax import tree
from glue_jax.generation import next_token
from glue_jax.generation.prompt import Prompt, ask
from glue_jax.generation.settings import Settings
from glue_jax.plugs import Apply

# Less than any log-probability, and finite: differences of it stay numbers.
_NEVER = -1e9


class Beams(flax.struct.PyTreeNode):
  """What is carried from step to step.

  Attributes:
    step: () int32, tokens written so far.
    tokens: (B, n, T) int32 of the running hypotheses.
    scores: (B, n) their log-probabilities.
    best: (B, n, T) int32 of the finished ones, best first.
    best_scores: (B, n), after the penalty.
    finished: (B, n) bool, which of `best` are there.
    open: (B, 1) bool, whether a row may still get better.
    stuck: () bool, all continuations have ended.
    seen: (B * n, V) bool, tokens of each running one, or None.
    cache: rows (B * n).
  """

  step: jax.Array
  tokens: jax.Array
  scores: jax.Array
  best: jax.Array
  best_scores: jax.Array
  finished: jax.Array
  open: jax.Array
  stuck: jax.Array
  seen: jax.Array | None
  cache: tree.Tree


def search(
  apply: Apply,
  params: tree.Tree,
  prompt: Prompt,
  settings: Settings,
  end_ids: tuple[int, ...],
  pad_id: int,
) -> jax.Array:
  """Returns each row's best hypothesis: (B, T) int32.

  Args:
    apply, params, settings, end_ids, pad_id: see `generate.generate`.
    prompt: what `begin` returns.
  """
  n = settings.beams

  def go_on(state: Beams) -> Beams:
    last = state.tokens[:, :, state.step - 1].reshape(-1)
    logits, cache = ask(apply, params, state.cache, last)
    state = state.replace(cache=cache)
    return advanced(state, logits, settings, end_ids)

  def unfinished(state: Beams) -> jax.Array:
    return state.open.any() & ~state.stuck

  first = _blank(prompt, settings, pad_id)
  logits = jnp.repeat(prompt.logits, n, axis=0)
  first = advanced(first, logits, settings, end_ids)
  return jax.lax.while_loop(unfinished, go_on, first).best[:, 0]


def advanced(
  state: Beams, logits: jax.Array, settings: Settings, end_ids: tuple[int, ...]
) -> Beams:
  """Adds the best next tokens; those that end move to the finished ones.

  Args:
    state: before.
    logits: (B * n, V) of the next token.
    settings: `length_penalty` and `repetition_penalty` are read.
    end_ids: tokens that end a text.
  """
  rows, n, most = state.tokens.shape
  logs = jax.nn.log_softmax(logits)
  if state.seen is not None:
    logs = next_token.repelled(logs, state.seen, settings.repetition_penalty)
  logs = logs.reshape(rows, n, -1) + state.scores[:, :, None]
  # Enough that n go on even if all of the best end.
  count = (1 + len(end_ids)) * n
  scores, at = jax.lax.top_k(logs.reshape(rows, -1), count)
  parent, token = jnp.divmod(at, logs.shape[-1])
  token = token.astype(jnp.int32)
  tokens = _picked(state.tokens, parent).at[:, :, state.step].set(token)
  length = state.step + 1
  ends = jnp.isin(token, jnp.array(end_ids)) | (length == most)

  running = scores + ends * _NEVER
  _, kept = jax.lax.top_k(running, n)
  state = _finish(state, tokens, scores, ends, settings.length_penalty)
  running = _picked(running, kept)
  reachable = running[:, :1] / length**settings.length_penalty
  worst = jnp.where(
    state.finished, state.best_scores.min(1, keepdims=True), _NEVER
  )
  came_from = _picked(parent, kept) + n * jnp.arange(rows)[:, None]
  came_from, new = came_from.reshape(-1), _picked(token, kept).reshape(-1)
  seen = state.seen
  if seen is not None:
    seen = seen[came_from].at[jnp.arange(rows * n), new].set(True)
  return state.replace(
    step=length,
    tokens=_picked(tokens, kept),
    scores=running,
    open=state.open & (reachable > worst).any(1, keepdims=True),
    stuck=ends.all(),
    seen=seen,
    cache=_of_rows(state.cache, lambda x: x[came_from]),
  )


def _finish(state, tokens, scores, ends, penalty):
  """Merges what has just ended, of the n best, into the finished ones."""
  n = state.tokens.shape[1]
  ended = ends & (jnp.arange(ends.shape[1]) < n)
  scores = scores / (state.step + 1) ** penalty
  scores += (~state.open) * _NEVER + (~ended) * _NEVER
  every = jnp.concatenate([state.best_scores, scores], 1)
  best_scores, at = jax.lax.top_k(every, n)
  best = _picked(jnp.concatenate([state.best, tokens], 1), at)
  finished = _picked(jnp.concatenate([state.finished, ended], 1), at)
  return state.replace(best=best, best_scores=best_scores, finished=finished)


def _blank(prompt: Prompt, settings: Settings, pad_id: int) -> Beams:
  rows, n = len(prompt.logits), settings.beams
  blank = jnp.full((rows, n, settings.max_new_tokens), pad_id, jnp.int32)
  never = jnp.full((rows, n), _NEVER)
  seen = prompt.seen
  return Beams(
    step=jnp.zeros((), jnp.int32),
    tokens=blank,
    # The beams of a row are alike: one of them counts.
    scores=never.at[:, 0].set(0),
    best=blank,
    best_scores=never,
    finished=jnp.zeros((rows, n), bool),
    open=jnp.ones((rows, 1), bool),
    stuck=jnp.zeros((), bool),
    seen=None if seen is None else jnp.repeat(seen, n, axis=0),
    cache=jax.tree.map(
      lambda x: jnp.repeat(x, n, axis=0) if x.ndim else x, prompt.cache
    ),
  )


def _picked(x: jax.Array, at: jax.Array) -> jax.Array:
  """Takes hypotheses (B, m) out of (B, k, ...)."""
  return jax.vmap(lambda row, i: row[i])(x, at)


def _of_rows(cache: tree.Tree, fn) -> tree.Tree:
  """Maps what differs between the hypotheses of a row: not what is encoded."""
  return tree.map_named(
    lambda name, x: fn(x) if x.ndim and '/cross/' not in name else x, cache
  )
