"""What the blocks of a model know of the batch besides their hidden states.

The encoder makes one record a call and hands it, unchanged, to the stack, the
stack to every block, and a block to its mixer and its feed-forward part; each
reads what it needs. A part that needs more of the batch gets a field here.
Letters: B rows, L tokens, M positions that are attended to.
"""

import flax.struct
import jax


class BatchContext(flax.struct.PyTreeNode):
  """The batch, as the parts of a block see it.

  The arrays are made by `models.stack.Stack`; who tries a part by itself
  gives `mask` and what that part reads. Where a block is compiled or recomputed
  (remat) by itself the arrays are its arguments; `queries` and `count_padding`
  are fixed when it is traced.

  Attributes:
    mask: (B, L) bool, True = real token. Read by mixers that keep padding out
      themselves and by gates, which don't count it.
    bias: (B, 1, 1, M) float32, added to the scores of attention: 0, and at
      padding the most negative float. Any shape that broadcasts to (B, H, L, M)
      does. Read by the attention mixers.
    input_ids: (B, L) int32. Read by PoNet (special tokens) and the hash gate.
    token_type_ids: (B, L) int32. Read by BERT's embeddings.
    positions: (B, L) int32, where each token stands in its row: 0, 1, ... from
      the first real one. Read by embeddings and positions of decoders.
    key_positions: (B, M) int32, the same of what is attended to.
    rotary: (B, L) `positions`, where attention shall turn its heads by them.
    relative: (R, D), a table whose rows stand for distances. Read by
      disentangled attention.
    absolute: (B, L, D), where each token stands, for a stack that says so only
      at its end. Read by the stack `mask_decoder`.
    memory: (B, M, D), an encoder's states, with the bias of its padding,
      `memory_bias` (B, 1, 1, M). Read by the cross-attention of decoders, and
      by disentangled attention, whose keys and values are then made of it.
    segment_ids: (B, L) int, equal ones make a segment; None where the batch has
      none. Read by PoNet.
    cache_start: (), how many positions of the cache are taken; None where none
      is kept (layers/cache.py). Read by the attention mixers.
    queries: how many of the first positions the block gives, None for all. Set
      by the stack `first_token` for the last block; read by the block and its
      mixer.
    count_padding: whether the gates' statistics count padding. Set by the
      feed-forward part `experts`, read by its gate.
  """

  mask: jax.Array
  bias: jax.Array | None = None
  input_ids: jax.Array | None = None
  segment_ids: jax.Array | None = None
  token_type_ids: jax.Array | None = None
  positions: jax.Array | None = None
  key_positions: jax.Array | None = None
  rotary: jax.Array | None = None
  relative: jax.Array | None = None
  absolute: jax.Array | None = None
  memory: jax.Array | None = None
  memory_bias: jax.Array | None = None
  cache_start: jax.Array | None = None
  queries: int | None = flax.struct.field(pytree_node=False, default=None)
  count_padding: bool = flax.struct.field(pytree_node=False, default=False)
