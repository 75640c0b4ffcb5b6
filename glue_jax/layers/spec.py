"""Sizes and parts of an encoder, and how a part's name becomes its code.

Every slot is a folder: the name of a mixer, feed-forward part or stack is the
name of a file in glue_jax/layers/mixers, ffn or stacks that defines `Mixer`,
`FFN` or `stack`. A new part is a new file; nothing else changes.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from glue_jax.config.ranges import (
  Count,
  Dtype,
  Positive,
  Rate,
  Whole,
  check_arguments,
)

# {slot: (its folder in glue_jax/layers, what a file defines to fill it)}.
SLOTS = {
  'mixer': ('mixers', 'Mixer'),
  'ffn': ('ffn', 'FFN'),
  'stack': ('stacks', 'stack'),
}


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
  """Everything that fixes an encoder's program and parameter shapes.

  Attributes:
    vocab_size: rows of the word table.
    hidden_size: width D of the hidden states.
    num_layers: number of blocks N.
    num_heads: attention heads H; must divide `hidden_size`.
    intermediate_size: width of the feed-forward part.
    max_positions: rows of the position table; 0 has none, and no limit to
      the length.
    type_vocab_size: rows of the token type table.
    pad_id: id of the padding token; its lookup gives no gradient.
    special_ids: ids of [CLS] and [SEP], for mixers that treat them apart.
    position_offset: 0 numbers positions 0..L-1; RoBERTa's 2 = pad_id + 1
      numbers real tokens from 2 on and gives padding the position `pad_id`.
    embedding_size: width of the tables where it isn't `hidden_size` (ELECTRA).
    activation: a key of `activations.ACTIVATIONS`.
    layer_norm_eps: added to the variance.
    block_norm_eps: the same inside the blocks; None means `layer_norm_eps`.
    dropout: rate after the embeddings and after each sublayer.
    attention_dropout: rate on the attention probabilities.
    head_dropout: rate inside the heads; None means `dropout`.
    init_range: standard deviation of fresh matrices and tables.
    mixer: file of glue_jax/layers/mixers, or one for each layer.
    ffn: file of glue_jax/layers/ffn, or one for each layer; '' leaves it out,
    and
      its LayerNorm.
    stack: file of glue_jax/layers/stacks that runs the blocks.
    projection: a dense layer after the embeddings' LayerNorm (FNet); also
      there when `embedding_size` differs from `hidden_size`.
    options: extra arguments of the parts, ((file, ((name, value), ...)), ...).
    dtype: type of the computation; parameters stay float32.
    remat: recompute each block in the backward pass.
  """

  vocab_size: Count = 30522
  hidden_size: Count = 768
  num_layers: Whole = 12
  num_heads: Count = 12
  intermediate_size: Count = 3072
  max_positions: Whole = 512
  type_vocab_size: Whole = 2
  pad_id: Whole = 0
  special_ids: tuple[Whole, ...] = (101, 102)
  position_offset: Whole = 0
  embedding_size: Count | None = None
  activation: str = 'gelu'
  layer_norm_eps: Positive = 1e-12
  block_norm_eps: Positive | None = None
  dropout: Rate = 0.1
  attention_dropout: Rate = 0.1
  head_dropout: Rate | None = None
  init_range: Positive = 0.02
  mixer: str | tuple[str, ...] = 'attention'
  ffn: str | tuple[str, ...] = 'feedforward'
  stack: str = 'plain'
  projection: bool = False
  options: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()
  dtype: Dtype = 'float32'
  remat: bool = False

  def __post_init__(self):
    check_arguments(EncoderConfig, vars(self), 'model')
    for field in ('mixer', 'ffn'):
      names = getattr(self, field)
      if not isinstance(names, str) and len(names) != self.num_layers:
        raise ValueError(
          f'model.{field} has {len(names)} names for {self.num_layers} layers; '
          'give one name, or one for each layer'
        )

  def names(self, slot: str) -> tuple[str, ...]:
    """Returns the slot's file for each layer."""
    names = getattr(self, slot)
    return (names,) * self.num_layers if isinstance(names, str) else names

  @property
  def fixed_length(self) -> bool:
    """Whether results depend on the padded length.

    Such a model (FNet mixes padding in) needs every batch, in training and
    afterwards, padded to one and the same length: no length buckets.
    """
    return any(
      getattr(part('mixer', name), 'FIXED_LENGTH', False)
      for name in self.names('mixer')
    )

  def check_lengths(self, lengths: Any) -> None:
    """Refuses batch lengths that the encoder can't be right on.

    Args:
      lengths: the padded lengths (buckets) that batches will have.

    Raises:
      ValueError: a length exceeds the position table, or there are several
        for an encoder whose results depend on the padded length.
    """
    lengths = sorted(set(lengths))
    limit = self.max_positions - self.position_offset
    if self.max_positions and lengths[-1] > limit:
      raise ValueError(
        f'batches of length {lengths[-1]} exceed the {limit} positions of the '
        'model; lower data.max_length, or grow the table of its weights '
        f'(model.grow_positions={lengths[-1]})'
      )
    if self.fixed_length and len(lengths) > 1:
      raise ValueError(
        f'batches have the lengths {lengths}, but with the mixer '
        f'{self.mixer!r} padding changes the result; give one length only '
        f'(data.buckets=({lengths[-1]},))'
      )


