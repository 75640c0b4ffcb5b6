"""(IA)3: vectors on the outputs of layers, or on their inputs."""

from collections.abc import Mapping
from typing import Any

from glue_jax import tree
from glue_jax.export.peft_forms import layers
from glue_jax.methods import ia3 as ia3_method
from glue_jax.peft import ia3

# Its tensors sit in the layers that they change.
INSIDE = True


def write(
  leaves: Mapping[str, Any], given: Mapping[str, Any], module: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (tensors, settings in the library) of our leaves and settings.

  Raises:
    ValueError: a leaf that the form has no place for.
  """
  sites, tensors, inputs = layers.sites(module), {}, []
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


def read(
  body: dict[str, Any], config: Mapping[str, Any], module: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (our leaves, our settings), their tensors taken out of `body`.

  Raises:
    ValueError: vectors on some layers only, or on other layers than ours.
  """
  del config  # shapes say whose input is scaled
  ours = {theirs: site for site, theirs in layers.sites(module).items()}
  leaves, inputs = {}, set()
  for name in list(body):
    site = ours.get(name.removesuffix('.ia3_l'))
    if site and name.endswith('.ia3_l'):
      value = body.pop(name)
      inputs |= {site.rpartition('/')[2]} if len(value) == 1 else set()
      leaves[f'{site}/{ia3.LEAF}'] = value.reshape(-1)
  sites = {name.rpartition('/')[0] for name in leaves}
  outputs = layers.in_every(sites, module, '(IA)3') - inputs
  forms = {'paper': {'ffn_out'}, 'library': {'ffn_out', 'attn_out'}}
  form = [key for key, value in forms.items() if value == inputs]
  if outputs != {'key', 'value'} or not form:
    raise ValueError(
      f'(IA)3 on the outputs of {sorted(outputs)} and the inputs of '
      f'{sorted(inputs)}; known are key and value, with {forms}'
    )
  return leaves, {'form': form[0]}
