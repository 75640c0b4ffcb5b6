"""Whether a result's model was trained on inputs that it may be reported on.

It is where the run's data says so (data/pseudo.py, `data.transductive`), and
where it began from or learned of a run that was: the mark is handed on.
"""

import json
import pathlib
from typing import Any

from glue_jax.training.parts import Parts

MARK = 'transductive'


def of(parts: Parts) -> dict[str, bool]:
  """Returns {'transductive': True} for a result, or nothing.

  Args:
    parts: of the run.
  """
  network = parts.sections.model
  sources = [network.weights, network.adapter, *parts.others['models']]
  sources += parts.others['tuned']
  seen = parts.bundle.transductive or any(
    marked(source) for source in sources if source
  )
  return {MARK: True} if seen else {}


def marked(source: str) -> bool:
  """Says whether a run's folder, or its folder model/, has a marked result."""
  folder = pathlib.Path(source)
  for place in (folder, folder.parent):
    path = place / 'result.json'
    if path.is_file():
      result: dict[str, Any] = json.loads(path.read_text())
      return bool(result.get(MARK))
  return False