def part(slot: str, name: str) -> Any:
  """Returns what the file `<name>.py` of a slot's folder puts into the slot.

  Raises:
    ValueError: there is no such part; the message lists those there are.
  """
  folder, attribute = SLOTS[slot]
  package = importlib.import_module(f'glue_jax.layers.{folder}')
  files = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
  module = f'glue_jax.layers.{folder}.'
  if name in files:
    found = getattr(importlib.import_module(module + name), attribute, None)
    if found is not None:
      return found
  # A file beside the parts holds what several of them share.
  fitting = [
    file
    for file in files
    if hasattr(importlib.import_module(module + file), attribute)
  ]
  raise ValueError(
    f'model.{slot}={name!r}: no file glue_jax/layers/{folder}/{name}.py with a '
    f'`{attribute}`; there are {fitting}'
  )


def takers(file: str) -> list[Any]:
  """Returns the classes whose fields `options[file]` of a config may hold.

  Raises:
    ValueError: no part that takes options has that name.
  """
  there: dict[str, list[Any]] = {}
  for slot, (folder, attribute) in SLOTS.items():
    package = importlib.import_module(f'glue_jax.layers.{folder}')
    for name in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
      module = importlib.import_module(f'{package.__name__}.{name}')
      taker = getattr(module, 'Options' if slot == 'stack' else attribute, None)
      if taker:
        there.setdefault(name, []).append(taker)
  if file not in there:
    raise ValueError(
      f'config.model.options: no part is named {file!r}; there are '
      f'{sorted(there)}'
    )
  return there[file]


def make(slot: str, file: str, config: EncoderConfig) -> Any:
  """Builds the part of a slot with its own options; it is named as the slot.

  Raises:
    ValueError: no such part, or it doesn't take one of its options.
  """
  cls = part(slot, file)
  options = dict(dict(config.options).get(file, ()))
  known = {f.name for f in dataclasses.fields(cls)} - {'parent', 'name'}
  unknown = sorted(set(options) - known)
  if unknown:
    raise ValueError(
      f'model.options[{file!r}]: nothing reads {unknown}; it takes '
      f'{sorted(known - {"config"})}'
    )
  return cls(config, **options, name=slot)


def freeze(value: Any) -> Any:
  """Returns lists as tuples and dicts as sorted pairs, so that it hashes."""
  if isinstance(value, Mapping):
    return tuple(sorted((k, freeze(v)) for k, v in value.items()))
  if isinstance(value, (list, tuple)):
    return tuple(freeze(v) for v in value)
  return value
