"""Golden vectors of DARE, magnitude pruning and five merging methods.

The toy network of the files (weights as PyTorch stores them) is here; Fisher
and RegMean gather their statistics on it with the project's functions.
"""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glue_jax.merging import average, dare, fisher, regmean, stream, ties

EXACT, SOLVED = (1e-6, 0.0), (1e-5, 0.0)
EXCLUDE = ('.*classifier.*',)

Rows = list[tuple[str, Any, Any, float, float]]


def compare(arrays: dict[str, np.ndarray], folder: Path) -> Rows:
  """Rows (name, ours, theirs, atol, rtol) for one file's arrays."""
  del folder  # all is in the arrays
  pre = stream.from_arrays(_group(arrays, 'pre'), 'pre')
  count = len({k.split('__')[0] for k in arrays if re.match(r'model\d', k)})
  full = [_group(arrays, f'model{t}') for t in range(count)]
  models = [stream.from_arrays(m, f'model{t}') for t, m in enumerate(full)]
  names = stream.shared_names(models, pre, EXCLUDE)
  models = [model.select(names) for model in models]
  hp = {k[4:]: v for k, v in arrays.items() if k.startswith('hp__')}
  scale = float(hp['scaling_coefficient'])
  trim = float(hp['param_value_mask_rate'])
  rate = float(hp['drop_rate'])
  dropped = [
    _dropped(pre, model, _group(arrays, f'dare_mask{t}'), rate)
    for t, model in enumerate(models)
  ]
  fishers, grams = _statistics(arrays, full, hp)
  results = {
    'average': average.average(models),
    'task_arithmetic': average.task_arithmetic(pre, models, scale),
    'ties': ties.ties(pre, models, trim, scale),
    'fisher': fisher.fisher_merge(
      models,
      fishers,
      hp['fisher_scaling'].tolist(),
      bool(hp['normalize_fisher']),
      float(hp['minimal_fisher_weight']),
    ),
    'regmean': regmean.regmean(
      models, grams, float(hp['reduce_non_diagonal_ratio']), transpose=True
    ),
    'dare_average': average.average(dropped),
    'dare_task_arithmetic': average.task_arithmetic(pre, dropped, scale),
    'dare_ties': ties.ties(pre, dropped, trim, scale),
    **{f'dare{t}': model for t, model in enumerate(dropped)},
  }
  # Of some models only, or of none.
  pruned = {
    f'magnitude{t}': dare.sparsified(
      model, pre, dare.Drop(rate, kind='magnitude')
    )
    for t, model in enumerate(models)
  }
  inputs = ('pre', 'hp', 'model', 'data', 'dare_mask')
  rows = []
  for key, theirs in arrays.items():
    group, name = key.split('__')
    if group.rstrip('0123456789') in inputs:
      continue
    merged = (results | pruned).get(group)
    if merged is None:
      raise ValueError(f'nothing compares {key}')
    close = SOLVED if group in ('fisher', 'regmean') else EXACT
    rows.append((key, merged.tensors[name].array(), theirs, *close))
  groups = {name.split('__')[0] for name, *_ in rows}
  missing = sorted(set(results) - groups)
  if missing:
    raise ValueError(f'the file lacks the results {missing}')
  return rows


def _group(arrays, group) -> dict[str, np.ndarray]:
  start = f'{group}__'
  return {k[len(start) :]: v for k, v in arrays.items() if k.startswith(start)}


def _dropped(pre, model, masks, rate) -> stream.Weights:
  """theta_0 + DARE's deltas with the file's masks."""
  found = {}
  for name, tensor in model.tensors.items():
    zero = pre.tensors[name].array()
    mask = masks[name].astype(bool)
    found[name] = zero + dare.dropped(tensor.array() - zero, mask, rate)
  return stream.from_arrays(found, model.name)


def _network(params, batch) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Logits, and the inputs of the linear layers that are merged."""
  x = batch['x']
  h = x @ params['fc1.weight'].T + params['fc1.bias']
  mean, var = h.mean(-1, keepdims=True), h.var(-1, keepdims=True)
  h = (h - mean) / jnp.sqrt(var + 1e-5)
  h = jnp.tanh(h * params['norm.weight'] + params['norm.bias'])
  inputs = {'fc1.weight': x, 'fc2.weight': h}
  h = jnp.tanh(h @ params['fc2.weight'].T)
  logits = h @ params['classifier.weight'].T + params['classifier.bias']
  return (logits[:, 0] if logits.shape[-1] == 1 else logits), inputs


def _statistics(arrays, models, hp) -> tuple[list[dict], list[dict]]:
  wanted = int(hp['num_examples'])
  fishers, grams = [], []
  for t, params in enumerate(models):
    data = _group(arrays, f'data{t}')
    size = data['x'].shape[1]
    if size != hp['batch_size']:
      raise ValueError(f'data{t}: batches of {size}, not {hp["batch_size"]}')
    batches = [
      {'weight': np.ones(size, np.float32)}
      | {name: values[i] for name, values in data.items()}
      for i in range(len(data['x']))
    ]
    logits = lambda params, batch: _network(params, batch)[0]
    fishers.append(fisher.gather(logits, params, batches, wanted))
    gram = lambda params, batch: {
      layer: regmean.gram(x, batch['weight'])
      for layer, x in _network(params, batch)[1].items()
    }
    grams.append(regmean.gather(gram, params, batches, wanted))
  return fishers, grams
