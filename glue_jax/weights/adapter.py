"""An adapter as the start of another run: a bundle, or a folder of `peft`."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glue_jax import config as config_lib
from glue_jax.weights import bundle_folder, peft_folder, run_folder


@dataclasses.dataclass(frozen=True)
class Adapter:
  """What a folder holds of a tuned model.

  Attributes:
    folder: where it lies.
    methods: {name: all of its settings}.
    leaves: {name: array} of what was trained, without the head.
    head: {name: array} of the head.
    labels: names of the classes that the head tells apart, [] of a head without
      any; None if the folder doesn't say.
    backbone: hash of the encoder's leaves that it belongs to; None if the
      folder doesn't say.
  """

  folder: str
  methods: Mapping[str, Mapping[str, Any]]
  leaves: Mapping[str, np.ndarray]
  head: Mapping[str, np.ndarray]
  labels: Sequence[str] | None
  backbone: str | None


def read(folder: str | os.PathLike, module: Any) -> Adapter:
  """Reads a bundle or a folder of `peft`.

  Args:
    folder: either of them.
    module: the `Model` that it is for.

  Raises:
    ValueError: it is neither, or damaged, or of another model; or a bundle that
      holds more than parameters.
  """
  path = pathlib.Path(folder)
  if (path / bundle_folder.RECORD).is_file():
    bundle = bundle_folder.read(path)
    if bundle.extra:
      raise ValueError(
        f'{folder} holds {sorted(bundle.extra)} beside its parameters, which '
        'a new run begins afresh; a bundle without them can be started from'
      )
    methods, leaves = bundle.record['config']['methods'], bundle.params
    labels = bundle.record['labels']
    backbone = bundle.record['backbone']['sha256']
  elif (path / peft_folder.CONFIG).is_file():
    name, settings, leaves = peft_folder.read(path, module)
    methods, labels, backbone = [(name, settings)], None, None
  else:
    run = run_folder.is_workdir(path)
    raise ValueError(
      f'{folder} is neither a bundle nor a folder of peft'
      + (
        f'; write the bundle of this run first: python -m launch.bundle write '
        f'--workdir={folder} --out=BUNDLE'
        if run
        else f': it has no {bundle_folder.RECORD} and no {peft_folder.CONFIG}'
      )
    )
  in_head = {name for name in leaves if name.startswith('head/')}
  return Adapter(
    folder=str(folder),
    methods={n: config_lib.settings(n, given) for n, given in methods},
    leaves={n: x for n, x in leaves.items() if n not in in_head},
    head={n: leaves[n] for n in in_head},
    labels=labels,
    backbone=backbone,
  )
