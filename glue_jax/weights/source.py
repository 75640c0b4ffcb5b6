"""A folder, here or on the hub, as the source of a model: sizes, tree, run."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from glue_jax import method, tree
from glue_jax.config import config as config_lib
from glue_jax.data import hub, vocabulary
from glue_jax.data.bundle import DataBundle
from glue_jax.data.tasks import by_name
from glue_jax.data.tasks.task import Task
from glue_jax.models import model as models
from glue_jax.plugs import Apply
from glue_jax.weights import (
  head,
  huggingface,
  positions,
  run_folder,
  saved_model,
)


def read_sizes(
  source: str, grow_positions: int | None = None
) -> dict[str, Any]:
  """Returns the arguments of `model.build` that fix the encoder's sizes.

  Args:
    source: a saved model, a workdir that has one, a Hugging Face folder, or a
      name of the hub (data/hub.py).
    grow_positions: positions to grow its table to, see weights/positions.py.

  Raises:
    FileNotFoundError, ValueError: it is none of these, or several; or its table
      can't be grown to that.
  """
  source = hub.folder(source)
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
  unread: bool = False,
  whole: bool = False,
) -> tree.Tree:
  """Returns the tree of a source, see `read_sizes`.

  Args:
    source: whose sizes are those of `module`.
    module: the `Model` that the tree is for.
    new_head, cast: see `huggingface.load_hf`.
    grow_positions: as `read_sizes` was given.
    unread: leave values in their files, see `huggingface.load_hf`.
    whole: with the leaves of methods that could not be merged.

  Raises:
    ValueError: `whole`, and the source has none.
  """
  source = hub.folder(source)
  if grow_positions:
    grown = module.config
    rows = read_sizes(source)['config'].max_positions
    config = dataclasses.replace(module.config, max_positions=rows)
    module = module.clone(config=config)
    params = read_params(
      source, module, new_head, cast, unread=unread, whole=whole
    )
    return positions.grow(params, grown)
  record = saved_model.read_record(source)
  if whole:
    if not (record and record['unmerged']):
      raise ValueError(
        f'{source} has no leaves of a method that are not merged'
      )
    return saved_model.load_whole(source, unread)[1]
  if record:
    return saved_model.load(source, unread)[1]
  own, config = read_sizes(source)['config'].mixer, module.config
  if own != config.mixer:  # read as it is there: its own mixers, for none here
    module = module.clone(config=dataclasses.replace(config, mixer=own))
  return huggingface.load_hf(source, module, new_head, cast, unread)[0]


def read_head(source: str) -> head.Head:
  """Returns what a source says of its head; see `read_sizes`.

  Raises:
    FileNotFoundError, ValueError: it is no source.
  """
  source = hub.folder(source)
  record = saved_model.read_record(source)
  if record:
    labels = record.get('labels')
    names = None if labels is None else tuple(labels)
    return head.Head(source, record['kind'], names)
  raw = huggingface.read_hf_config(source)[2]
  return head.Head(source, None, huggingface.labels_of(raw, source))


def load_model(
  source: str,
  task: Task,
  tokens: Mapping[str, int],
  headless: bool = False,
) -> tuple[Apply, tree.Tree, list[str]]:
  """Returns another finished model, as `Context.load` promises, and notes.

  Args:
    source: see `read_sizes`.
    task: whose labels the rows of its head get the order of.
    tokens: {token: id} of what it is going to read.
    headless: any head will do, or none.

  Raises:
    ValueError: no such model, or one of another kind of task, of other labels,
      or whose ids stand for other tokens.
  """
  source = hub.folder(source)
  notes = [check_vocabulary(source, tokens)]
  if saved_model.read_record(source):
    module, params = saved_model.load(source)
  else:
    family, config, _ = huggingface.read_hf_config(source)
    module = models.build(
      family,
      kind='encoder' if headless else task.form,
      num_outputs=by_name.num_outputs(task),
      config=config,
    )
    params, missing = huggingface.load_hf(source, module)
    if missing:
      raise ValueError(f'{source} has no {missing[0]}: it is not fine-tuned')
  if headless:
    return Apply(module), params, [text for text in notes if text]
  wanted = models.head_kind(module.family, task.form)
  outputs = by_name.num_outputs(task)
  if (module.kind, module.num_outputs) != (wanted, outputs):
    raise ValueError(
      f'{source} is a {module.kind} model with {module.num_outputs} outputs; '
      f'{task.name} needs {wanted} with {outputs}'
    )
  params, note = head.by_name(params, read_head(source), wanted, task.labels)
  return Apply(module), params, [text for text in (*notes, note) if text]


def check_vocabulary(source: str, tokens: Mapping[str, int]) -> str:
  """Compares the tokens of a model folder with those that it shall read.

  A folder that says nothing of them is taken as it is.

  Returns:
    A note on that, or nothing.

  Raises:
    ValueError: an id stands for another token there.
  """
  record = saved_model.read_record(source) or {}
  folder = saved_model.find(source)
  stored, theirs = record.get('vocabulary_sha256'), vocabulary.read(folder)
  if stored is None and theirs is None:
    return f'{source} has no tokenizer: its ids are taken for those of this run'
  gap = vocabulary.difference(tokens, theirs) if theirs else ''
  if gap or (not theirs and stored != vocabulary.digest(tokens)):
    raise ValueError(
      f'{source} has another vocabulary: {gap or "the hash differs"}; give the '
      'run its tokenizer (data.tokenizer)'
    )
  return ''


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
  labels = record.get('labels')
  return method.Tuned(methods, record['config'], params, labels)


def read_arrays(path: str) -> dict[str, np.ndarray]:
  """Returns the arrays of an .npz file by name.

  Raises:
    ValueError: there is no such file, or it holds something else.
  """
  try:
    with np.load(path, allow_pickle=False) as file:
      return {name: file[name] for name in file.files}
  except (OSError, ValueError, AttributeError, TypeError) as error:
    raise ValueError(f'{path!r} cannot be read ({error})') from error


_KINDS = ('models', 'tuned', 'arrays')


@dataclasses.dataclass
class Others:
  """Other models and files that a run's methods read, and what is kept of them.

  Training needs the values of a teacher, of source adapters, of neurons'
  importance. Where a checkpoint replaces all parameters only sizes matter: a
  run writes them down once (`inputs.json`), and predicts wherever the folders
  of the others have gone. `Context` says what each method returns.

  Attributes:
    bundle: the run's data, for its task and tokens.
    kept: `records` of an earlier start. What stands there isn't read: its
      values are zeros, in no memory.
    names: what names of the hub stand for.
    records: {'models', 'tuned', 'arrays': {source: what it is}, 'commits':
      {name of the hub: commit that was read}}, JSON-able.
    notes: what a person should know of them.
    read: {source: the tree that was read there}, of `model`.
  """

  bundle: DataBundle
  kept: Mapping[str, Mapping[str, Any]]
  names: hub.Commits = dataclasses.field(default_factory=hub.Commits)
  records: dict[str, dict[str, Any]] = dataclasses.field(
    default_factory=lambda: {kind: {} for kind in _KINDS}
  )
  notes: list[str] = dataclasses.field(default_factory=list)
  read: dict[str, tree.Tree] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    self.records['commits'] = self.names.used

  def model(self, name: str, headless: bool = False) -> tuple[Apply, tree.Tree]:
    """See `Context.load`."""
    record = self._kept('models', name)
    if record:
      module = models.build(
        record['family'],
        kind=record['kind'],
        num_outputs=record['num_outputs'],
        config=_config(record['config']),
      )
      return Apply(module), tree.unflatten(_zeros(record['leaves']))
    apply, params, notes = load_model(
      self.names.folder(name),
      self.bundle.task,
      self.bundle.tokenizer.vocab,
      headless,
    )
    self.notes += notes
    self.read[name] = params
    module = apply.model
    self.records['models'][name] = {
      'family': module.family,
      'kind': module.kind,
      'num_outputs': module.num_outputs,
      'config': config_lib.plain(dataclasses.asdict(module.config)),
      'leaves': _sizes(tree.flatten(params)),
    }
    return apply, params

  def tuned(self, name: str) -> method.Tuned:
    """See `Context.load_tuned`."""
    record = self._kept('tuned', name)
    if record:
      params = tree.unflatten(_zeros(record['leaves']))
      return method.Tuned(record['methods'], _config(record['config']), params)
    tuned = load_tuned(name)
    self.records['tuned'][name] = {
      'methods': config_lib.plain(tuned.methods),
      'config': config_lib.plain(dataclasses.asdict(tuned.config)),
      'leaves': _sizes(tree.flatten(tuned.params)),
    }
    return tuned

  def arrays(self, path: str) -> dict[str, np.ndarray]:
    """See `Context.load_arrays`."""
    record = self._kept('arrays', path)
    if record:
      return _zeros(record)
    arrays = read_arrays(path)
    self.records['arrays'][path] = _sizes(arrays)
    return arrays

  def _kept(self, kind: str, name: str) -> Any:
    record = self.kept.get(kind, {}).get(name)
    if record:
      self.records[kind][name] = record
    return record


def _config(fields: Mapping[str, Any]) -> models.EncoderConfig:
  return models.EncoderConfig(
    **{k: models.freeze(v) for k, v in fields.items()}
  )


def _sizes(leaves: Mapping[str, Any]) -> dict[str, str]:
  """{name: 'float32[2,3]'}."""
  return {
    name: f'{np.dtype(x.dtype).name}[{",".join(map(str, x.shape))}]'
    for name, x in leaves.items()
  }


def _zeros(sizes: Mapping[str, str]) -> dict[str, np.ndarray]:
  """Arrays of those sizes that share one zero each."""
  zeros = {}
  for name, text in sizes.items():
    dtype, shape = re.fullmatch(r'(\w+)\[([\d,]*)\]', text).groups()
    zero = np.zeros((), np.dtype(dtype))
    zeros[name] = np.broadcast_to(zero, [int(n) for n in shape.split(',') if n])
  return zeros
