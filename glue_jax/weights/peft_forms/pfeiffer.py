"""Pfeiffer adapters, in tensor names of the `adapters` library.

`peft` has no bottleneck adapters: this form is ours, and it refuses to load it.
"""

import re
from collections.abc import Mapping
from typing import Any

from glue_jax.layers.activations import Activation
from glue_jax.weights.peft_forms import layers

# Its tensors sit in the layers that they change.
INSIDE = True
# {setting that is honoured: (what it may be, the default)}.
KEYS: dict[str, tuple[Any, Any]] = {'non_linearity': (Activation, 'relu')}
NEUTRAL: tuple[str, ...] = ()
_ADAPTER = re.compile(r'adapters\.\w+\.adapter_(down\.0|up)\.(weight|bias)')


def write(
  leaves: Mapping[str, Any], given: Mapping[str, Any], module: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (tensors, settings in the library) of our leaves and settings.

  Raises:
    ValueError: a leaf that the form has no place for.
  """
  sites, tensors = layers.sites(module), {}
  for name, value in leaves.items():
    # The LayerNorm has no kernel; the adapter's home is its layer's output.
    hit = re.fullmatch(r'(.*)/ln_ffn/adapter_(down|up)_(kernel|bias)', name)
    if not hit:
      raise ValueError(f'the form of peft has no place for {name}')
    home = sites[f'{hit[1]}/ffn/ffn_out'].removesuffix('.dense')
    part = {'down': 'down.0', 'up': 'up'}[hit[2]]
    leaf = {'kernel': 'weight', 'bias': 'bias'}[hit[3]]
    tensors[f'{home}.adapters.default.adapter_{part}.{leaf}'] = value.T
  return tensors, {'non_linearity': given['activation']}


def read(
  body: dict[str, Any], config: Mapping[str, Any], module: Any, bare: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (our leaves, our settings), their tensors taken out of `body`.

  Args:
    body, config, module, bare: see `lora.read`.

  Raises:
    ValueError: adapters on some layers only, or of several sizes.
  """
  del bare
  homes = {
    theirs.removesuffix('.dense'): site.removesuffix('/ffn/ffn_out')
    for site, theirs in layers.sites(module).items()
    if site.endswith('/ffn/ffn_out')
  }
  leaves = {}
  for home, layer in homes.items():
    for name in list(body):
      hit = _ADAPTER.fullmatch(name.removeprefix(f'{home}.'))
      if hit:
        end = hit[1].partition('.')[0]
        leaf = {'weight': 'kernel', 'bias': 'bias'}[hit[2]]
        leaves[f'{layer}/ln_ffn/adapter_{end}_{leaf}'] = body.pop(name).T
  sizes = {len(x) for n, x in leaves.items() if n.endswith('down_bias')}
  if len(leaves) != 4 * len(homes) or len(sizes) != 1:
    raise ValueError(
      f'Pfeiffer adapters of the sizes {sorted(sizes)} with {len(leaves)} '
      f'leaves; expected one size and {4 * len(homes)} leaves'
    )
  return leaves, {'size': sizes.pop(), 'activation': config['non_linearity']}
