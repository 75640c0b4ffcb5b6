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
SHARED = ('initial', 'library', 'model', 'names', 'shapes', 'stack')

# Kinds that are served by the head of another one.
ALIASES = {'language_modeling': 'mlm', 'multilabel': 'classification'}


class Model(nn.Module):
  """Encoder or decoder, pooler where the family has one, and head.

  Which of the two, the family's `SHAPE` says; the leaves have it as their
  first name.

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
    """'encoder' or 'decoder'."""
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
        (default: all). Other fields aren't read.
      train: turns dropout on; needs the rng 'dropout'.

    Returns:
      last_hidden (B, L, D), hidden_states (N + 1 of them), pooled (B, D) where
      the family pools, and float32 logits: classification and multiple choice
      (B, C), regression (B,), token classification (B, L, C), masked language
      model (B, L, V) or (B, K, V); spans start_logits and end_logits (B, L).
      With multiple choice the other outputs have B * C rows.
    """
    ids = jnp.asarray(batch['input_ids'])
    shape, rows = ids.shape, (-1, ids.shape[-1])
    mask = batch.get('attention_mask')
    types = batch.get('token_type_ids')
    ids = ids.reshape(rows)
    if mask is not None:
      mask = mask.reshape(rows)
    else:
      pad_id = -1 if self.config.pad_id is None else self.config.pad_id
      mask = ids != pad_id
    types = jnp.zeros_like(ids) if types is None else types.reshape(rows)
    segments = batch.get('segment_ids')
    if segments is not None:
      segments = segments.reshape(rows)
    if self.shape == 'decoder':
      stack = self.decoder
      outputs = stack(ids, mask, train)
    else:
      stack = self.encoder
      outputs = stack(ids, mask, types, train, segments)
    chosen = self.tables.HEADS[self.kind]
    if chosen.pooled:
      context = BatchContext(mask != 0)
      outputs['pooled'] = self.pooler(outputs['last_hidden'], context)
    if chosen.module is not None:
      seen = outputs
      if self.kind in WORDS and 'positions' in batch:
        wanted = batch['positions'][..., None]
        hidden = jnp.take_along_axis(outputs['last_hidden'], wanted, axis=1)
        seen = outputs | {'last_hidden': hidden}
      outputs |= self.head(seen, stack.attend, train)
    if self.kind == 'multiple_choice':
      outputs['logits'] = outputs['logits'].reshape(shape[:-1])
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
    kind: a task's kind, 'mlm', 'causal_lm', or 'encoder' for no head.
    num_outputs: number of logits; not needed for 'regression', 'span',
      'multiple_choice', 'mlm', 'causal_lm' and 'encoder'.
    config: sizes read from a folder (huggingface.read_hf_config), in place of a
      preset.
    **overrides: fields of EncoderConfig.

  Returns:
    the unbound module.

  Raises:
    ValueError: an unknown name, preset, kind or field, or both or neither of
      preset and config; the message lists what there is.
  """
  module = family(name)
  if kind == 'language_modeling' and getattr(module, 'SHAPE', '') == 'decoder':
    kind = 'causal_lm'
  kind = ALIASES.get(kind, kind)
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
  fixed = {
    'regression': 1, 'multiple_choice': 1, 'span': 2, 'sentence_structure': 3,
  }  # fmt: skip
  num_outputs = fixed.get(kind, num_outputs)
  if kind in ('classification', 'token_classification') and num_outputs < 1:
    raise ValueError(f'{kind} needs num_outputs >= 1, found {num_outputs}')
  overrides = {key: freeze(value) for key, value in overrides.items()}
  if config.position_offset and 'pad_id' in overrides:
    # Positions start after the one that padding has.
    overrides.setdefault('position_offset', overrides['pad_id'] + 1)
  config = dataclasses.replace(config, **overrides)
  stack = spec.part('stack', config.stack)
  kinds = getattr(stack, 'kinds', (kind,))
  if kind not in kinds:
    raise ValueError(
      f'model.stack={config.stack!r} serves the heads {kinds}, not {kind!r}'
    )
  if hasattr(stack, 'check'):
    stack.check(config)
  return Model(config, name, kind, num_outputs)


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
