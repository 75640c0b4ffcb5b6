"""Raw files for the builders of tensorflow-datasets, without TensorFlow.

A builder asks its download manager for addresses and gets paths. Theirs unpacks
with TensorFlow; these take files that are there already (`Local`), or fetch
them (`Network`), compare size and SHA-256 with what tensorflow-datasets has on
record, and unpack zips.
"""

import functools
import hashlib
import http.client
import importlib.util
import pathlib
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

from glue_jax.reporting import files

_SECONDS = 60  # without an answer
_CHUNK = 1 << 20  # bytes


class Local:
  """Files of a local folder.

  Args:
    source: laid out as the zips that the builder downloads (CoLA/train.tsv).
    task: whose builder asks, a `tasks.task.Task`.
  """

  downloaded_size = 0
  _FILES = {
    'dev_ids': ('MRPC/mrpc_dev_ids.tsv', 'MRPC/dev_ids.tsv'),
    'train': ('MRPC/msr_paraphrase_train.txt',),
    'test': ('MRPC/msr_paraphrase_test.txt',),
  }

  def __init__(self, source: pathlib.Path, task: Any):
    self.source = source
    self.task = task

  def download(self, urls: Any) -> Any:
    """Paths of files, in the place of their addresses."""
    if isinstance(urls, dict):
      return {key: self._file(*self._FILES[key]) for key in urls}
    stems = [stem for all_ in self.task.stems.values() for stem in all_]
    return self._file(*(f'{self.task.folder}/{s}.tsv' for s in stems))

  def download_and_extract(self, urls: Any) -> Any:
    """As `download`; of a zip it is the folder."""
    if isinstance(urls, dict):
      return {key: self._file(pathlib.Path(urls[key]).name) for key in urls}
    return str(self.source)

  def _file(self, *names: str) -> str:
    for name in names:
      if (self.source / name).is_file():
        return str(self.source / name)
    raise FileNotFoundError(
      f'{self.source} has none of {", ".join(names)}, which the builder of '
      f'{self.task.tfds} reads'
    )


class Known(NamedTuple):
  """What is on record of an address."""

  size: int
  sha256: str


@functools.cache
def on_record(group: str) -> dict[str, Known]:
  """{address: what tensorflow-datasets knows of it} of 'glue' or 'squad'."""
  spec = importlib.util.find_spec('tensorflow_datasets')
  root = pathlib.Path(spec.origin).parent if spec and spec.origin else None
  found: dict[str, Known] = {}
  for place in (
    f'url_checksums/{group}.txt', f'datasets/{group}/checksums.tsv',
  ):  # fmt: skip
    path = root / place if root else None
    if path and path.is_file():
      lines = path.read_text(encoding='utf-8').splitlines()
      rows = [line.split('\t') for line in lines if line.strip()]
      found |= {row[0]: Known(int(row[1]), row[2]) for row in rows}
  return found


class Network:
  """Files that are fetched, and kept: what is there and right is not again.

  Args:
    folder: where they are kept.
    group: whose addresses are asked for, see `on_record`.
  """

  def __init__(self, folder: pathlib.Path, group: str):
    self.folder = folder
    self.known = on_record(group)
    self.downloaded_size = 0

  def download(self, urls: Any) -> Any:
    """Paths of files, in the place of their addresses."""
    return _each(urls, lambda url: str(self._fetched(url)))

  def download_and_extract(self, urls: Any) -> Any:
    """As `download`; of a zip it is the folder of what is in it."""
    return _each(urls, lambda url: str(self._unpacked(self._fetched(url))))

  def _fetched(self, url: str) -> pathlib.Path:
    """The file of an address.

    Raises:
      ValueError: nothing came, or not what is on record.
    """
    known = self.known.get(url)
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    name = pathlib.PurePosixPath(urllib.parse.urlsplit(url).path).name
    path = self.folder / f'{digest}-{urllib.parse.unquote(name).split("/")[-1]}'
    if path.is_file() and _sum(path) == (known or _sum(path)):
      return path
    with files.whole(path) as part:
      self._receive(url, part)
      came = _sum(part)
      if known and came != known:
        raise ValueError(
          f'{url}: {came.size} bytes with SHA-256 {came.sha256} came, '
          f'{known.size} with {known.sha256} were expected; start the same '
          'command again, or give files of yours: --source=FOLDER'
        )
    self.downloaded_size += came.size
    return path

  def _receive(self, url: str, part: pathlib.Path) -> None:
    try:
      with (
        urllib.request.urlopen(url, timeout=_SECONDS) as answer,
        part.open('wb') as file,
      ):
        while chunk := answer.read(_CHUNK):
          file.write(chunk)
        size = int(answer.headers.get('Content-Length') or -1)
        if file.tell() < size:  # urllib ends a cut answer without a word
          raise http.client.IncompleteRead(b'', size - file.tell())
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
      if isinstance(error, OSError) and error.filename == str(part):
        raise  # of the disk
      raise ValueError(
        f'{url}: {_reason(error)}; see to the network and start the same '
        'command again, or give files of yours: --source=FOLDER'
      ) from error

  def _unpacked(self, path: pathlib.Path) -> pathlib.Path:
    if not zipfile.is_zipfile(path):
      return path
    folder = path.with_name(f'{path.name}.unpacked')
    if not folder.is_dir():
      with files.whole_folder(folder) as part, zipfile.ZipFile(path) as archive:
        archive.extractall(part)
    return folder


def _each(urls: Any, fetch: Callable[[str], str]) -> Any:
  if isinstance(urls, dict):
    return {key: _each(url, fetch) for key, url in urls.items()}
  return fetch(urls)


def _sum(path: pathlib.Path) -> Known:
  with path.open('rb') as file:
    digest = hashlib.file_digest(file, 'sha256').hexdigest()
  return Known(path.stat().st_size, digest)


def _reason(error: Exception) -> str:
  """What an error of the network says."""
  said = getattr(error, 'reason', None) or error
  code = getattr(error, 'code', None)
  return f'{code} {said}' if code else str(said) or type(error).__name__
