"""LoRA and DoRA: factors of linear layers and of embedding tables."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from glue_jax.config import ranges
from glue_jax.layers import paths
from glue_jax.peft import dora, lora
from glue_jax.weights.peft_forms import layers, module_names

# Its tensors sit in the layers that they change.
INSIDE = True
_Names = Sequence[str] | str
# {setting that is honoured: (what it may be, the library's default)}.
KEYS: dict[str, tuple[Any, Any]] = {
  'r': (ranges.Count, 8),
  'lora_alpha': (ranges.Positive, 8),
  'lora_dropout': (ranges.Rate, 0.0),
  'target_modules': (_Names | None, None),
  'exclude_modules': (_Names | None, None),
  'layers_to_transform': (
    Sequence[ranges.Whole] | ranges.Whole | None,
    None,
  ),
  'layers_pattern': (_Names | None, None),
  'rank_pattern': (Mapping[str, ranges.Count] | None, None),
  'alpha_pattern': (Mapping[str, ranges.Positive] | None, None),
  'bias': (Literal['none', 'all', 'lora_only'], 'none'),
  'use_rslora': (bool, False),
  'use_dora': (bool, False),
  'init_lora_weights': (bool | str | None, True),
}
# What others ask for: how EVA drew the factors, where Megatron's code lies,
# QALoRA's pooling (off without use_qalora), where DoRA is initialised.
NEUTRAL = ('eva_config', 'megatron_core', 'qalora_group_size', 'runtime_config')
# Ways to draw the factors that leave the weights beside them alone.
_DRAWS = ('eva', 'gaussian', 'mica', 'orthogonal')


def write(
  leaves: Mapping[str, Any], given: Mapping[str, Any], module: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (tensors, settings in the library) of our leaves and settings.

  Raises:
    ValueError: a leaf that the form has no place for.
  """
  places, tensors, ranks = layers.places(module), {}, {}
  biases = {name for name in leaves if name in layers.biases(module)}
  for name in leaves.keys() - biases:
    site, _, leaf = name.rpartition('/')
    if leaf not in ('lora_a', 'lora_b', dora.LEAF) or site not in places:
      raise ValueError(f'the form of peft has no place for {name}')
    if leaf == 'lora_a':
      ranks[site] = leaves[name].shape[1]
    tensors[_tensor(places[site], leaf)] = leaves[name].T
  kind = _bias_kind(biases, ranks, module)
  for name in biases:
    theirs = layers.biases(module)[name].name
    if name.removesuffix('/bias') in ranks:
      theirs = theirs.replace('.bias', '.base_layer.bias')
    tensors[theirs] = leaves[name]
  alphas = {
    site: lora.by_layer(given['alpha'], given['alpha_pattern'])(site)
    for site in ranks
  }
  return tensors, {
    'r': given['rank'],
    'lora_alpha': given['alpha'],
    'rank_pattern': _others(ranks, given['rank'], places),
    'alpha_pattern': _others(alphas, given['alpha'], places),
    'lora_dropout': given['dropout'],
    'use_rslora': given['rank_stabilised'],
    'use_dora': given['dora'],
    'bias': kind,
    'target_modules': sorted(places[site].name for site in ranks),
  }


