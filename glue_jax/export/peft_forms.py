"""How each method looks in a folder of Hugging Face's `peft`.

A form is a pair of functions: our leaves to tensors and settings, and back.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from glue_jax import tree
from glue_jax.methods import ia3 as ia3_method
from glue_jax.models import model as models
from glue_jax.models import names
from glue_jax.peft import ia3, prefix, prompt

# Methods whose tensors are one table, beside the model and not inside it.
PROMPTS = ('prefix', 'prompt')
# peft's name for what a head of ours does.
TASK_TYPES = {
  'classification': 'SEQ_CLS',
  'regression': 'SEQ_CLS',
  'token_classification': 'TOKEN_CLS',
  'span': 'QUESTION_ANS',
}
_TABLE = 'prompt_embeddings'
_ADAPTER = re.compile(r'adapters\.\w+\.adapter_(down\.0|up)\.(weight|bias)')


@dataclasses.dataclass(frozen=True)
class Form:
  """One method's form.

  Attributes:
    peft_type: the library's name of the method.
    write: (our leaves, the method's settings, model) -> (tensors, settings).
    read: (tensors, settings, model) -> (our leaves, the method's settings);
      takes what it reads out of the tensors.
  """

  peft_type: str
  write: Callable[[dict, dict, Any], tuple[dict, dict]]
  read: Callable[[dict, dict, Any], tuple[dict, dict]]


def _sites(module) -> dict[str, str]:
  """{our linear layer or table: its name in the library}."""
  found = {}
  for name, target in names.targets(module, models.shapes(module)).items():
    site, _, leaf = name.rpartition('/')
    if leaf in ('kernel', 'embedding'):
      found[site] = target.name.removesuffix('.weight')
  return found


def _every_layer(sites, module, what) -> set[str]:
  """Returns the names inside a layer; all layers must have them."""
  inside = {site.rpartition('/')[2] for site in sites}
  wanted = {
    site
    for site in _sites(module)
    if 'layer_' in site and site.rpartition('/')[2] in inside
  }
  if set(sites) != wanted:
    raise ValueError(
      f'{what} sits on some layers only; without {sorted(wanted - set(sites))}'
    )
  return inside


def _lora_out(leaves, given, module):
  sites, tensors = _sites(module), {}
  for name, value in leaves.items():
    site, _, leaf = name.rpartition('/')
    if leaf not in ('lora_a', 'lora_b') or site not in sites:
      raise ValueError(f'the form of peft has no place for {name}')
    factor = leaf[-1].upper()
    if site.startswith('encoder/embeddings/'):
      tensors[f'{sites[site]}.lora_embedding_{factor}'] = value.T
    else:
      tensors[f'{sites[site]}.lora_{factor}.weight'] = value.T
  return tensors, {
    'r': given['rank'],
    'lora_alpha': given['alpha'],
    'lora_dropout': given['dropout'],
    'use_rslora': given['rank_stabilised'],
    'bias': 'none',
    'target_modules': sorted({n.rpartition('.lora_')[0] for n in tensors}),
  }


def _lora_in(body, config, module):
  ours = {theirs: site for site, theirs in _sites(module).items()}
  leaves = {}
  for name in list(body):
    found = re.fullmatch(r'(.*)\.lora_(embedding_)?([AB])(\.weight)?', name)
    if found and found[1] in ours:
      leaf = f'{ours[found[1]]}/lora_{found[3].lower()}'
      leaves[leaf] = body.pop(name).T
  sites = {name.rpartition('/')[0] for name in leaves}
  tables = {site for site in sites if site.startswith('encoder/embeddings/')}
  return leaves, {
    'rank': config['r'],
    'alpha': float(config['lora_alpha']),
    'dropout': config.get('lora_dropout', 0.0),
    'targets': sorted(_every_layer(sites - tables, module, 'LoRA')),
    'tables': sorted(site.rpartition('/')[2] for site in tables),
    'rank_stabilised': config.get('use_rslora', False),
  }


def _ia3_out(leaves, given, module):
  sites, tensors, inputs = _sites(module), {}, []
  for name, value in leaves.items():
    site, _, leaf = name.rpartition('/')
    if leaf != ia3.LEAF:
      raise ValueError(f'the form of peft has no place for {name}')
    by_input = tree.matches(ia3_method.FORMS[given['form']], site)
    inputs += [sites[site]] if by_input else []
    shape = (1, -1) if by_input else (-1, 1)
    tensors[f'{sites[site]}.ia3_l'] = value.reshape(shape)
  return tensors, {
    'target_modules': sorted(n.removesuffix('.ia3_l') for n in tensors),
    'feedforward_modules': sorted(inputs),
  }


def _ia3_in(body, config, module):
  del config  # shapes say whose input is scaled
  ours = {theirs: site for site, theirs in _sites(module).items()}
  leaves, inputs = {}, set()
  for name in list(body):
    site = ours.get(name.removesuffix('.ia3_l'))
    if site and name.endswith('.ia3_l'):
      value = body.pop(name)
      inputs |= {site.rpartition('/')[2]} if len(value) == 1 else set()
      leaves[f'{site}/{ia3.LEAF}'] = value.reshape(-1)
  sites = {name.rpartition('/')[0] for name in leaves}
  outputs = _every_layer(sites, module, '(IA)3') - inputs
  forms = {'paper': {'ffn_out'}, 'library': {'ffn_out', 'attn_out'}}
  form = [key for key, value in forms.items() if value == inputs]
  if outputs != {'key', 'value'} or not form:
    raise ValueError(
      f'(IA)3 on the outputs of {sorted(outputs)} and the inputs of '
      f'{sorted(inputs)}; known are key and value, with {forms}'
    )
  return leaves, {'form': form[0]}


def _prompts_config(module, length):
  """What both forms of prompts say of the model."""
  if TASK_TYPES.get(module.kind) != 'SEQ_CLS':
    raise ValueError(
      f'peft gives prompts to the classification of sentences only, not to '
      f'{module.kind!r}'
    )
  c = module.config
  return {
    'num_virtual_tokens': length,
    'num_transformer_submodules': 1,
    'num_layers': c.num_layers,
    'num_attention_heads': c.num_heads,
  }


def _prefix_out(leaves, given, module):
  if not given['position_offset']:
    raise ValueError(
      'position_offset=False has no place in the form of peft, which numbers '
      'the positions of real tokens from the length of the prefix on'
    )
  params = tree.unflatten(leaves)
  if given['hidden']:
    params = prefix.drop_mlp(prefix.project(params))
  settings = _prompts_config(module, given['length'])
  settings |= {
    'token_dim': module.config.hidden_size,
    'encoder_hidden_size': module.config.hidden_size,
    'prefix_projection': False,
  }
  return {_TABLE: np.asarray(prefix.table(params))}, settings


def _prefix_in(body, config, module):
  length = config['num_virtual_tokens']
  c = module.config
  values = _table(body, (length, 2 * c.num_layers * c.hidden_size))
  site = 'encoder/layer_{}/mixer/core/prefix_{}'
  sites = [
    site.format(i, leaf)
    for i in range(c.num_layers)
    for leaf in ('key', 'value')
  ]
  leaves = dict(zip(sites, np.split(values, len(sites), 1)))
  return leaves, {'length': length}


def _prompt_out(leaves, given, module):
  if given['pool'] != 'first':
    raise ValueError(
      f'pool={given["pool"]!r} has no place in the form of peft, whose '
      "classifier reads the first prompt: pool='first'"
    )
  settings = _prompts_config(module, given['length'])
  settings |= {'token_dim': leaves[prompt.LEAF].shape[1]}
  settings |= {'prompt_tuning_init': 'RANDOM'}
  return {_TABLE: leaves[prompt.LEAF]}, settings


def _prompt_in(body, config, module):
  length, c = config['num_virtual_tokens'], module.config
  values = _table(body, (length, c.embedding_size or c.hidden_size))
  return {prompt.LEAF: values}, {'length': length, 'pool': 'first'}


def _table(body, shape):
  if _TABLE not in body or body[_TABLE].shape != shape:
    found = body[_TABLE].shape if _TABLE in body else 'nothing'
    raise ValueError(f'{_TABLE}: found {found}, the model needs {shape}')
  return body.pop(_TABLE)


def _pfeiffer_out(leaves, given, module):
  sites, tensors = _sites(module), {}
  for name, value in leaves.items():
    # The LayerNorm has no kernel; the adapter's home is its layer's output.
    found = re.fullmatch(r'(.*)/ln_ffn/adapter_(down|up)_(kernel|bias)', name)
    if not found:
      raise ValueError(f'the form of peft has no place for {name}')
    home = sites[f'{found[1]}/ffn/ffn_out'].removesuffix('.dense')
    part = {'down': 'down.0', 'up': 'up'}[found[2]]
    leaf = {'kernel': 'weight', 'bias': 'bias'}[found[3]]
    tensors[f'{home}.adapters.default.adapter_{part}.{leaf}'] = value.T
  return tensors, {'non_linearity': given['activation']}


def _pfeiffer_in(body, config, module):
  homes = {
    theirs.removesuffix('.dense'): site.removesuffix('/ffn/ffn_out')
    for site, theirs in _sites(module).items()
    if site.endswith('/ffn/ffn_out')
  }
  leaves = {}
  for home, layer in homes.items():
    for name in list(body):
      found = _ADAPTER.fullmatch(name.removeprefix(f'{home}.'))
      if found:
        end = found[1].partition('.')[0]
        leaf = {'weight': 'kernel', 'bias': 'bias'}[found[2]]
        leaves[f'{layer}/ln_ffn/adapter_{end}_{leaf}'] = body.pop(name).T
  sizes = {len(x) for n, x in leaves.items() if n.endswith('down_bias')}
  if len(leaves) != 4 * len(homes) or len(sizes) != 1:
    raise ValueError(
      f'Pfeiffer adapters of the sizes {sorted(sizes)} with {len(leaves)} '
      f'leaves; expected one size and {4 * len(homes)} leaves'
    )
  return leaves, {'size': sizes.pop(), 'activation': config['non_linearity']}


FORMS = {
  'ia3': Form('IA3', _ia3_out, _ia3_in),
  'lora': Form('LORA', _lora_out, _lora_in),
  'pfeiffer': Form('PFEIFFER', _pfeiffer_out, _pfeiffer_in),
  'prefix': Form('PREFIX_TUNING', _prefix_out, _prefix_in),
  'prompt': Form('PROMPT_TUNING', _prompt_out, _prompt_in),
}
