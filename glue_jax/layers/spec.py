"""Sizes and parts of a stack of blocks, and how a part's name becomes its code.

Every slot is a folder: the name of a mixer, say, is that of a file in
glue_jax/layers/mixers that defines `Mixer`; SLOTS lists the others. A new part
is a new file; nothing else changes.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from typing import Annotated, Any

from glue_jax.config.ranges import (
  Count,
  Dtype,
  OneOf,
  Positive,
  Rate,
  Whole,
  check_arguments,
)

# {slot: (its folder in glue_jax/layers, what a file defines to fill it)}.
SLOTS = {
  'mixer': ('mixers', 'Mixer'),
  'ffn': ('ffn', 'FFN'),
  'block': ('blocks', 'Block'),
  'norm': ('norms', 'Norm'),
  'stack': ('stacks', 'stack'),
  'embeddings': ('embeddings', 'Embeddings'),
  'positions': ('positions', 'Positions'),
  'pooler': ('poolers', 'Pooler'),
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
    pad_id: id of the padding token, None where there is none; an encoder's
      lookup of it gives no gradient.
    special_ids: ids of [CLS] and [SEP], for mixers that treat them apart.
    position_offset: 0 numbers positions 0..L-1; RoBERTa's 2 = pad_id + 1
      numbers real tokens from 2 on and gives padding the position `pad_id`.
    embedding_size: width of the tables where it isn't `hidden_size` (ELECTRA).
    activation: a key of `activations.ACTIVATIONS`.
    layer_norm_eps: added to the variance.
    block_norm_eps: the same inside the blocks; None means `layer_norm_eps`.
    dropout: rate after the embeddings and after each sublayer.
    attention_dropout: rate on the attention probabilities.
    activation_dropout: rate after the activation of the feed-forward part.
    final_dropout: rate after `final_norm` (T5).
    head_dropout: rate inside the heads; None means `dropout`.
    init_range: standard deviation of fresh matrices and tables.
    init: 'normal', or 'fan_in' for T5's, where `init_range` is a factor of
      what layers/dense.py gives each of them.
    mixer: file of glue_jax/layers/mixers, or one for each layer.
    ffn: file of glue_jax/layers/ffn, or one for each layer; '' leaves it out,
      and its norm.
    block: file of glue_jax/layers/blocks: where the norms stand.
    norm: file of glue_jax/layers/norms, of the blocks and of `final_norm`.
    stack: file of glue_jax/layers/stacks that runs the blocks.
    embeddings: file of glue_jax/layers/embeddings.
    positions: file of glue_jax/layers/positions that tells attention where a
      token stands; '' leaves that to the embeddings.
    pooler: file of glue_jax/layers/poolers: the vector of a whole row, where
      the family's head reads one.
    projection: a dense layer after the embeddings' LayerNorm (FNet); also
      there when `embedding_size` differs from `hidden_size`.
    project_back: whether the states after the last block are projected to
      `embedding_size` (OPT 350M).
    position_table: whether the embeddings add a table of positions.
    embedding_scale: factor of the word embeddings.
    causal: whether a token attends to itself and earlier ones only.
    num_kv_heads: heads of keys and values, each serving as many of queries
      (Ainslie et al. 2023, arXiv 2305.13245); None means `num_heads`.
    head_dim: width of a head; None means `hidden_size / num_heads`.
    attention_scale: factor of the scores; None means `head_dim ** -0.5`.
    qk_norm: RMSNorm on each head's query and key (Qwen3).
    use_bias: whether dense layers have a bias.
    qkv_bias: the same of query, key and value; None means `use_bias`.
    window: how far apart tokens may stand that attend to each other, on each
      side; None = any.
    rotary_theta, rotary_scaling: see layers/positions/rotary.py; the latter as
      ((key, value), ...).
    shared_layers: whether all layers are one and the same (ALBERT).
    mixer_norm: whether a block of norms before the sublayers has the mixer's.
    final_norm: a norm after the last block.
    output_scale: factor of the states that the head over the vocabulary reads.
    tied: whether the head over the vocabulary uses the word table.
    per_layer: ((field, (value of layer 0, ...)), ...) for what differs.
    decoder: ((field, value), ...) for what differs in the decoder of an
      encoder-decoder; the other fields are those of both.
    start_id: what the inputs of that decoder begin with.
    end_id: token at the end of a text, where the pooler or a decoder reads it.
    options: extra arguments of the parts, ((file, ((name, value), ...)), ...);
      `model.options` of a run's config adds to a preset's, see `with_options`.
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
  pad_id: Whole | None = 0
  special_ids: tuple[Whole, ...] = (101, 102)
  position_offset: Whole = 0
  embedding_size: Count | None = None
  activation: str = 'gelu'
  layer_norm_eps: Positive = 1e-12
  block_norm_eps: Positive | None = None
  dropout: Rate = 0.1
  attention_dropout: Rate = 0.1
  activation_dropout: Rate = 0.0
  final_dropout: Rate = 0.0
  head_dropout: Rate | None = None
  init_range: Positive = 0.02
  init: Annotated[str, OneOf(('normal', 'fan_in'))] = 'normal'
  mixer: str | tuple[str, ...] = 'attention'
  ffn: str | tuple[str, ...] = 'feedforward'
  block: str = 'post'
  norm: str = 'layer'
  stack: str = 'plain'
  embeddings: str = 'bert'
  positions: str = ''
  pooler: str = 'tanh'
  projection: bool = False
  project_back: bool = False
  position_table: bool = True
  embedding_scale: Positive = 1.0
  causal: bool = False
  num_kv_heads: Count | None = None
  head_dim: Count | None = None
  attention_scale: Positive | None = None
  qk_norm: bool = False
  use_bias: bool = True
  qkv_bias: bool | None = None
  window: Whole | None = None
  rotary_theta: Positive = 10_000.0
  rotary_scaling: tuple[tuple[str, Any], ...] = ()
  shared_layers: bool = False
  mixer_norm: bool = True
  final_norm: bool = False
  output_scale: Positive = 1.0
  tied: bool = True
  per_layer: tuple[tuple[str, tuple[Any, ...]], ...] = ()
  decoder: tuple[tuple[str, Any], ...] = ()
  start_id: Whole | None = None
  end_id: Whole | None = None
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
    known = {field.name for field in dataclasses.fields(self)}
    for field, values in self.per_layer:
      if field not in known or len(values) != self.num_layers:
        raise ValueError(
          f'model.per_layer: {len(values)} values of {field!r}; expected a '
          f'field of the config, with one for each of {self.num_layers} layers'
        )
    if unknown := sorted(set(dict(self.decoder)) - known):
      raise ValueError(
        f'model.decoder: nothing reads {unknown}; expected fields of the config'
      )

  @property
  def head_width(self) -> int:
    """Width of a head, K.

    Raises:
      ValueError: the heads don't divide the width.
    """
    if self.head_dim:
      return self.head_dim
    if self.hidden_size % self.num_heads:
      raise ValueError(
        f'model.num_heads={self.num_heads} does not divide '
        f'model.hidden_size={self.hidden_size}'
      )
    return self.hidden_size // self.num_heads

  def layer(self, index: int) -> 'EncoderConfig':
    """Returns the config of one layer, with its own values of `per_layer`."""
    if not self.per_layer:
      return self
    own = {field: values[index] for field, values in self.per_layer}
    return dataclasses.replace(self, per_layer=(), **own)

  @property
  def of_decoder(self) -> 'EncoderConfig':
    """The config of an encoder-decoder's decoder."""
    own: dict[str, Any] = {'causal': True, 'decoder': (), **dict(self.decoder)}
    return dataclasses.replace(self, **own)

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


