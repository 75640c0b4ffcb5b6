"""Transfer in two stages: adapters of source tasks, then what combines them.

`plan` lists the runs as stages of one config, so that a finished adapter is
used by every run that names it and never trained twice; `table` reads them.
"""

import dataclasses
import pathlib
import runpy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np
import safetensors

from glue_jax.config import config as config_lib
from glue_jax.data.tasks import by_name
from glue_jax.reporting import tables
from glue_jax.weights import run_folder, saved_model

# What is compared: (method, its settings). Without sources: one adapter alone.
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
  'adapter': ('pfeiffer', {}),
  'fusion': ('adapter_fusion', {}),
  'scalearn': ('scalearn', {}),
  'scalearnuniform': ('scalearn', dict(uniform=True)),
  'scalearnpp': ('scalearn', dict(shared=True)),
  'scalearnuniformpp': ('scalearn', dict(uniform=True, shared=True)),
}
SOURCE = 'source'
# ScaLearn's few-shot protocol; what it evaluates after is not confirmed: here
# every epoch.
FEW_SHOT = dict(
  data=dict(eval_limit=5000),
  train=dict(epochs=None, minutes=None, steps=1000, patience=20, select='best'),
)


@dataclasses.dataclass(frozen=True)
class Study:
  """What a config file's `study(argument)` gives to `launch.study transfer`.

  recipe: (task, form) -> config of that run, without methods and seeds.
  sources, targets: names of tasks.
  seeds: of the second stage.
  """

  recipe: Callable[[str, str], Mapping[str, Any]]
  sources: Sequence[str]
  targets: Sequence[str]
  seeds: Sequence[int]

  def plan(self) -> ml_collections.ConfigDict:
    """Returns the config of all its runs, in every form."""
    return plan(self.recipe, self.sources, self.targets, seeds=self.seeds)


def read_study(recipe: str) -> Study:
  """Returns the study of 'FILE' or 'FILE:ARGUMENT'.

  Raises:
    ValueError: the file defines none, or doesn't take the argument.
  """
  path, _, argument = recipe.partition(':')
  study = runpy.run_path(path).get('study')
  if study is None:
    raise ValueError(f'{path} defines no function study(argument)')
  return study(argument) if argument else study()


def plan(
  recipe: Callable[[str, str], Mapping[str, Any]],
  sources: Sequence[str],
  targets: Sequence[str],
  forms: Sequence[str] = tuple(FORMS),
  seeds: Sequence[int] = (0, 1, 2),
  shots: int | None = None,
) -> ml_collections.ConfigDict:
  """Returns the config of all runs of a study.

  Stages are `source_<task>`, with the first seed, and `<form>_<target>`. A
  target's own adapter is among the sources, the last of them. The first seed of
  the form `adapter` is that source. With k shots, what sees a target's rows
  sees k of them, drawn at random, and its stages are `source<k>_<target>` and
  `<form><k>_<target>`; the other sources stay what they are.

  Args:
    recipe: (task, form) -> config of that run, without methods and seeds.
    sources, targets: names of tasks.
    forms: keys of FORMS.
    seeds: of the second stage.
    shots: k, trained as `FEW_SHOT` says; None = all rows of the recipe.

  Raises:
    ValueError: nothing to run, a name twice, an unknown task or form, no shot.
  """
  if shots is not None and shots < 1:
    raise ValueError(f'shots={shots}: expected 1 or more')
  for name, given, known in (
    ('sources', sources, by_name.TASKS),
    ('targets', targets, by_name.TASKS),
    ('forms', forms, FORMS),
    ('seeds', seeds, seeds),
  ):
    unknown = [x for x in given if x not in known]
    if unknown or not given or len(set(given)) < len(given):
      raise ValueError(
        f'{name}={list(given)}: expected one or more, each once'
        + (f'; unknown are {unknown}, known {sorted(known)}' if unknown else '')
      )
  k = shots or ''
  adapters = {
    f'{SOURCE}_{task}': (task, None)
    for task in sources
    if any(target != task for target in targets)
  } | {f'{SOURCE}{k}_{target}': (target, shots) for target in targets}
  stages = [
    (name, _run(recipe, task, 'adapter', seeds[:1], shots=few))
    for name, (task, few) in adapters.items()
  ]
  for target in targets:
    names = [f'stage:{SOURCE}_{s}' for s in sources if s != target]
    names.append(f'stage:{SOURCE}{k}_{target}')
    for form in forms:
      left = seeds[1:] if form == 'adapter' else seeds
      if left:
        run = _run(recipe, target, form, left, names, shots)
        stages.append((f'{form}{k}_{target}', run))
  return ml_collections.ConfigDict(dict(stages=tuple(stages)))


