"""A stack with the head of a task, built by name."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from glue_jax import models
from glue_jax.layers import spec
from glue_jax.layers.context import BatchContext
from glue_jax.layers.kinds import WORDS
from glue_jax.layers.spec import EncoderConfig, freeze
from glue_jax.models import stack as stack_lib

# In a file of their own: who asks for names and shapes needs no encoder.
from glue_jax.models.shapes import example_batch as example_batch
from glue_jax.models.shapes import shapes as shapes

# Files of glue_jax/models that aren't a family of models.
SHARED = (
  'initial', 'library', 'model', 'names', 'seq2seq', 'shapes', 'stack',
)  # fmt: skip

# The head of language modelling, by a family's shape.
_LANGUAGE = {'encoder': 'mlm', 'decoder': 'causal_lm', 'seq2seq': 'seq2seq_lm'}
# Other kinds that are served by the head of another one.
_SERVED = {
  'multilabel': 'classification',
  'next_sentence': 'sentence_structure',
  'sentence_order': 'sentence_structure',
  'sentences': 'encoder',
}


class Model(nn.Module):
  """Encoder, decoder or both, pooler where the family has one, and head.

  Which of them, the family's `SHAPE` says; the leaves have it as their first
  name.

  Attributes:
    config: sizes and parts.
    family: file of glue_jax/models.
    kind: key of the family's HEADS.
    num_outputs: number of logits C.
  """

  config: EncoderConfig
  family: str
  kind: str
  num_outputs: int

  @property
  def tables(self) -> ModuleType:
    """The family's module: PRESETS, HEADS, NAMES and the like."""
    return family(self.family)

  @property
  def shape(self) -> str:
    """'encoder', 'decoder' or 'seq2seq', which has both."""
    return getattr(self.tables, 'SHAPE', 'encoder')

  @property
  def rules(self) -> tuple:
    """(pattern, mesh axes) of the parameters: the family's, or the stack's."""
    return getattr(self.tables, 'RULES', stack_lib.RULES)

  def setup(self):
    c, chosen = self.config, self.tables.HEADS[self.kind]
    if self.shape == 'decoder':
      self.decoder = stack_lib.Decoder(c)
    else:
      self.encoder = stack_lib.Encoder(c)
    if self.shape == 'seq2seq':
      words = self.encoder.embeddings.word
      self.decoder = stack_lib.Decoder(c.of_decoder, cross=True, words=words)
    if chosen.pooled:
      self.pooler = spec.make('pooler', c.pooler, c)
    if chosen.module is not None:
      self.head = chosen.module(c, self.num_outputs, **dict(chosen.options))

  def __call__(
    self, batch: Mapping[str, jax.Array], train: bool = False
  ) -> dict[str, Any]:
    """Runs stack and head.

    Args:
      batch: input_ids (B, L) or, for multiple choice, (B, C, L); optional
        attention_mask (default: input_ids != pad_id), token_type_ids
        (default 0) and segment_ids of the same shape; of a masked language
        model optional positions (B, K), the tokens whose logits are wanted
        (default: all); of an encoder-decoder what `decode` reads; optional
        last_hidden (B, L, D), states that the head reads in place of the
        stack's. Other fields aren't read.
      train: turns dropout on; needs the rng 'dropout'.

    Returns:
      last_hidden (B, L, D), hidden_states (N + 1 of them), pooled (B, D) where
      the family pools, and float32 logits: classification and multiple choice
      (B, C), regression (B,), token classification (B, L, C), masked language
      model (B, L, V) or (B, K, V); spans start_logits and end_logits (B, L).
      With multiple choice the other outputs have B * C rows. Of an
      encoder-decoder last_hidden and hidden_states are the decoder's, (B, T,
      D); the encoder's have `encoder_` before their names.
    """
    if self.shape == 'seq2seq' and 'input_ids' not in batch:
      return self.decode(batch, None, train)  # the cache has the encoder's part
    outputs = self.encode(batch, train)
    if self.shape == 'seq2seq':
      return self.decode(batch, outputs['last_hidden'], train) | {
        f'encoder_{name}': value for name, value in outputs.items()
      }
    return self._headed(outputs, batch, train)

  def encode(
    self, batch: Mapping[str, jax.Array], train: bool = False
  ) -> dict[str, Any]:
    """Runs the stack that reads the input, without a head.

    Args:
      batch, train: see `__call__`.

    Returns:
      last_hidden (B, L, D) and hidden_states, none where last_hidden is given.
    """
    if 'last_hidden' in batch:
      return {'last_hidden': batch['last_hidden'], 'hidden_states': ()}
    ids, mask = self._input(batch)
    if self.shape == 'decoder':
      return self.decoder(ids, mask, train)
    types, segments = (
      None if batch.get(name) is None else batch[name].reshape(ids.shape)
      for name in ('token_type_ids', 'segment_ids')
    )
    types = jnp.zeros_like(ids) if types is None else types
    return self.encoder(ids, mask, types, train, segments)

  def decode(
    self,
    batch: Mapping[str, jax.Array],
    memory: jax.Array | None,
    train: bool = False,
  ) -> dict[str, Any]:
    """Runs an encoder-decoder's decoder and the head.

    Args:
      batch: input_ids and attention_mask of what was encoded; optional
        decoder_input_ids (B, T) (default: the input_ids one position later,
        after `start_id`) and their decoder_attention_mask (default: all real,
        for nothing real comes after padding).
      memory: (B, L, D), the encoder's states; None where a cache has their
        keys, and then the batch is that of the decoder alone.
      train: turns dropout on.

    Returns:
      see `__call__`.
    """
    ids, mask = (None, None) if memory is None else self._input(batch)
    given = batch.get('decoder_input_ids')
    given = stack_lib.shifted(ids, self.config) if given is None else given
    real = batch.get('decoder_attention_mask')
    real = jnp.ones_like(given) if real is None else real
    outputs = self.decoder(given, real, train, memory, mask)
    return self._headed(outputs, batch, train)

  def _input(self, batch):
    """Ids and mask as (B, L), of multiple choice (B * C, L)."""
    ids = jnp.asarray(batch['input_ids'])
    ids = ids.reshape(-1, ids.shape[-1])
    mask = batch.get('attention_mask')
    if mask is not None:
      return ids, mask.reshape(ids.shape)
    pad_id = -1 if self.config.pad_id is None else self.config.pad_id
    return ids, ids != pad_id

  def _headed(self, outputs, batch, train):
    """Adds what pooler and head make of a stack's outputs."""
    chosen = self.tables.HEADS[self.kind]
    if chosen.pooled:
      ids, mask = self._input(batch)
      context = BatchContext(mask != 0, input_ids=ids)
      outputs['pooled'] = self.pooler(outputs['last_hidden'], context)
    if chosen.module is not None:
      seen = outputs
      if self.kind in WORDS and 'positions' in batch:
        wanted = batch['positions'][..., None]
        hidden = jnp.take_along_axis(outputs['last_hidden'], wanted, axis=1)
        seen = outputs | {'last_hidden': hidden}
      words = self.decoder if self.shape == 'decoder' else self.encoder
      outputs |= self.head(seen, words.attend, train)
    if self.kind == 'multiple_choice':
      rows = jnp.shape(batch['input_ids'])[:-1]
      outputs['logits'] = outputs['logits'].reshape(rows)
    return outputs


