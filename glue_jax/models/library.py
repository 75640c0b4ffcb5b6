"""Keys of Hugging Face's config.json that many families read alike."""

from collections.abc import Mapping
from typing import Any

from glue_jax.layers.spec import EncoderConfig, freeze

_FROM_HF = {
  'gelu': 'gelu',
  'gelu_new': 'gelu_tanh',
  'gelu_pytorch_tanh': 'gelu_tanh',
  'relu': 'relu',
  'silu': 'silu',
  'swish': 'silu',
  'tanh': 'tanh',
}
_TO_HF = {
  'gelu': 'gelu',
  'gelu_tanh': 'gelu_new',
  'relu': 'relu',
  'silu': 'silu',
  'tanh': 'tanh',
}
# Rotary forms and the keys that each needs; see layers/positions/rotary.py.
_ROTARY = {
  'default': (),
  'linear': ('factor',),
  'llama3': (
    'factor',
    'low_freq_factor',
    'high_freq_factor',
    'original_max_position_embeddings',
  ),
}


def fields_from_hf(
  config: Mapping[str, Any],
  fields: Mapping[str, str],
  defaults: Mapping[str, Any],
  activation: str,
) -> dict[str, Any]:
  """Returns the arguments of EncoderConfig that a config.json gives.

  Args:
    config: its content.
    fields: {our field: its key}.
    defaults: of keys that it leaves out.
    activation: its key of the activation.

  Raises:
    ValueError: a key is missing, or the activation isn't known.
  """
  wanted = {**fields, 'activation': activation}
  found = given(config, wanted, defaults)
  own = activation_from_hf(found['activation'], activation)
  return found | {'activation': own}


def given(
  config: Mapping[str, Any],
  fields: Mapping[str, str],
  defaults: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns {our field: what config.json has under its key, or the default}.

  Raises:
    ValueError: a key is missing.
  """
  whole = dict(defaults) | dict(config)
  missing = sorted(set(fields.values()) - set(whole))
  if missing:
    raise ValueError(f'config.json lacks {missing}')
  return {ours: whole[theirs] for ours, theirs in fields.items()}


def apart(
  fields: Mapping[str, Any], decoder: Mapping[str, Any]
) -> tuple[tuple[str, Any], ...]:
  """Returns `EncoderConfig.decoder`: what differs from both stacks' fields."""
  return freeze({k: v for k, v in decoder.items() if v != fields[k]})


def activation_from_hf(name: str, key: str) -> str:
  """Returns our name of an activation.

  Raises:
    ValueError: it isn't known; the message has the `key` of config.json.
  """
  if name not in _FROM_HF:
    raise ValueError(
      f'config.json: {key}={name!r} is not known; there are {sorted(_FROM_HF)}'
    )
  return _FROM_HF[name]


def activation_to_hf(name: str) -> str:
  """Returns the library's name of an activation of ours."""
  return _TO_HF[name]


def fields_to_hf(
  config: EncoderConfig, fields: Mapping[str, str], activation: str
) -> dict[str, Any]:
  """Returns the config.json keys that follow from our config."""
  values = {theirs: getattr(config, ours) for ours, theirs in fields.items()}
  return values | {activation: activation_to_hf(config.activation)}


def refuse(
  config: Mapping[str, Any], only: Mapping[str, Any], inside: str = ''
) -> None:
  """Refuses a config.json that asks for what isn't done here.

  Args:
    config: its content.
    only: {key: the one value that is}; a key that is absent or null passes.
    inside: what stands before the keys in the message.

  Raises:
    ValueError: names the key and both values.
  """
  for key, done in only.items():
    if config.get(key) is not None and config[key] != done:
      raise ValueError(
        f'config.json: {inside}{key}={config[key]!r}, but this model only does '
        f'{done!r}'
      )


def rotary_from_hf(
  config: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[float, tuple]:
  """Returns (theta, scaling as pairs) of a config.json, old form or new.

  Raises:
    ValueError: a form that isn't done here, or one of its keys is missing.
  """
  found = dict(
    config.get('rope_parameters') or config.get('rope_scaling') or {}
  )
  kind = found.pop('rope_type', None) or found.pop('type', None) or 'default'
  found.pop('type', None)
  theta = found.pop('rope_theta', None) or config.get('rope_theta')
  theta = float(theta or defaults['rope_theta'])
  if kind not in _ROTARY:
    raise ValueError(
      f'config.json: rope_type={kind!r}; there are {sorted(_ROTARY)}'
    )
  if set(found) != set(_ROTARY[kind]):
    raise ValueError(
      f'config.json: rotary positions of type {kind!r} have the keys '
      f'{sorted(found)}; expected {sorted(_ROTARY[kind])}'
    )
  return theta, () if kind == 'default' else freeze({'rope_type': kind} | found)


def rotary_to_hf(config: EncoderConfig) -> dict[str, Any]:
  """Returns `rope_parameters` of a config.json."""
  plain = {'rope_type': 'default', 'rope_theta': config.rotary_theta}
  return plain | dict(config.rotary_scaling)