def rows(
  result: Mapping[str, Any], workdir: str | pathlib.Path
) -> list[dict[str, Any]]:
  """Returns what was measured, one row a form and target.

  Args:
    result: what `runs.run` gave of a plan.
    workdir: where it ran.

  Returns:
    [{'form', 'target', 'metric', 'values', 'parameters'}], beside each form
    the target's own adapter; parameters are those that learn beside the head.
  """
  stages, places = result['stages'], {}
  for stage in stages:
    place, _, target = stage.partition('_')
    form = place.rstrip('0123456789')
    if form in FORMS:
      # A target's own adapter is the first seed of the form `adapter`.
      own = f'{SOURCE}{place.removeprefix(form)}_{target}'
      places.setdefault(('adapter', target), [own])
      places.setdefault((form, target), []).append(stage)
  if not places:  # one seed of adapters: there is no second stage
    places = {('adapter', name.partition('_')[2]): [name] for name in stages}
  return [
    {
      'form': form,
      'target': target,
      'metric': stages[names[0]]['primary']['metric'],
      'values': [value for name in names for value in _values(stages[name])],
      'parameters': parameters(pathlib.Path(workdir) / names[-1]),
    }
    for (form, target), names in places.items()
  ]


def table(measured: Sequence[Mapping[str, Any]]) -> str:
  """Returns a line a form: parameters, mean ± sd of each target, their mean."""
  lines: dict[str, dict[str, Any]] = {}
  for row in measured:
    line = lines.setdefault(
      row['form'], {'form': row['form'], 'parameters': row['parameters']}
    )
    values = 100 * np.array(row['values'])
    spread = f' ±{values.std(ddof=1):.2f}' if len(values) > 1 else ''
    line[f'{row["target"]} {row["metric"]}'] = f'{values.mean():.2f}{spread}'
  for form, line in lines.items():
    means = [np.mean(r['values']) for r in measured if r['form'] == form]
    line['mean'] = f'{100 * np.mean(means):.2f}'
  return tables.results_table(list(lines.values()))


def parameters(workdir: pathlib.Path) -> int:
  """Returns the size of what a finished run's method learns beside the head."""
  folder = run_folder.list_runs(workdir)[0].path
  record = saved_model.read_record(folder)
  own = [n for n in record['unmerged'] if '/source_' not in n]
  path = saved_model.find(folder) / saved_model.UNMERGED
  with safetensors.safe_open(path, 'numpy') as file:
    shapes = [file.get_slice(name).get_shape() for name in own]
  return sum(int(np.prod(shape)) for shape in shapes)


def _run(recipe, task, form, seeds, sources=(), shots=None):
  method, settings = FORMS[form]
  if form != 'adapter':
    settings = settings | dict(sources=list(sources))
  config = config_lib.plain(recipe(task, form))
  if shots:
    config = config_lib.override(config, FEW_SHOT)
    config['data']['train_limit'] = shots
  return config | dict(methods=[[method, settings]], seeds=list(seeds))


def _values(part):
  primary = part['primary']
  return list(primary.get('values') or [primary['value']])
