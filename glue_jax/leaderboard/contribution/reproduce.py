"""Runs a contribution's run.sh in a container, apart from any build.

Off unless asked for: it is the one place where a stranger's code runs. The
container has no network, a read-only root and contribution, no capabilities,
and limits on time, memory, processes and CPUs. Data and weights are mounted
read-only; results go to one folder.
"""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import uuid
from collections.abc import Mapping

from glue_jax.leaderboard.contribution import check

ENGINES = ('podman', 'docker')
_GRACE = 60.0  # seconds of the engine's own, to start and to clean up


@dataclasses.dataclass(frozen=True)
class Container:
  """What a run may use.

  Attributes:
    image: name of a local image; it is never pulled.
    seconds: of wall time.
    memory_mb: without swap.
    cpus: number of CPUs.
    processes: processes and threads.
  """

  image: str
  seconds: int = 3600
  memory_mb: int = 8192
  cpus: float = 2.0
  processes: int = 512


def command(
  engine: str,
  container: Container,
  contribution: str | os.PathLike,
  out: str | os.PathLike,
  mounts: Mapping[str, str] | None = None,
) -> list[str]:
  """Returns the command line of the container.

  Args:
    engine: 'podman' or 'docker'.
    container: image and limits.
    contribution: a checked contribution's folder.
    out: folder that the run may write to.
    mounts: {path in the container: path here}, read-only.

  Raises:
    ValueError: a path with ':' or ',', which a mount can't name.
  """
  paths = {'/contribution': str(pathlib.Path(contribution).resolve())}
  paths |= {
    inside: str(pathlib.Path(p).resolve())
    for inside, p in (mounts or {}).items()
  }
  target = str(pathlib.Path(out).resolve())
  for path in (*paths, *paths.values(), target):
    if ':' in path or ',' in path:
      raise ValueError(f'{path!r} has a colon or comma; a mount cannot name it')
  argv = [engine, 'run', '--rm', '--network=none', '--pull=never']
  argv += ['--read-only', '--cap-drop=ALL', '--security-opt=no-new-privileges']
  argv += [
    f'--memory={container.memory_mb}m',
    f'--memory-swap={container.memory_mb}m',
    f'--cpus={container.cpus:g}',
    f'--pids-limit={container.processes}',
    '--user=65534:65534',
    '--tmpfs=/tmp:rw,noexec,nosuid,size=1g',
  ]
  argv += [f'--volume={here}:{inside}:ro' for inside, here in paths.items()]
  argv += [f'--volume={target}:/out:rw', '--workdir=/out']
  argv += ['--entrypoint=timeout', container.image]
  return [
    *argv,
    '--signal=KILL',
    str(container.seconds),
    'sh',
    '/contribution/run.sh',
  ]


def run(
  container: Container,
  contribution: str | os.PathLike,
  out: str | os.PathLike,
  mounts: Mapping[str, str] | None = None,
  allow: bool = False,
) -> int:
  """Runs run.sh in a container; returns its exit status.

  Args:
    container: image and limits.
    contribution: folder of the contribution; it is checked first.
    out: new folder for what the run writes.
    mounts: see `command`.
    allow: without it nothing is run.

  Raises:
    PermissionError: not allowed.
    ValueError: the contribution is refused or has no run.sh.
    FileNotFoundError: no container engine.
  """
  checked = check.read(contribution)
  if checked.problems:
    raise ValueError('\n'.join(checked.problems))
  if 'run.sh' not in checked.scripts or pathlib.Path(contribution).is_file():
    raise ValueError(f'{contribution} is no folder with a run.sh')
  if not allow:
    raise PermissionError(
      f"this would run {contribution}/run.sh, a stranger's code, in a "
      'container; read it first, then add --allow'
    )
  engine = next((e for e in ENGINES if shutil.which(e)), None)
  if engine is None:
    raise FileNotFoundError(f'none of {ENGINES} is installed')
  pathlib.Path(out).mkdir(parents=True)
  pathlib.Path(out).chmod(0o777)  # the container's user owns nothing here
  line = command(engine, container, contribution, out, mounts)
  name = f'reproduce-{uuid.uuid4().hex[:12]}'
  line[2:2] = [f'--name={name}']
  try:
    done = subprocess.run(line, timeout=container.seconds + _GRACE, check=False)
  except subprocess.TimeoutExpired:
    subprocess.run([engine, 'kill', name], timeout=60, check=False)
    raise TimeoutError(
      f'{engine} did not end within {container.seconds + _GRACE:g} seconds'
    ) from None
  return done.returncode