def read(
  body: dict[str, Any], config: Mapping[str, Any], module: Any, bare: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns (our leaves, our settings), their tensors taken out of `body`.

  Args:
    body: {name in the library's model with a head: tensor}.
    config: the library's settings, complete.
    module: the `Model`.
    bare: whether the adapted model was an encoder without a head.

  Raises:
    ValueError: a setting that changes what stands beside the factors, no layer
      that the settings name, or a tensor that they ask for and isn't there.
  """
  _check_draws(config)
  places = _chosen(config, module, bare)
  ranks, alphas, leaves = {}, {}, {}
  for site, place in places.items():
    ranks[site] = rank = module_names.number(
      config['rank_pattern'] or {}, place.seen, config['r']
    )
    alphas[site] = module_names.number(
      config['alpha_pattern'] or {}, place.seen, config['lora_alpha']
    )
    shapes = {
      'lora_a': (place.shape[0], rank),
      'lora_b': (rank, place.shape[1]),
    }
    if config['use_dora']:
      shapes[dora.LEAF] = place.shape[1:]
    why = f'rank {rank} of {place.seen} in adapter_config.json'
    for leaf, shape in shapes.items():
      tensor = _tensor(place, leaf)
      leaves[f'{site}/{leaf}'] = layers.take(body, tensor, shape[::-1], why).T
  linear = {site for site, place in places.items() if not place.table}
  targets, blocks = _targets(linear, layers.places(module))
  also = _take_biases(body, config, leaves, linear, module)
  return leaves, {
    'rank': config['r'],
    'alpha': float(config['lora_alpha']),
    'dropout': config['lora_dropout'],
    'targets': targets,
    'layers': blocks,
    'rank_pattern': {s: r for s, r in ranks.items() if r != config['r']},
    'alpha_pattern': {
      s: float(a) for s, a in alphas.items() if a != config['lora_alpha']
    },
    'tables': sorted(s.rpartition('/')[2] for s in places.keys() - linear),
    'rank_stabilised': config['use_rslora'],
    'dora': config['use_dora'],
    'also': also,
  }


def _tensor(place: layers.Place, leaf: str) -> str:
  """The library's name of a leaf."""
  if leaf == dora.LEAF:
    return f'{place.name}.lora_magnitude_vector'
  factor = leaf[-1].upper()
  if place.table:
    return f'{place.name}.lora_embedding_{factor}'
  return f'{place.name}.lora_{factor}.weight'


def _others(
  numbers: Mapping[str, Any], usual: Any, places: Mapping[str, layers.Place]
) -> dict[str, Any]:
  """{the library's layer: its number} of those that have another."""
  return {places[s].name: x for s, x in numbers.items() if x != usual}


def _bias_kind(
  biases: Collection[str], adapted: Collection[str], module: Any
) -> str:
  """The library's word for the biases that learn."""
  if not biases:
    return 'none'
  every = set(layers.biases(module))
  if biases == {f'{site}/bias' for site in adapted} & every:
    return 'lora_only'
  lacking = {n for n in every - set(biases) if not n.startswith('pooler/')}
  if lacking:
    raise ValueError(
      f'peft saves all biases or those beside the factors; {sorted(biases)} '
      f'learn without {sorted(lacking)}'
    )
  return 'all'


def _check_draws(config: Mapping[str, Any]) -> None:
  """Refuses a start of the factors that took something from the weights."""
  draws = config['init_lora_weights']
  if isinstance(draws, str) and draws.lower() not in _DRAWS:
    raise ValueError(
      f'init_lora_weights={draws!r} changes the weights beside the factors, so '
      'these are no plain LoRA; save the adapter in peft with '
      'path_initial_model_for_weight_conversion, which makes it one'
    )


def _chosen(
  config: Mapping[str, Any], module: Any, bare: bool
) -> dict[str, layers.Place]:
  """{our path: place} of what the settings name."""
  targets = layers.required(config, 'target_modules')
  places = layers.places(module, bare)
  if targets == lora.ALL_LINEAR:
    # Of a folder that peft wrote, it has made a list of this already.
    linear = (n for n, p in places.items() if not p.table and n[:5] != 'head/')
    targets = [places[site].seen for site in linear]
  names = module_names.chosen(
    {**config, 'target_modules': targets}, [p.seen for p in places.values()]
  )
  chosen = {s: place for s, place in places.items() if place.seen in names}
  if not chosen:
    raise ValueError(
      f'target_modules={config["target_modules"]!r} and what excludes from it '
      'name no layer of the model'
    )
  tables = [place.name for place in chosen.values() if place.table]
  if tables and config['use_dora']:
    raise ValueError(
      f'use_dora=True of the tables {tables}; here linear layers have '
      'magnitudes only'
    )
  return chosen


def _targets(
  adapted: Collection[str], places: Mapping[str, layers.Place]
) -> tuple[list[str], list[int] | None]:
  """The shortest way to name linear layers: (targets, blocks or None)."""
  inside = {site: _block(site) for site in adapted if _block(site)}
  names = {name for _, name in inside.values()}
  blocks = {block for block, _ in inside.values()}
  of_all = {
    site for site in places if _block(site) and _block(site)[1] in names
  }
  if inside.keys() == of_all:
    return sorted(names) + sorted(adapted - inside.keys()), None
  some = {site for site in of_all if _block(site)[0] in blocks}
  if adapted == some:
    return sorted(names), sorted(blocks)
  return sorted(adapted), None


def _block(site: str) -> tuple[int, str] | None:
  """(number of the block, name inside it) of a layer's path."""
  place = paths.split(site)
  return (place.number, place.inside.rpartition('/')[2]) if place else None


def _take_biases(
  body: dict[str, Any],
  config: Mapping[str, Any],
  leaves: dict[str, Any],
  adapted: Collection[str],
  module: Any,
) -> list[str]:
  """Moves the biases that were learnt; returns the patterns of them."""
  kind, beside = config['bias'], {f'{site}/bias' for site in adapted}
  if kind == 'none':
    return []
  for leaf, target in layers.biases(module).items():
    name = target.name
    whole = module_names.saved(config['modules_to_save'], name)
    if not whole and (kind == 'all' or leaf in beside):
      leaves[leaf] = layers.take(body, name, target.shape, f'bias={kind!r}')
  sites = '|'.join(sorted(adapted))
  return ['.*/bias'] if kind == 'all' else [f'({sites})/bias']
