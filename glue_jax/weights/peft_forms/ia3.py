"""(IA)3: vectors on the outputs of layers, or on their inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

from glue_jax import tree
from glue_jax.peft import ia3
from glue_jax.weights.peft_forms import layers, module_names

# Its tensors sit in the layers that they change.
INSIDE = True
_Names = Sequence[str] | str
# {setting that is honoured: (what it may be, the library's default)}.
KEYS: dict[str, tuple[Any, Any]] = {
  'target_modules': (_Names | None, None),
  'exclude_modules': (_Names | None, None),
  'feedforward_modules': (_Names | None, None),
}
NEUTRAL = ('init_ia3_weights',)


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
    by_input = tree.matches(ia3.FORMS[given['form']], site)
    inputs += [sites[site]] if by_input else []
    shape = (1, -1) if by_input else (-1, 1)
    tensors[f'{sites[site]}.ia3_l'] = value.reshape(shape)
  return tensors, {
    'target_modules': sorted(n.removesuffix('.ia3_l') for n in tensors),
    'feedforward_modules': sorted(inputs),
  }


def read(
  body: dict[str, Any], config: Mapping[str, Any], module: Any, bare: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (our leaves, our settings), their tensors taken out of `body`.

  Args:
    body, config, module, bare: see `lora.read`.

  Raises:
    ValueError: vectors on some layers only, or on other layers than ours, or a
      tensor that the settings ask for and isn't there.
  """
  targets = layers.required(config, 'target_modules')
  places = layers.places(module, bare)
  names = module_names.chosen(config, [p.seen for p in places.values()])
  leaves, found = {}, {}
  for site, place in places.items():
    if place.seen in names:
      by_input = _is_feedforward(config, place.seen)
      shape = (1, place.shape[0]) if by_input else (place.shape[1], 1)
      vector = layers.take(body, f'{place.name}.ia3_l', shape, 'target_modules')
      leaves[f'{site}/{ia3.LEAF}'] = vector.reshape(-1)
      found[site] = by_input
  for form, inputs in ia3.FORMS.items():
    ours = '|'.join((*ia3.OUTPUTS, inputs))
    wanted = {
      s: tree.matches(inputs, s) for s in places if tree.matches(ours, s)
    }
    if found == wanted:
      return leaves, {'form': form}
  raise ValueError(
    f'target_modules={targets!r} with '
    f'feedforward_modules={config["feedforward_modules"]!r}; here (IA)3 sits '
    'on key and value of every layer and on the input of output.dense, or '
    'of attention.output.dense too'
  )


def _is_feedforward(config: Mapping[str, Any], name: str) -> bool:
  """As the library's `_check_target_module_feedforward`."""
  modules = config['feedforward_modules'] or ()
  if isinstance(modules, str):
    return module_names.ends_like(modules, name)
  return any(name.endswith(module) for module in modules)
