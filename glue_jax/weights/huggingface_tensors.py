"""Tensors of a Hugging Face folder: found, named and compared, values unread.

A folder either fits as a whole or is refused with a list of the tensors that
are missing (-), not expected (+) or of another shape or type (!). Pickle files
are never opened.
"""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from glue_jax import tree
from glue_jax.data.readers import gguf, json_text
from glue_jax.models import names
from glue_jax.models.names import Target
from glue_jax.weights import gguf as of_gguf

WEIGHTS = 'model.safetensors'
INDEX = WEIGHTS + '.index.json'
PICKLES = ('*.bin', '*.pt', '*.pth', '*.ckpt', '*.pkl')
CASTABLE = ('F16', 'BF16', 'F64')


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor in an open file, its value unread.

  Attributes:
    file: has `get_tensor(name)`.
    name, shape, dtype: of the tensor.
    path: of a file that has to be opened again once it is closed.
  """

  file: Any
  name: str
  shape: tuple[int, ...]
  dtype: str
  path: Path | None = None

  def read(self) -> np.ndarray:
    return self.file.get_tensor(self.name)

  def parameter(self, target: Target, like: Any, later: bool) -> Any:
    """Returns our float32 parameter of it, of the shape of `like`.

    Args:
      target: its place here.
      like: has the parameter's shape.
      later: read it where it is used (`tree.Unread`), from the file that is
        closed by then.
    """

    def ours(value):
      value = value.astype(np.float32, copy=False)
      return np.ascontiguousarray(target.ours(value))

    def read():
      if self.path is None:
        return ours(self.read())
      with safetensors.safe_open(self.path, 'numpy') as file:
        return ours(file.get_tensor(self.name))

    if later:
      return tree.Unread(like.shape, np.dtype(np.float32), read)
    return ours(self.read())


def weight_files(folder: Path) -> list[Path]:
  """Returns the safetensors files of a folder: one, or the index's shards.

  Raises:
    FileNotFoundError: there are none, or only pickles.
    ValueError: the weights are a GGUF file.
  """
  if gguf.find(folder):
    raise ValueError(
      f'{folder}: a GGUF file has no tensors as they are computed with; give a '
      'folder of safetensors'
    )
  if (folder / WEIGHTS).is_file():
    return [folder / WEIGHTS]
  if (folder / INDEX).is_file():
    index = json_text.loads((folder / INDEX).read_text(encoding='utf-8'))
    paths = [folder / n for n in sorted(set(index['weight_map'].values()))]
    absent = [str(path) for path in paths if not path.is_file()]
    if absent:
      raise FileNotFoundError(f'{folder / INDEX} names absent files: {absent}')
    return paths
  pickles = sorted(p.name for glob in PICKLES for p in folder.glob(glob))
  if pickles:
    raise FileNotFoundError(
      f'{folder} has no {WEIGHTS}, only {pickles}. Pickle files can run any '
      'code and are never opened here. Convert it once, where PyTorch is: '
      'python -c "import torch, safetensors.torch as s; s.save_file({k: '
      "v.clone().contiguous() for k, v in torch.load('"
      f"{pickles[0]}', weights_only=True).items()}}, '{WEIGHTS}', "
      "metadata={'format': 'pt'})\""
    )
  raise FileNotFoundError(f'{folder / WEIGHTS} not found')


def open_tensors(
  folder: Path, files: contextlib.ExitStack, model: Any
) -> dict[str, Tensor]:
  """Returns {canonical name: tensor} of a folder's weights, values unread."""
  tensors = {}
  found = gguf.find(folder)
  if found:
    for name, stored in of_gguf.tensors(found).items():
      tensor = Tensor(stored, name, stored.tensor.shape, 'F32')
      tensors[names.canonical(name, model)] = tensor
    return tensors
  for path in weight_files(folder):
    try:
      file = files.enter_context(safetensors.safe_open(path, 'numpy'))
    except (safetensors.SafetensorError, OSError) as error:
      raise ValueError(
        f'{path} ({path.stat().st_size} bytes) is truncated or damaged: '
        f'{error}; fetch it again'
      ) from None
    for name in file.keys():  # noqa: SIM118 - not a mapping
      info = file.get_slice(name)
      shape, dtype = tuple(info.get_shape()), info.get_dtype()
      tensors[names.canonical(name, model)] = Tensor(
        file, name, shape, dtype, path
      )
  return tensors


def missing_heads(
  wanted: Mapping[str, Target], tensors: Mapping[str, Tensor], new_head: bool
) -> list[str]:
  """Returns names under head/ and pooler/ that the folder has nothing for."""
  missing = []
  for part in ('pooler/', 'head/'):
    mine = [name for name in wanted if name.startswith(part)]
    fresh = part == 'head/' and new_head
    if fresh or not any(wanted[name].name in tensors for name in mine):
      missing += mine
  return missing


def check(
  folder: Path,
  used: Mapping[str, Target],
  tensors: Mapping[str, Tensor],
  cast: bool,
  model: Any,
) -> list[str]:
  """Compares names, shapes and types; returns the names that are left out.

  Raises:
    ValueError: something doesn't fit.
  """
  lines, hints = [], set()
  for name, target in used.items():
    tensor = tensors.get(target.name)
    if tensor is None:
      lines.append(f'- {target.name} {target.shape}')
    elif tensor.shape != target.shape:
      lines.append(
        f'! {target.name} found {tensor.shape}, expected {target.shape}'
      )
      if name.startswith('head/'):
        hints.add('model.fresh=head/.* leaves the head out')
    elif tensor.dtype != 'F32' and not (cast and tensor.dtype in CASTABLE):
      lines.append(f'! {target.name} found {tensor.dtype}, expected F32')
      if tensor.dtype in CASTABLE:
        hints.add('model.cast=True converts to float32')
  extra = sorted(set(tensors) - {target.name for target in used.values()})
  originals = names.originals(model)
  for name in extra:
    original = tensors.get(originals.get(name))
    if not names.tolerated(name, model):
      lines.append(f'+ {name} {tensors[name].shape}')
    elif original and not _equal(tensors[name], original):
      lines.append(f'! {name} differs from {originals[name]}: not tied')
      if model.kind in ('causal_lm', 'seq2seq_lm'):
        hints.add('model.tied=False takes the head of its own')
  if lines:
    raise ValueError(
      f'{folder}: the weights do not fit {model.family} ({model.kind}); '
      'nothing was loaded (- missing, + not expected, ! differs)\n'
      + '\n'.join(sorted(lines))
      + ''.join(f'\n{hint}' for hint in sorted(hints))
    )
  return extra


def _equal(a: Tensor, b: Tensor) -> bool:
  return a.shape == b.shape and np.array_equal(a.read(), b.read())


def unused(
  source: Path, tensors: Mapping[str, np.ndarray], model: Any
) -> dict[str, np.ndarray]:
  """Returns the source folder's tensors that the model doesn't write.

  Buffers of a position table that has grown since are none of its tensors.
  """
  with contextlib.ExitStack() as files:
    stored = open_tensors(source, files, model)
    copies = names.originals(model)
    stale = {
      name
      for name, tensor in stored.items()
      if name.endswith(names.BUFFERS)
      and tensor.shape[-1] != model.config.max_positions
    }
    return {
      name: tensor.read()
      for name, tensor in stored.items()
      if name not in {*tensors, *copies, *stale}
    }
