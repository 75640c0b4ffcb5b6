"""LoRA: factors of linear layers and of embedding tables."""

import re
from collections.abc import Mapping
from typing import Any

from glue_jax.export.peft_forms import layers

# Its tensors sit in the layers that they change.
INSIDE = True


def write(
  leaves: Mapping[str, Any], given: Mapping[str, Any], module: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (tensors, settings in the library) of our leaves and settings.

  Raises:
    ValueError: a leaf that the form has no place for.
  """
  sites, tensors = layers.sites(module), {}
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


def read(
  body: dict[str, Any], config: Mapping[str, Any], module: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (our leaves, our settings), their tensors taken out of `body`.

  Raises:
    ValueError: factors on some layers only.
  """
  ours = {theirs: site for site, theirs in layers.sites(module).items()}
  leaves = {}
  for name in list(body):
    hit = re.fullmatch(r'(.*)\.lora_(embedding_)?([AB])(\.weight)?', name)
    if hit and hit[1] in ours:
      leaf = f'{ours[hit[1]]}/lora_{hit[3].lower()}'
      leaves[leaf] = body.pop(name).T
  sites = {name.rpartition('/')[0] for name in leaves}
  tables = {site for site in sites if site.startswith('encoder/embeddings/')}
  return leaves, {
    'rank': config['r'],
    'alpha': float(config['lora_alpha']),
    'dropout': config.get('lora_dropout', 0.0),
    'targets': sorted(layers.in_every(sites - tables, module, 'LoRA')),
    'tables': sorted(site.rpartition('/')[2] for site in tables),
    'rank_stabilised': config.get('use_rslora', False),
  }
