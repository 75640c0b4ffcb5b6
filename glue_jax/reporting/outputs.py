"""What a command writes must not take the place of what it reads."""

import os
import pathlib
from collections.abc import Iterable


def refuse(
  output: str | os.PathLike, sources: Iterable[str | os.PathLike]
) -> None:
  """Refuses an output that would replace a source; links are followed.

  Args:
    output: file or folder to be written; '-' = standard output.
    sources: files and folders that are read; those that aren't there don't
      count.

  Raises:
    ValueError: the output is a source, lies in a folder that is one, or is the
      folder of a file that is one.
  """
  if str(output) == '-':
    return
  out = pathlib.Path(os.path.realpath(output))
  for source in sources:
    place = pathlib.Path(os.path.realpath(source))
    inside = place.is_dir() and place in out.parents
    around = place.is_file() and place.parent == out
    if place.exists() and (place == out or inside or around):
      raise ValueError(
        f'{output} would be written over {source}, which is read; expected '
        'another place for the output'
      )


def of_folder(path: str | os.PathLike) -> list[pathlib.Path]:
  """The sources that a run, a model or a bundle has in its folder."""
  folder = pathlib.Path(path)
  found = folder.iterdir() if folder.is_dir() else ()
  files = [file for file in found if file.is_file()]
  return [*files, folder / 'model', folder / 'checkpoints']
