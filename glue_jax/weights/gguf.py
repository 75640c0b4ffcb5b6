"""A GGUF file as a Hugging Face folder: its config.json, tensors by its names.

What llama.cpp's converter (convert_hf_to_gguf) does is undone: names, and in
LLaMA the order of the rows of queries and keys, whose rotary halves it
interleaves. Values are float32, whatever they are stored as.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from glue_jax.data.readers import gguf

# general.architecture -> architecture of the library; model_type is the same.
_ARCHITECTURES = {
  'llama': 'LlamaForCausalLM',
  'qwen2': 'Qwen2ForCausalLM',
  'qwen3': 'Qwen3ForCausalLM',
}
_INTERLEAVED = ('llama',)
_TOPS = {
  'token_embd': 'model.embed_tokens',
  'output_norm': 'model.norm',
  'output': 'lm_head',
}
_OF_LAYERS = {
  'attn_norm': 'input_layernorm',
  'attn_q': 'self_attn.q_proj',
  'attn_k': 'self_attn.k_proj',
  'attn_v': 'self_attn.v_proj',
  'attn_output': 'self_attn.o_proj',
  'attn_q_norm': 'self_attn.q_norm',
  'attn_k_norm': 'self_attn.k_norm',
  'ffn_norm': 'post_attention_layernorm',
  'ffn_gate': 'mlp.gate_proj',
  'ffn_up': 'mlp.up_proj',
  'ffn_down': 'mlp.down_proj',
}
# Key of config.json -> key of the metadata, after the architecture.
_SIZES = {
  'hidden_size': 'embedding_length',
  'num_hidden_layers': 'block_count',
  'num_attention_heads': 'attention.head_count',
  'intermediate_size': 'feed_forward_length',
  'max_position_embeddings': 'context_length',
}
_TOKENS = {'bos': 'bos', 'eos': 'eos', 'pad': 'padding'}


@dataclasses.dataclass(frozen=True)
class Stored:
  """A tensor under a name of the library.

  Attributes:
    tensor: of the file.
    rotary_heads: heads whose rotary halves are interleaved there; 0 = none.
  """

  tensor: gguf.Tensor
  rotary_heads: int = 0

  def get_tensor(self, _name: str) -> np.ndarray:
    """Returns its values, as an open safetensors file does."""
    value = self.tensor.read()
    if not self.rotary_heads:
      return value
    rows, *width = value.shape
    pairs = value.reshape(self.rotary_heads, -1, 2, *width)
    return pairs.swapaxes(1, 2).reshape(rows, *width)


def config(path: str | os.PathLike) -> dict[str, Any]:
  """Returns what the config.json of the model would hold.

  Raises:
    ValueError: a model that isn't read here, or metadata that is missing.
  """
  file = gguf.read(path)
  family = file.get('general.architecture')
  if family not in _ARCHITECTURES:
    raise ValueError(
      f'{path}: general.architecture={family!r} is not read here; there are '
      f'{sorted(_ARCHITECTURES)}'
    )

  def get(key, default=None):
    return file.get(f'{family}.{key}', default)

  sizes = {ours: _whole(path, key, get(key)) for ours, key in _SIZES.items()}
  heads, width = sizes['num_attention_heads'], sizes['hidden_size']
  groups = get('attention.head_count_kv', heads)
  head = get(
    'attention.key_length', get('rope.dimension_count', width // heads)
  )
  table = file.tensors.get('token_embd.weight')
  tokens = {
    f'{ours}_token_id': file.metadata.get(f'tokenizer.ggml.{theirs}_token_id')
    for ours, theirs in _TOKENS.items()
  }
  return sizes | {
    'model_type': family,
    'architectures': [_ARCHITECTURES[family]],
    'vocab_size': table.shape[0] if table else get('vocab_size'),
    'num_key_value_heads': _whole(path, 'attention.head_count_kv', groups),
    'head_dim': _whole(path, 'attention.key_length', head),
    'hidden_act': 'silu',
    'rms_norm_eps': _shortest(get('attention.layer_norm_rms_epsilon')),
    'rope_parameters': _rotary(file, get),
    'tie_word_embeddings': 'output.weight' not in file.tensors,
    **tokens,
  }


def tensors(path: str | os.PathLike) -> dict[str, Stored]:
  """Returns {the library's name: tensor}, values unread.

  Names that aren't known stay as they are.

  Raises:
    ValueError: see `config`.
  """
  file, sizes = gguf.read(path), config(path)
  heads = {}
  if sizes['model_type'] in _INTERLEAVED:
    heads = {
      'attn_q': sizes['num_attention_heads'],
      'attn_k': sizes['num_key_value_heads'],
    }
  found = {}
  for name, tensor in file.tensors.items():
    hit = re.fullmatch(r'(?:blk\.(\d+)\.)?(.*)\.(weight|bias)', name)
    layer, part, leaf = hit.groups() if hit else (None, name, '')
    if layer is None:
      theirs = _TOPS.get(part)
    else:
      theirs = _OF_LAYERS.get(part)
      theirs = theirs and f'model.layers.{layer}.{theirs}'
    key = f'{theirs}.{leaf}' if theirs else name
    found[key] = Stored(tensor, heads.get(part, 0) if theirs else 0)
  return found


def _whole(path: str | os.PathLike, key: str, value: Any) -> int:
  if not isinstance(value, int) or value < 1:
    raise ValueError(
      f'{Path(path)}: {key} is {value!r}; expected one whole number for all '
      'layers'
    )
  return value


def _shortest(value: float) -> float:
  """The decimal that a float32 stands for: 1e-05, not 9.99999975e-06."""
  return float(str(np.float32(value)))


def _rotary(file: gguf.File, get: Callable[..., Any]) -> Mapping[str, Any]:
  """`rope_parameters` of config.json."""
  if 'rope_freqs.weight' in file.tensors:
    raise ValueError(
      f'{file.path}: rope_freqs.weight stretches each rotary frequency by its '
      'own factor (LLaMA 3.1 and later), which is not read here; take the '
      'folder of safetensors'
    )
  kind = get('rope.scaling.type', 'none')
  plain = {'rope_type': 'default', 'rope_theta': get('rope.freq_base', 1e4)}
  if kind == 'none':
    return plain
  if kind != 'linear':
    raise ValueError(
      f'{file.path}: rope.scaling.type={kind!r}; read here are none and linear'
    )
  return plain | {'rope_type': 'linear', 'factor': get('rope.scaling.factor')}
