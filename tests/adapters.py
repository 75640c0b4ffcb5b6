"""Runs with adapters as they look when finished, without any training."""

import functools
import json
import pathlib

import jax

from glue_jax import method, tree
from glue_jax.config import config
from glue_jax.devices import sharding
from glue_jax.methods import pfeiffer, prefix
from glue_jax.training import begin, build_data, compose, schema
from glue_jax.training.parts import Parts
from glue_jax.weights import saved_model


def save(
  folder: pathlib.Path,
  base: dict,
  seed: int,
  name: str = 'pfeiffer',
  backbone_seed: int = 0,
  **settings: object,
) -> dict:
  """Writes the folder of a run; returns its adapter's leaves.

  Args:
    folder: its workdir.
    base: config of the run, without methods.
    seed: of the adapter.
    name: method that the run's config names.
    backbone_seed: of everything else.
    **settings: of the method.
  """
  made_by = prefix if name == 'prefix' else pfeiffer
  settings = (dict(length=3) if name == 'prefix' else dict(size=4)) | settings
  parts = _parts(json.dumps(config.plain(base)), backbone_seed)
  batch = build_data.example_batch(parts.bundle)
  context = method.Context(
    None, None, parts.plain.model, 1, 1, None, None, None
  )
  made = made_by.make(context, **settings)
  params = sharding.gather(parts.params, parts.mesh)
  whole, leaves = compose.add_leaves(
    jax.random.key(1000 + seed), params, parts.plain, [made], batch
  )
  own, plain = tree.partition(whole, lambda name: name in leaves.owners)
  added = tree.flatten(own)
  saved_model.save(folder / 'model', parts.plain.model, plain, added)
  changed = config.override(base, dict(methods=[[name, settings]]))
  record = {'config': config.plain(changed), 'seed': seed}
  (folder / 'config.json').write_text(json.dumps(record))
  return added


@functools.cache
def _parts(base: str, seed: int) -> Parts:
  config_of = config.complete(json.loads(base))
  return begin.build(schema.bind(config_of, 1), seed)
