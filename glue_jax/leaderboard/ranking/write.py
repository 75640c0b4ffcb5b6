"""Files of a ranking: tables and pictures."""

import csv
import dataclasses
import json
import pathlib

from glue_jax.leaderboard.ranking import (
  borda,
  plots,
  ranking,
  robustness,
  score_table,
)  # fmt: skip
from glue_jax.reporting import files


def write(
  places: ranking.Ranking,
  table: score_table.ScoreTable,
  out: pathlib.Path,
  level: str,
  order: str,
  draws: int,
  seed: int,
) -> None:
  """Writes ranking.csv, ranking.json, places.png and robustness.png, whole.

  Args:
    places: of the systems.
    table: what was ranked.
    out: folder to write to.
    level, order: as of `ranking.rank`.
    draws: of the robustness curves.
    seed: of all draws.
  """
  with files.whole_folder(out) as part:
    _tables(places, part)
    plots.plot_places(places, part / 'places.png')
    curves = _curves(table, level, order, draws, seed)
    plots.plot_robustness(curves, part / 'robustness.png')


def _tables(places: ranking.Ranking, out: pathlib.Path) -> None:
  record = dataclasses.asdict(places)
  text = json.dumps(record, indent=2) + '\n'
  files.replace_text(out / 'ranking.json', text)
  fields = [name for name, value in record.items() if isinstance(value, tuple)]
  csv_path = out / 'ranking.csv'
  with files.whole(csv_path) as part, part.open('w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow([*fields])
    writer.writerows(zip(*(record[name] for name in fields)))


def _curves(table, level, order, draws, seed) -> dict[str, dict]:
  """{of what fewer: {consensus or mean: its curve}}."""
  consensus = ranking.function(table, level, order)
  analyses = {'systems': robustness.fewer_systems}
  if len(table.tasks) > 1:
    analyses = {'tasks': robustness.fewer_tasks, **analyses}
  if table.by_instance:
    analyses['instances'] = robustness.fewer_instances
  return {
    name: {
      label: analysis(table.scores, rank, draws, seed)
      for label, rank in (('Borda', consensus), ('mean', borda.means))
    }
    for name, analysis in analyses.items()
  }
