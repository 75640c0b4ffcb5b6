"""GGUF files for tests, written from the format's specification."""

import struct

import numpy as np

# numpy type of an array -> type of metadata; lists are of texts.
_ARRAYS = {'int32': 5, 'uint32': 4, 'float32': 6}


def text(value):
  data = value.encode()
  return struct.pack('<Q', len(data)) + data


def value(item):
  """A number, text, flag, list of texts or array, with its type."""
  if isinstance(item, str):
    return struct.pack('<I', 8) + text(item)
  if isinstance(item, bool):
    return struct.pack('<I?', 7, item)
  if isinstance(item, int):
    return struct.pack('<II', 4, item)
  if isinstance(item, float):
    return struct.pack('<If', 6, item)
  if isinstance(item, list):
    parts = b''.join(map(text, item))
    return struct.pack('<IIQ', 9, 8, len(item)) + parts
  kind = _ARRAYS[item.dtype.name]
  return struct.pack('<IIQ', 9, kind, len(item)) + item.tobytes()


def write(path, metadata, tensors, version=3):
  """Writes a file.

  Args:
    metadata: {key: see `value`}.
    tensors: {name: (number of its type, shape, bytes)}.
  """
  head = b'GGUF' + struct.pack('<IQQ', version, len(tensors), len(metadata))
  for key, item in metadata.items():
    head += text(key) + value(item)
  data = b''
  for name, (kind, shape, stored) in tensors.items():
    head += text(name) + struct.pack('<I', len(shape))
    head += struct.pack(f'<{len(shape)}Q', *shape[::-1])
    head += struct.pack('<IQ', kind, len(data))
    data += stored + b'\0' * (-len(stored) % 32)
  path.write_bytes(head + b'\0' * (-len(head) % 32) + data)
  return path


def f32(array):
  """A tensor that is stored as it is."""
  array = np.ascontiguousarray(array, np.float32)
  return 0, array.shape, array.tobytes()


BYTES = [chr(i) for i in (*range(33, 127), *range(161, 173), *range(174, 256))]
BYTES += [chr(256 + i) for i in range(68)]
TOKENS = ['<|end|>', '<|user|>', *BYTES, 'Ġt', 'Ġth', 'Ġthe', 'Ġ1']
MERGES = ['Ġ t', 'Ġt h', 'Ġth e', 'Ġ 1']
TEMPLATE = "{{ '<|user|>' }}"


def tokenizer(**changes):
  """Metadata of a tokenizer of all bytes and a few merges."""
  kinds = np.ones(len(TOKENS), np.int32)
  kinds[:2] = 3
  return {
    f'tokenizer.{key}': item
    for key, item in {
      'ggml.model': 'gpt2',
      'ggml.pre': 'smollm',
      'ggml.tokens': TOKENS,
      'ggml.token_type': kinds,
      'ggml.merges': MERGES,
      'ggml.eos_token_id': 0,
      'ggml.bos_token_id': 1,
      'ggml.padding_token_id': 0,
      'ggml.add_bos_token': True,
      'chat_template': TEMPLATE,
    }.items()
  } | changes


_NAMES = {
  'input_layernorm': 'attn_norm', 'post_attention_layernorm': 'ffn_norm',
  'self_attn.q_proj': 'attn_q', 'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v', 'self_attn.o_proj': 'attn_output',
  'self_attn.q_norm': 'attn_q_norm', 'self_attn.k_norm': 'attn_k_norm',
  'mlp.gate_proj': 'ffn_gate', 'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down', 'model.embed_tokens': 'token_embd',
  'model.norm': 'output_norm', 'lm_head': 'output',
}  # fmt: skip


def of_model(path, model, further=None, **changes):
  """Writes a model of the library as llama.cpp's converter does.

  Args:
    further: more tensors.
    **changes: of the metadata.
  """
  c, family = model.config, model.config.model_type
  heads = {'attn_q': c.num_attention_heads, 'attn_k': c.num_key_value_heads}
  tensors = dict(further or {})
  for name, leaf in model.state_dict().items():
    if name == 'lm_head.weight' and c.tie_word_embeddings:
      continue
    module, _, last = name.rpartition('.')
    start = ''
    if module.startswith('model.layers.'):
      _, _, number, module = module.split('.', 3)
      start = f'blk.{number}.'
    part, array = _NAMES[module], leaf.numpy()
    if family == 'llama' and part in heads:
      halves = array.reshape(heads[part], 2, -1, *array.shape[1:])
      array = halves.swapaxes(1, 2).reshape(array.shape)
    tensors[f'{start}{part}.{last}'] = f32(array)
  sizes = {
    'block_count': c.num_hidden_layers,
    'context_length': c.max_position_embeddings,
    'embedding_length': c.hidden_size,
    'feed_forward_length': c.intermediate_size,
    'attention.head_count': c.num_attention_heads,
    'attention.head_count_kv': c.num_key_value_heads,
    'attention.key_length': c.head_dim,
    'attention.layer_norm_rms_epsilon': c.rms_norm_eps,
    'rope.freq_base': float(c.rope_parameters['rope_theta']),
  }
  metadata = {'general.architecture': family}
  metadata |= {f'{family}.{key}': item for key, item in sizes.items()}
  return write(path, metadata | tokenizer() | changes, tensors)
