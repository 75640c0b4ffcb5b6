"""What trained a run: its `config.json`, and what may change under it.

It is written once something has been trained: a start that fails leaves none,
and one of a start that saved nothing binds nobody. Where a run goes on under a
changed config, `earlier` says up to which step it was trained by what.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from glue_jax.config import config as config_lib
from glue_jax.reporting import files, run_record

CONFIG, DONE = 'config.json', 'done.json'

# What may change under a run that goes on: it bears on nothing that the run
# computes, nor on what `metrics.jsonl` and `result.json` say of it.
FREE = (
  'config.loggers',
  'config.train.keep',
  'config.train.save_every',
  'config.train.max_programs',
)


@dataclasses.dataclass
class Record:
  """The config of a run, beside that which it was begun with.

  Attributes:
    workdir: the run's folder.
    content: what `config.json` will hold.
    changes: `key: begun -> now` lines, and other rows (see inputs.py); [] for
      none, or a run that begins.
    done: the run has ended.
  """

  workdir: pathlib.Path
  content: dict[str, Any]
  changes: list[str]
  done: bool

  @property
  def finished(self) -> bool:
    """Whether the run has ended and nothing is asked of it that it didn't."""
    return self.done and not self.changes

  def goes_on(self, step: int, total: int, ended: bool) -> None:
    """Notes that the run goes on from a step under its changed config.

    Args:
      step: finished steps.
      total: steps that are asked for now.
      ended: the run was ended early, by patience or a method.

    Raises:
      ValueError: there is nothing left to train, so the config would claim
        what didn't train the model.
    """
    if not self.changes:
      return
    if ended or step >= total:
      reason = 'it ended early there' if ended else f'{total} are asked for'
      raise ValueError(
        f'{self.workdir} is trained to step {step} and {reason}, so nothing '
        f'would be trained by the changed config ({", ".join(self.changes)}); '
        'give another workdir, or a greater config.train.epochs (or steps, '
        'minutes)'
      )
    entry = {'until_step': step, 'changes': self.changes}
    self.content['earlier'] = [*self.content.get('earlier', []), entry]

  def write(self, part_of: Sequence[pathlib.Path] = ()) -> None:
    """Writes it, on process 0, and takes away marks that the run has ended.

    Args:
      part_of: folders of runs that have this one as a stage or a seed.
    """
    if not files.is_first_process():
      return
    for folder in (self.workdir, *part_of):
      (folder / DONE).unlink(missing_ok=True)
    text = config_lib.dumps(self.content)
    files.replace_text(self.workdir / CONFIG, text)


def compare(
  config: Any, workdir: pathlib.Path, seed: int, allow_change: bool
) -> Record:
  """Compares a config with the one that a run was begun with, if it was.

  Raises:
    ValueError: it differs and that isn't allowed; the message is the diff. Or
      the folder has a `config.json` that no run has left.
  """
  now = {'config': config_lib.plain(config), 'seed': seed}
  done, path = (workdir / DONE).is_file(), workdir / CONFIG
  trained = done or any((workdir / 'checkpoints').glob('*/*/manifest.json'))
  old = run_record.read_json(path) if path.is_file() else None
  if old is not None and not (
    isinstance(old, dict) and now.keys() <= old.keys()
  ):
    raise ValueError(
      f'{path} is not of a run, but of another model; give another workdir'
    )
  if old is None or not trained:
    return Record(workdir, now, [], done)
  earlier = {'earlier': old.pop('earlier')} if 'earlier' in old else {}
  # A run of an earlier version lacks the keys that came later.
  begun = {**old, 'config': config_lib.plain(config_lib.DEFAULTS)}
  begun['config'] |= old['config']
  lines = [
    line
    for line in config_lib.changes(begun, config_lib.plain(now))
    if line.partition(': ')[0] not in FREE
  ]
  if lines and not allow_change:
    state = 'is finished, and was trained' if done else 'was begun'
    way = 'to go on with it'
    if done:
      way = (
        'with a greater config.train.epochs (or steps, minutes) to train it '
        'on from its end; the schedule then is that of the new length'
      )
    raise ValueError(
      f'{workdir} {state} with another config (begun -> now: '
      f'{", ".join(lines)}); give another workdir, or --allow_config_change '
      f'{way}'
    )
  return Record(workdir, now | earlier, lines, done)