def build(
  name: str,
  preset: str | None = None,
  kind: str = 'encoder',
  num_outputs: int = 0,
  config: EncoderConfig | None = None,
  **overrides: Any,
) -> Model:
  """Builds a model by name.

  Args:
    name: file of glue_jax/models, for example 'bert'.
    preset: key of the family's PRESETS.
    kind: a task's kind, 'mlm', 'causal_lm', 'seq2seq_lm', or 'encoder' for no
      head.
    num_outputs: number of logits; not needed for 'regression', 'span',
      'multiple_choice', 'encoder' and heads over the vocabulary.
    config: sizes read from a folder (huggingface.read_hf_config), in place of a
      preset.
    **overrides: fields of EncoderConfig. Options of a part are added to those
      that the sizes have; what isn't named stays.

  Returns:
    the unbound module.

  Raises:
    ValueError: an unknown name, preset, kind or field, or both or neither of
      preset and config; the message lists what there is.
  """
  module = family(name)
  kind = head_kind(name, kind)
  if kind not in module.HEADS:
    raise ValueError(
      f'{name} has no head of kind {kind!r}; there are {sorted(module.HEADS)}'
    )
  if (preset is None) == (config is None):
    raise ValueError('give either model.preset or a config read from a folder')
  if config is None:
    if preset not in module.PRESETS:
      raise ValueError(
        f'model.preset={preset!r}: {name} has {sorted(module.PRESETS)}'
      )
    config = module.PRESETS[preset]
  known = [field.name for field in dataclasses.fields(EncoderConfig)]
  unknown = sorted(set(overrides) - set(known))
  if unknown:
    raise ValueError(
      f'config.model: nothing reads {unknown}; known are {known}'
    )
  fixed = {'regression': 1, 'multiple_choice': 1, 'span': 2}
  num_outputs = fixed.get(kind, num_outputs)
  if kind == 'sentence_structure':  # or the two of one of its aliases
    num_outputs = num_outputs or 3
  if kind in ('classification', 'token_classification') and num_outputs < 1:
    raise ValueError(f'{kind} needs num_outputs >= 1, found {num_outputs}')
  if 'options' in overrides:
    overrides['options'] = spec.with_options(config, overrides['options'])
  overrides = {key: freeze(value) for key, value in overrides.items()}
  if config.position_offset and 'pad_id' in overrides:
    # Positions start after the one that padding has.
    overrides.setdefault('position_offset', overrides['pad_id'] + 1)
  if config.start_id is not None:
    # The decoder begins with the token that stands there in the preset.
    role = 'pad_id' if config.start_id == config.pad_id else 'end_id'
    if role in overrides:
      overrides.setdefault('start_id', overrides[role])
  config = dataclasses.replace(config, **overrides)
  stack = spec.part('stack', config.stack)
  if hasattr(stack, 'choose'):
    config = dataclasses.replace(config, stack=stack.choose(config, kind))
    stack = spec.part('stack', config.stack)
  kinds = getattr(stack, 'kinds', (kind,))
  if kind not in kinds:
    raise ValueError(
      f'model.stack={config.stack!r} serves the heads {kinds}, not {kind!r}'
    )
  if hasattr(stack, 'check'):
    stack.check(config)
  return Model(config, name, kind, num_outputs)


def head_kind(name: str, kind: str) -> str:
  """Returns the kind of head that serves a kind of task in a family."""
  shape = getattr(family(name), 'SHAPE', 'encoder')
  if kind == 'generation' and shape == 'encoder':
    raise ValueError(
      f'model.name={name!r} is an encoder and writes no text; take a decoder '
      '(llama, qwen2, ...) or an encoder-decoder (bart, t5)'
    )
  if kind in ('language_modeling', 'generation'):
    return _LANGUAGE[shape]
  return _SERVED.get(kind, kind)


def family(name: str) -> ModuleType:
  """Imports `glue_jax/models/<name>.py`.

  Raises:
    ValueError: there is no such file; the message lists those there are.
  """
  names = sorted(m.name for m in pkgutil.iter_modules(models.__path__))
  names = [n for n in names if n not in SHARED]
  if name not in names:
    raise ValueError(
      f'model.name={name!r}: no file glue_jax/models/{name}.py; there are '
      f'{names}'
    )
  return importlib.import_module(f'glue_jax.models.{name}')
