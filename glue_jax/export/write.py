"""A model as a folder for other programs: the one way to write each form."""

import os
import pathlib
from typing import Any

from glue_jax.evaluation import decisions
from glue_jax.export import huggingface, stablehlo
from glue_jax.reporting import files

FORMS = ('hf', 'stablehlo')


def write(
  run: Any,
  folder: str | os.PathLike,
  form: str = 'hf',
  *,
  batch: int | None = None,
  length: int | None = None,
) -> list[str]:
  """Writes a folder with its model card; it appears only when it is whole.

  Args:
    run: `inference.run.Run`.
    folder: made if needed.
    form: 'hf', which `transformers` loads, or 'stablehlo', a program that jax
      alone runs.
    batch, length: fixed sizes of a program; None = any.

  Returns:
    Names of the files that were written.

  Raises:
    ValueError: an unknown form, or one that the model doesn't have.
  """
  if form not in FORMS:
    raise ValueError(f'form {form!r}; expected one of {FORMS}')
  hf = form == 'hf'
  library = 'transformers' if hf else 'jax'
  card = huggingface.card(run, run.workdir, library)
  with files.whole_folder(pathlib.Path(folder)) as part:
    if hf:
      huggingface.save_hf(run, part, card)
    else:
      stablehlo.save_stablehlo(run, part, batch=batch, length=length)
      files.replace_text(part / 'README.md', card + stablehlo.USAGE)
    if not run.decisions:
      decisions.drop(pathlib.Path(folder))
    written = [path for path in sorted(part.rglob('*')) if path.is_file()]
    return [path.relative_to(part).as_posix() for path in written]
