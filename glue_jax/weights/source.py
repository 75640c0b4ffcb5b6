"""A folder as the source of a model: its sizes, its tree, its run."""

import dataclasses
from typing import Any

from glue_jax import method, tree
from glue_jax.config import config as config_lib
from glue_jax.plugs import Apply
from glue_jax.weights import huggingface, positions, run_folder, saved_model


def read_sizes(
  source: str, grow_positions: int | None = None
) -> dict[str, Any]:
  """Returns the arguments of `model.build` that fix the encoder's sizes.

  Args:
    source: a saved model, a workdir that has one, or a Hugging Face folder.
    grow_positions: positions to grow its table to, see weights/positions.py.

  Raises:
    FileNotFoundError, ValueError: it is none of these, or several; or its table
      can't be grown to that.
  """
  record = saved_model.read_record(source)
  if record:
    family, config = record['family'], record['config']
  else:
    family, config, _ = huggingface.read_hf_config(source)
  if grow_positions:
    config = positions.grown_config(config, grow_positions)
  return {'name': family, 'config': config}


def read_params(
  source: str,
  module: Any,
  new_head: bool,
  cast: bool,
  grow_positions: int | None = None,
) -> tree.Tree:
  """Returns the tree of a source, see `read_sizes`.

  Args:
    source: whose sizes are those of `module`.
    module: the `Model` that the tree is for.
    new_head, cast: see `huggingface.load_hf`.
    grow_positions: as `read_sizes` was given.
  """
  if grow_positions:
    rows = read_sizes(source)['config'].max_positions
    config = dataclasses.replace(module.config, max_positions=rows)
    params = read_params(source, module.clone(config=config), new_head, cast)
    return positions.grow(params, module.config)
  if saved_model.read_record(source):
    return saved_model.load(source)[1]
  return huggingface.load_hf(source, module, new_head, cast)[0]


def load_model(source: str) -> tuple[Apply, tree.Tree]:
  """Returns another finished model, as `Context.load` promises."""
  module, params = saved_model.load(source)
  return Apply(module), params


def load_tuned(source: str) -> method.Tuned:
  """Returns a finished run, as `Context.load_tuned` promises.

  Args:
    source: its workdir, or the folder model/ in it.

  Raises:
    ValueError: no such run, or it isn't finished.
  """
  record, params = saved_model.load_whole(source)
  config = run_folder.read_config(saved_model.find(source).parent)
  methods = {
    name: config_lib.settings(name, given)
    for name, given in config_lib.plain(config.methods)
  }
  return method.Tuned(methods, record['config'], params)
