"""A run as StableHLO: a folder with a program that runs with jax alone.

It holds `model.stablehlo` (serialised by `jax.export`, a function of the
parameters and the three inputs), `params.safetensors`, `signature.json` and the
tokenizer. Parameters stay outside the program, so that its size has no limit
and they can be read without it. It runs on each platform it was lowered for.

Where every method merges into the plain model, that is the program. Where one
doesn't (adapters, prefixes, prompts, MEFT, fusion), the program is what the run
itself predicts with, and its leaves are among the parameters.
"""

import bisect
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jax import export as jax_export

from glue_jax import tree
from glue_jax.devices import sharding
from glue_jax.export.huggingface import left_over
from glue_jax.plugs import Apply
from glue_jax.reporting import files
from glue_jax.training import session

PROGRAM, PARAMS = 'model.stablehlo', 'params.safetensors'
SIGNATURE = 'signature.json'
INPUTS = ('input_ids', 'attention_mask', 'token_type_ids')
PLATFORMS = ('cpu', 'cuda', 'tpu')
# Ends the model card in the folder; run there.
USAGE = """
## Use

```python
import jax.export
import safetensors.numpy

with open('model.stablehlo', 'rb') as file:
  program = jax.export.deserialize(bytearray(file.read()))
params = safetensors.numpy.load_file('params.safetensors')
outputs = program.call(params, input_ids, attention_mask, token_type_ids)
```

The inputs are int32 arrays of the shapes in `signature.json`, made by the
tokenizer beside it.
"""
_OUTPUTS = ('logits', 'start_logits', 'end_logits')


def save_stablehlo(
  run: Any,
  folder: str | os.PathLike,
  *,
  batch: int | None = None,
  length: int | None = None,
  platforms: Sequence[str] = PLATFORMS,
) -> dict[str, Any]:
  """Writes a run's model as StableHLO.

  Args:
    run: `inference.run.Run`.
    folder: made if needed.
    batch: B; None = any.
    length: L; None = any from 2 up to the model's maximum, less what prompts
      and prefixes take of it.
    platforms: what it is lowered for.

  Returns:
    The signature: inputs and outputs with shapes (a letter = any size), labels,
    platforms, and the variant that was chosen ({}: that of the training).

  Raises:
    ValueError: a size below 1 or above the model's positions, or a program
      that depends on a size that was left open.
  """
  model, task = run.model, run.task
  apply, params = _served(run)
  flat = {name: np.asarray(x) for name, x in tree.flatten(params).items()}

  def forward(flat, *inputs):
    outputs = apply(tree.unflatten(flat), dict(zip(INPUTS, inputs)))
    return {name: outputs[name] for name in _OUTPUTS if name in outputs}

  # RoBERTa's positions have an offset; 0 is a model without a longest input.
  most = model.config.max_positions - model.config.position_offset
  if apply.plugs:
    most = _room(
      most, lambda n: jax.eval_shape(forward, flat, *_inputs(task, 1, n))
    )
  for name, value, limit in (('batch', batch, None), ('length', length, most)):
    if value is not None and not 1 <= value <= (limit or value):
      raise ValueError(f'{name}={value}: expected 1 to {limit or "any number"}')
  inputs = _inputs(task, batch, length, most)
  shapes = {n: jax.ShapeDtypeStruct(x.shape, x.dtype) for n, x in flat.items()}
  export = jax_export.export(jax.jit(forward), platforms=tuple(platforms))
  try:
    program = export(shapes, *inputs)
  except (jax.errors.InconclusiveDimensionOperation, TypeError) as error:
    if batch and length:
      raise
    raise ValueError(
      f'the program of {model.family} depends on a size that was left open; '
      f'give --length, and --batch if that is not enough ({error})'
    ) from error
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  with files.whole(folder / PROGRAM) as part:
    part.write_bytes(program.serialize())
  with files.whole(folder / PARAMS) as part:
    safetensors.numpy.save_file(flat, part)
  run.tokenizer.save(folder)
  if run.decisions:
    run.decisions.save(folder)
  outputs = jax.tree.unflatten(program.out_tree, program.out_avals)
  signature = {
    'task': task.name,
    'kind': task.kind,
    'variant': dict(run.variant),
    'labels': list(task.labels or task.choices),
    'max_length': length or most,
    'inputs': {
      name: {'shape': [str(d) for d in x.shape], 'dtype': str(x.dtype)}
      for name, x in zip(INPUTS, inputs)
    },
    'outputs': {
      name: {'shape': [str(d) for d in x.shape], 'dtype': str(x.dtype)}
      for name, x in outputs.items()
    },
    'platforms': list(program.platforms),
    'jax': jax.__version__,
  }
  text = json.dumps(signature, indent=2) + '\n'
  files.replace_text(folder / SIGNATURE, text)
  return signature


def load_stablehlo(
  folder: str | os.PathLike,
) -> Callable[..., Mapping[str, jax.Array]]:
  """Loads what `save_stablehlo` wrote, without any code of the model.

  Returns:
    f(input_ids, attention_mask, token_type_ids) -> {'logits': ...}, on int32
    arrays of the signature's shapes; `jax.jit` of it compiles once a shape.

  Raises:
    ValueError: a file is missing or damaged.
  """
  folder = pathlib.Path(folder)
  try:
    program = jax_export.deserialize(bytearray((folder / PROGRAM).read_bytes()))
    flat = safetensors.numpy.load_file(folder / PARAMS)
  except (OSError, ValueError, safetensors.SafetensorError) as error:
    raise ValueError(
      f'{folder} holds no whole StableHLO export: {error}'
    ) from error
  flat = jax.device_put(flat)
  call = jax.jit(program.call)
  return lambda *inputs: call(flat, *(jnp.asarray(x, 'int32') for x in inputs))


def _served(run: Any) -> tuple[Apply, tree.Tree]:
  """The model that is exported, and its parameters on the host."""
  if not left_over(run):
    return Apply(run.model), run.params
  parts, host = run.parts, run.host
  with sharding.enter(parts.mesh):
    apply, params = session.bound(parts, host.state, host.variant)
    return apply, sharding.gather(params, parts.mesh)


def _room(most: int, trace: Callable[[int], Any]) -> int:
  """Longest input that a model with plugs takes (0: any).

  Args:
    most: what the plain model takes; prompts and prefixes need some of it.
    trace: length -> whatever; ValueError where it is too long.
  """

  def too_long(length):
    try:
      trace(length)
    except ValueError:
      return True
    return False

  if not most or not too_long(most):
    return most
  return bisect.bisect(range(1, most), False, key=too_long)


def _inputs(
  task: Any, batch: int | None, length: int | None, longest: int = 0
) -> list[jax.ShapeDtypeStruct]:
  """(B, L) or (B, C, L) of each input, letters for the sizes left open."""
  sizes = [str(batch or 'b'), str(length or 'l')]
  if task.kind == 'multiple_choice':
    sizes.insert(1, str(len(task.choices)))
  # Models compare the length with their positions and with one token, which
  # must be decidable.
  limits = [] if length else ['l >= 2']
  if longest and not length:
    limits.append(f'l <= {longest}')
  scope = jax_export.SymbolicScope(limits)
  shape = jax_export.symbolic_shape(', '.join(sizes), scope=scope)
  return [jax.ShapeDtypeStruct(shape, jnp.int32)] * len(INPUTS)
