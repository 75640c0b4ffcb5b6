"""Which folder is the run: a workdir holds one run, its seeds, or stages.

  runs/rte/config.json                  one run
  runs/rte/seed_0/config.json           one of several seeds
  runs/two/pretrain/config.json         a stage of one seed
  runs/two/finetune/seed_0/config.json  a stage of several

All that reads a finished run asks here, so every command has the same answer.
"""

import dataclasses
import json
import os
import pathlib
import re
from typing import Any

from glue_jax.config import config
from glue_jax.data.readers import json_text

CONFIG, DONE = 'config.json', 'done.json'


@dataclasses.dataclass(frozen=True)
class RunFolder:
  """The folder of one run, of one seed.

  Attributes:
    path: has its config.json.
    stage: of a run with stages; '' = it has none.
    seed: of the run.
  """

  path: pathlib.Path
  stage: str
  seed: int


def list_runs(
  workdir: str | os.PathLike, stage: str | None = None, seed: int | None = None
) -> list[RunFolder]:
  """Lists the runs in a workdir: stages in their order, seeds by number.

  Args:
    workdir: as given to launch.train, or a folder of a stage or seed in it.
    stage: only this one; None = every stage.
    seed: only this one; None = every seed.

  Raises:
    ValueError: no such folder, no run in it, or no such stage or seed.
  """
  workdir = pathlib.Path(workdir)
  if not workdir.is_dir():
    raise ValueError(f'{workdir} is no folder; expected the workdir of a run')
  runs = _runs(workdir)
  if not runs:
    inner = [path.name for path in _folders(workdir) if _runs(path)]
    raise ValueError(
      f'{workdir} is no workdir of a run: it has no {CONFIG} of launch.train'
      + (f'; there are runs in it, choose one of {inner}' if inner else '')
    )
  stages = [run.stage for run in runs if run.stage]
  if stage is not None and stage not in stages:
    there = f'there are {_unique(stages)}' if stages else 'it has no stages'
    raise ValueError(f'{workdir} has no stage {stage!r}; {there}')
  runs = [run for run in runs if stage in (None, run.stage)]
  chosen = [run for run in runs if seed in (None, run.seed)]
  if not chosen:
    there = _unique([run.seed for run in runs])
    raise ValueError(f'{workdir} has no seed {seed}; there are {there}')
  return chosen


def one(
  workdir: str | os.PathLike, stage: str | None = None, seed: int | None = None
) -> RunFolder:
  """Returns the run in a workdir; see `list_runs`.

  Raises:
    ValueError: there is none, or there are several to choose from.
  """
  runs = list_runs(workdir, stage, seed)
  for flag, names in (
    ('stage', _unique([run.stage for run in runs])),
    ('seed', _unique([run.seed for run in runs])),
  ):
    if len(names) > 1:
      raise ValueError(
        f'{workdir} has {flag}s {names}; choose one with --{flag} or give its '
        'own folder'
      )
  return runs[0]


def is_workdir(folder: str | os.PathLike) -> bool:
  """Says whether a folder is a run's, or holds its seeds or stages."""
  return bool(_runs(pathlib.Path(folder)))


def is_run(folder: str | os.PathLike) -> bool:
  """Says whether a folder is itself that of one run."""
  return _begun(pathlib.Path(folder)) is not None


def read_config(folder: str | os.PathLike) -> Any:
  """Returns the completed config that a run wrote into its own folder.

  Raises:
    ValueError: there is none.
  """
  begun = _begun(pathlib.Path(folder))
  if begun is None:
    raise ValueError(f'{folder} is no workdir of a run: it has no {CONFIG}')
  return config.complete(begun['config'])


def _begun(folder: pathlib.Path) -> dict[str, Any] | None:
  """What `training/begun.py` wrote; None for any other folder.

  Folders of Hugging Face have a config.json too, of another content.
  """
  path = folder / CONFIG
  try:
    begun = json_text.loads(path.read_text(encoding='utf-8'))
  except json_text.Twice as error:
    raise ValueError(f'{path}:{error.lineno}: {error.msg}') from None
  except (OSError, ValueError):
    return None
  ours = isinstance(begun, dict) and {'config', 'seed'} <= begun.keys()
  return begun if ours else None


def _runs(workdir: pathlib.Path) -> list[RunFolder]:
  """Every run in a workdir; [] if it is none."""
  runs = _seeds(workdir)
  for name in [] if runs else _stages(workdir):
    runs += _seeds(workdir / name, name)
  return runs


def _seeds(folder: pathlib.Path, stage: str = '') -> list[RunFolder]:
  begun = _begun(folder)
  if begun:
    return [RunFolder(folder, stage, begun['seed'])]
  runs = [
    RunFolder(path, stage, int(path.name.removeprefix('seed_')))
    for path in _folders(folder)
    if re.fullmatch(r'seed_-?\d+', path.name) and _begun(path)
  ]
  return sorted(runs, key=lambda run: run.seed)


def _stages(workdir: pathlib.Path) -> list[str]:
  """Names of the stages in their order, once all have ended."""
  try:
    done = json.loads((workdir / DONE).read_text(encoding='utf-8'))
  except (OSError, ValueError):
    return []
  return done.get('stages', []) if isinstance(done, dict) else []


def _folders(folder: pathlib.Path) -> list[pathlib.Path]:
  if not folder.is_dir():
    return []
  return sorted(path for path in folder.iterdir() if path.is_dir())


def _unique(values: list) -> list:
  return list(dict.fromkeys(values))
