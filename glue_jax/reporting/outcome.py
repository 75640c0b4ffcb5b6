"""The result of a run with stages, and the table a run ends with."""

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glue_jax.reporting import plots, tables
from glue_jax.reporting.files import replace_text


def write_stages(
  workdir: pathlib.Path, results: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
  """Joins the results of stages into result.json and scores.png.

  Args:
    workdir: folder that holds `<stage>/`.
    results: {stage: content of its result.json}.

  Returns:
    The last stage's result with all of them under 'stages'.
  """
  *_, last = results.values()
  joint = dict(last, stages=dict(results))
  scored = {
    f'{stage} ({r["primary"]["metric"]})': _points(r['primary'])
    for stage, r in results.items()
    if r['primary']
  }
  if scored:
    plots.plot_scores(scored, workdir / 'scores.png', 'stages')
  replace_text(workdir / 'result.json', json.dumps(joint, indent=2) + '\n')
  return joint


def table(
  result: Mapping[str, Any], baseline: Callable[[str], float | None]
) -> str:
  """Returns the final table of a run: one row for each stage's primary metric.

  Below it stands what a person should know of the data and the predictions.

  Args:
    result: what `runs.run` returned.
    baseline: task -> what a bag of words reaches, where that is known: a model
      that is not above it has learnt words, not sentences.
  """
  stages = result.get('stages') or {'': result}
  rows = []
  for stage, part in stages.items():
    row = {'stage': stage} if stage else {}
    row['task'] = part['task']
    primary = part['primary']
    if primary:
      row |= {
        'split': '+'.join(primary['splits']),
        'metric': primary['metric'],
        'score': primary['value'],
      }
      counts = part.get('rows', {})  # runs of 0.1.0 have none
      of = [counts[split] for split in primary['splits'] if split in counts]
      if of:
        row['rows'] = tables.rows_cell(of)
      if 'values' in primary:
        row |= {'sd': primary['sd'], 'seeds': len(primary['values'])}
    if part.get('transductive'):
      row['trained on'] = 'evaluation inputs too'
    reached = baseline(part['task'])
    if reached is not None:
      row['bag of words'] = reached
    rows.append(row)
  notes = dict.fromkeys(
    f'{stage}: {note}' if stage else note
    for stage, part in stages.items()
    for note in part.get('notes', ())
  )
  return '\n'.join([tables.results_table(rows), *notes])


def _points(primary: Mapping[str, Any]) -> Sequence[float]:
  return primary.get('values') or [primary['value']]
