"""Model cards: what a model is, how it scored, how it was made."""

from collections.abc import Mapping
from typing import Any

from glue_jax.config import config as config_lib
from glue_jax.data import hub
from glue_jax.reporting.tables import results_table


def model_card(
  task: Any,
  config: Any,
  results: Mapping[str, Mapping[str, float]],
  *,
  record: Mapping[str, Any] | None = None,
  language: str = '',
  weights: str = '',
  library: str = 'transformers',
  variant: Mapping[str, Any] | None = None,
  commit: str = '',
  decisions: str = '',
  seen: bool = False,
) -> str:
  """A model card in markdown, with the fields known for sure and no others.

  Args:
    task: the task's record.
    config: the completed config.
    results: {split: {metric: value}} as measured by the run.
    record: the run record.
    language: code of the language, left out if empty.
    weights: where the run started from; empty = random parameters.
    library: what loads the model.
    variant: of the run, where another one than in training was chosen.
    commit: of the hub, whose name `weights` is then.
    decisions: thresholds and temperature of the run, in a line.
    seen: whether inputs of evaluation splits were trained on.
  """
  front = [
    f'library_name: {library}',
    *([f'language: {language}'] if language else []),
    *([f'base_model: {hub.split(weights)[0]}'] if commit else []),
    f'tags: [{task.kind.replace("_", "-")}, {task.name}, jax]',
  ]
  lines = ['---', *front, '---', '', f'# {task.name} {task.kind}', '']
  lines += [
    f'Trained with glue_jax on `{task.name}`'
    f' (columns {", ".join(f"`{c}`" for c in task.columns)}),'
    f' starting from {f"`{weights}`" if weights else "random parameters"}'
    f'{f" (commit {commit})" if commit else ""}.',
    '',
  ]
  for key, value in (variant or {}).items():
    if key == 'rank':
      lines += [f'Its low-rank update was merged at rank {value}.', '']
    else:
      lines += [f'It is the part of the trained model with {key} {value}.', '']
  if decisions:
    lines += [
      f'Its predictions use decisions.json: {decisions}. `{library}` does not '
      'apply them: divide the logits by the temperature and compare the '
      'probabilities with the thresholds. The results below are without them.',
      '',
    ]
  if seen:
    lines += [
      'It is transductive: inputs of an evaluation split were trained on. '
      'Scores on that split say nothing of new texts.',
      '',
    ]
  if task.labels:
    lines += ['## Labels', '']
    lines += [f'- {i}: `{name}`' for i, name in enumerate(task.labels)]
    lines.append('')
  if results:
    rows = [
      {'split': split, 'metric': name, 'value': value}
      for split, metrics in results.items()
      for name, value in metrics.items()
    ]
    lines += ['## Results', '', results_table(rows, markdown=True), '']
    lines += ['Values are fractions (1 = 100%); losses are means.', '']
  lines += [
    '## Intended use and limits',
    '',
    f'The model repeats what it learnt from `{task.name}`, errors and biases '
    'of its texts and annotators included. It was scored on the splits above '
    'only; other texts may give other results.',
    '',
  ]
  if record:
    lines += ['## How it was made', '', *_made(record), '']
  lines += ['## Config', '', '```json', config_lib.dumps(config).strip(), '```']
  return '\n'.join(lines) + '\n'


def copied(task: Any, source: str, library: str = 'transformers') -> str:
  """A model card of a model that was trained elsewhere.

  Args:
    task: what its head is for.
    source: name of the folder that it was read from.
    library: what loads it.
  """
  lines = ['---', f'library_name: {library}', '---', '', f'# {source}', '']
  lines += [
    f'Written by glue_jax from `{source}`, which says how it was trained.',
    '',
  ]
  if task.labels:
    lines += ['## Labels', '']
    lines += [f'- {i}: `{name}`' for i, name in enumerate(task.labels)]
    lines.append('')
  return '\n'.join(lines)


def _made(record: Mapping[str, Any]) -> list[str]:
  devices, git = record.get('devices', {}), record.get('git')
  kinds = devices.get('kinds', {})
  facts = {
    'devices': ', '.join(f'{n} x {kind}' for kind, n in kinds.items()),
    'wall time (s)': record.get('seconds'),
    'examples per second': record.get('examples_per_s'),
    'commit': git and git['commit'] + (' + changes' if git['changed'] else ''),
    'versions': ', '.join(
      f'{k} {v}' for k, v in record.get('versions', {}).items()
    ),
  }
  return [f'- {name}: {value}' for name, value in facts.items() if value]