def make(slot: str, file: str, config: EncoderConfig, **given: Any) -> Any:
  """Builds the part of a slot with its own options.

  Args:
    slot: key of SLOTS.
    file: of the part.
    config: sizes and parts.
    **given: further arguments that whoever asks for it gives, `name` say.

  Raises:
    ValueError: no such part, or it doesn't take one of its options.
  """
  cls = part(slot, file)
  options = dict(dict(config.options).get(file, ()))
  known = {f.name for f in dataclasses.fields(cls)}
  known -= {'parent', 'name', *given}
  unknown = sorted(set(options) - known)
  if unknown:
    raise ValueError(
      f'model.options[{file!r}]: nothing reads {unknown}; it takes '
      f'{sorted(known - {"config"})}'
    )
  return cls(config, **options, **given)


def with_options(
  config: EncoderConfig, options: Mapping[str, Any] | tuple
) -> dict[str, dict[str, Any]]:
  """Returns the options of a config with others added, part by part.

  A part's own sizes (DeBERTa's table of distances) stay as the config has them
  unless they are named themselves.

  Args:
    config: has options.
    options: {file: {name: value}}, or as `freeze` returns it.
  """
  merged = {file: dict(given) for file, given in config.options}
  for file, given in dict(options).items():
    merged[file] = merged.get(file, {}) | dict(given)
  return merged


def freeze(value: Any) -> Any:
  """Returns lists as tuples and dicts as sorted pairs, so that it hashes."""
  if isinstance(value, Mapping):
    return tuple(sorted((k, freeze(v)) for k, v in value.items()))
  if isinstance(value, (list, tuple)):
    return tuple(freeze(v) for v in value)
  return value
