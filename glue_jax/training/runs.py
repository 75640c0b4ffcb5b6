"""A run: its stages one after another, each for every seed.

A finished part (`done.json`) is never run again, so starting the same command
again goes on where it stopped.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
from absl import logging

from glue_jax.config import config as config_lib
from glue_jax.reporting import outcome, run_record
from glue_jax.reporting.files import replace_text
from glue_jax.training import begun, inputs, lock, schema
from glue_jax.training.profile import Window
from glue_jax.training.train import train

REFERENCE, EVERY = 'stage:', '/*'


def run(
  config: Any,
  workdir: str | os.PathLike,
  *,
  allow_config_change: bool = False,
  profile: Window | None = None,
) -> dict[str, Any]:
  """Runs a config to its end.

  Args:
    config: as a config file returns it.
    workdir: one seed and no stages: the run's own folder; several seeds:
      `seed_<s>/` in it; stages: `<stage>/` in it.
    allow_config_change, profile: see `train.train`.

  Returns:
    The result; see `train.train`, `run_record.write_seeds` and
    `outcome.write_stages`.

  Raises:
    ValueError: an unknown key, no seeds, a seed or a stage given twice, or a
      reference to a stage that isn't an earlier one.
  """
  stages = schema.check(config)
  if not str(workdir):
    raise ValueError('the workdir is empty; expected a folder for the run')
  workdir = pathlib.Path(workdir).absolute()
  how = {'allow_config_change': allow_config_change, 'profile': profile}
  with lock.hold(workdir):
    if '' in stages:
      how['commits'] = _commits(_parts(stages[''], workdir, None))
      return _seeds(stages[''], workdir, how)
    return _stages(stages, workdir, how)


def _commits(parts) -> dict[str, str]:
  """What names of the hub stand for in the runs that were begun."""
  commits: dict[str, str] = {}
  for _, folder, _ in parts:
    begun_with = inputs.read(folder)
    commits |= begun_with.others.get('commits', {}) if begun_with else {}
  return commits


def _stages(stages, workdir, how):
  names = list(stages)
  for i, (name, config) in enumerate(stages.items()):
    _references(config, names[:i], name)
  if how['allow_config_change']:
    _check_followers(stages, workdir)
  how['commits'] = _commits(
    part
    for name, config in stages.items()
    for part in _parts(config, workdir / name, workdir)
  )
  results = {}
  for name, config in stages.items():
    logging.info('stage %s', name)
    results[name] = _seeds(config, workdir / name, how, workdir)
  if jax.process_index() == 0:
    result = outcome.write_stages(workdir, results)
    replace_text(workdir / 'done.json', json.dumps({'stages': names}) + '\n')
    return result
  return results[names[-1]]


def _seeds(config, workdir, how, root=None):
  seeds = list(config.seeds)
  if not seeds or len(set(seeds)) < len(seeds):
    raise ValueError(f'config.seeds={seeds}: expected distinct numbers')
  results = {}
  above = [folder for folder in (workdir, root) if folder]
  for seed, folder, one in _parts(config, workdir, root):
    with lock.hold(folder):
      results[seed] = train(one, folder, seed, part_of=above, **how)
  if len(seeds) == 1:
    return results[seeds[0]]
  if jax.process_index() == 0:
    result = run_record.write_seeds(workdir, results)
    replace_text(workdir / 'done.json', json.dumps({'seeds': seeds}) + '\n')
    return result
  return json.loads((workdir / 'result.json').read_text())


def _parts(config, workdir, root):
  """(seed, folder, config) of each seed of a stage."""
  seeds = list(config.seeds)
  for seed in seeds:
    folder = workdir if len(seeds) == 1 else workdir / f'seed_{seed}'
    one = config_lib.override(config, {'seeds': [seed]})
    yield seed, folder, config_lib.complete(_resolve(one, root, seed))


def _check_followers(stages, workdir) -> None:
  """Refuses to train a stage on from which a later one has begun already.

  Raises:
    ValueError: names both.
  """
  changed: list[str] = []
  for name, config in stages.items():
    parts = list(_parts(config, workdir / name, workdir))
    begins = {_stage(text) for text in _referring(config)}
    begun_here = any(
      (folder / begun.CONFIG).is_file() for _, folder, _ in parts
    )
    stale = sorted(begins & set(changed))
    if stale and begun_here:
      raise ValueError(
        f'{workdir}: stage {name} was begun from {stale[0]} as it was, which '
        'the changed config would train on; give another workdir'
      )
    if any(begun.compare(c, f, s, True).changes for s, f, c in parts):
      changed.append(name)


def _referring(config) -> list[str]:
  """The 'stage:<name>' of a config."""
  texts = _strings(config_lib.plain(config))
  return [text for text in texts if text.startswith(REFERENCE)]


def _references(value: Any, earlier: list[str], stage: str) -> None:
  """Checks that 'stage:<name>' names an earlier stage."""
  for text in _referring(value):
    if _stage(text) not in earlier:
      raise ValueError(
        f'config.stages.{stage} refers to {text!r}; earlier stages are '
        f'{earlier}'
      )


def _stage(reference: str) -> str:
  """The stage of 'stage:<name>' or 'stage:<name>/*'."""
  return reference.removeprefix(REFERENCE).removesuffix(EVERY)


def _strings(value):
  if isinstance(value, str):
    yield value
  elif isinstance(value, (Mapping, list)):
    items = value.values() if isinstance(value, Mapping) else value
    for item in items:
      yield from _strings(item)


def _resolve(value, root, seed):
  """Replaces 'stage:<name>' by that stage's model folder (of the same seed).

  In a list 'stage:<name>/*' stands for those of all its seeds.
  """
  if isinstance(value, Mapping):
    return {k: _resolve(v, root, seed) for k, v in value.items()}
  if isinstance(value, list):
    parts = [_every(v, root) or [_resolve(v, root, seed)] for v in value]
    return [item for part in parts for item in part]
  if not (isinstance(value, str) and value.startswith(REFERENCE)):
    return value
  if root is None:
    raise ValueError(f'{value!r}: this config has no stages')
  if value.endswith(EVERY):
    raise ValueError(
      f'{value!r} stands for the models of all seeds; expected in a list'
    )
  folder = root / _stage(value)
  own = folder / f'seed_{seed}'
  return str((own if own.is_dir() else folder) / 'model')


def _every(value, root) -> list[str]:
  """The model folders that 'stage:<name>/*' stands for; [] of anything else."""
  if not (
    isinstance(value, str)
    and value.startswith(REFERENCE)
    and value.endswith(EVERY)
    and root
  ):
    return []
  folder = root / _stage(value)
  done = folder / 'done.json'
  seeds = json.loads(done.read_text()).get('seeds') if done.is_file() else None
  names = [f'seed_{seed}' for seed in seeds] if seeds else ['']
  return [str(folder / name / 'model') for name in names]
