"""Whether a result's model was trained on inputs that it may be reported on.

It is where the run's data says so (data/pseudo.py, `data.transductive`), and
where it began from or learned of a run that was: the mark is handed on, through
exported and merged folders too.
"""

import json
import os
import pathlib
from typing import Any

from glue_jax.training.parts import Parts

MARK = 'transductive'
# Those of a run, of an exported folder, of a merged one and of a bundle.
FILES = ('result.json', 'config.json', 'merge.json', 'bundle.json')
NOTE = 'transductive: trained on inputs of an evaluation split'


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


def marked(source: str | os.PathLike) -> bool:
  """Says whether a folder's model was trained on evaluation inputs.

  Args:
    source: a run's folder, its folder model/, an exported or a merged one.
  """
  folder = pathlib.Path(source)
  return any(
    json.loads((place / name).read_text()).get(MARK, False)
    for place in (folder, folder.parent)
    for name in FILES
    if (place / name).is_file()
  )


def of_run(run: Any) -> bool:
  """`marked` of an `inference.run.Run`, or of the folder that was opened."""
  source = run.workdir or run.config.model.get('weights')
  return bool(source) and marked(source)
