"""The files of a contribution: a folder or a zip, read under limits.

Both give `names` and `read(name)`. A zip is never extracted to disk; bytes are
counted as they are read, whatever its headers say.
"""

import io
import os
import pathlib
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator

from glue_jax.leaderboard.safety import Limits, Refused, shown

_CHUNK = 1 << 16
_DEEPEST = 4  # <task>/seeds/<k>/predictions.jsonl
_DIRECTORY_BYTES = 1 << 16  # of a zip; 64 entries need a tenth of it
_END = struct.Struct('<4s4H2LH')  # end of central directory, APPNOTE 4.3.16
# What zipfile raises on bytes that are no zip, or one of a later version.
_BROKEN = (
  zipfile.BadZipFile,
  zlib.error,
  struct.error,
  EOFError,
  OSError,
  RuntimeError,
  ValueError,
)
_ARCHIVES = ('.zip', '.gz', '.tgz', '.tar', '.bz2', '.xz', '.7z', '.rar')


class Folder:
  """A contribution's folder.

  Attributes:
    path: the folder.
    names: relative names of its files, sorted.
  """

  def __init__(self, path: str | os.PathLike, limits: Limits):
    """Lists the files.

    Raises:
      Refused: links, devices, too many or too deep files.
    """
    self.path = pathlib.Path(path)
    self._limits = limits
    self._left = limits.total_bytes
    if self.path.is_symlink() or not self.path.is_dir():
      raise Refused(f'{self.path}:0: no folder, or a symbolic link')
    self._top = self.path.resolve()
    self._count = 0
    self.names = sorted(self._walk(self.path, ()))

  def _walk(self, folder: pathlib.Path, parts: tuple) -> Iterator[str]:
    if len(parts) >= _DEEPEST:
      raise Refused(f'{folder}:0: more than {_DEEPEST} folders deep')
    count = 0
    with os.scandir(folder) as entries:
      for entry in entries:
        count += 1
        where = f'{self.path}/{"/".join((*parts, entry.name))}'
        self._count += 1
        if count > self._limits.entries:
          raise Refused(f'{folder}:0: over {self._limits.entries} entries')
        if self._count > self._limits.entries**2:
          raise Refused(
            f'{self.path}:0: over {self._limits.entries**2} files and folders'
          )
        if entry.is_symlink():
          raise Refused(f'{shown(where, 200)}:0: symbolic link')
        if entry.is_dir(follow_symlinks=False):
          yield from self._walk(pathlib.Path(entry), (*parts, entry.name))
        elif entry.is_file(follow_symlinks=False):
          yield '/'.join((*parts, entry.name))
        else:
          raise Refused(f'{shown(where, 200)}:0: neither file nor folder')

  def read(self, name: str, most: int | None = None) -> bytes:
    """Returns a file's bytes.

    Args:
      name: relative to the folder.
      most: bytes allowed; default the limit for files.

    Raises:
      Refused: it leads out of the folder, is no plain file, or too large.
      FileNotFoundError: no such file.
    """
    _check_member(name, str(self.path))
    path = self.path / name
    # The folders above may have become links since they were listed.
    if self._top not in path.resolve().parents:
      raise Refused(f'{path}:0: leads out of the contribution')
    most = min(most or self._limits.file_bytes, self._left)
    # Not blocking: a pipe in place of a file must not stop the build.
    flags = os.O_RDONLY | getattr(os, 'O_NOFOLLOW', 0)
    flags |= getattr(os, 'O_NONBLOCK', 0)
    with open(os.open(path, flags), 'rb') as file:
      if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise Refused(f'{path}:0: no plain file')
      data = file.read(most + 1)
    if len(data) > most:
      raise Refused(f'{path}:0: over {most} bytes')
    self._left -= len(data)
    return data


class Archive:
  """A contribution as one zip file, its content at the zip's root.

  Attributes:
    path: the file.
    names: names of its members, sorted.
  """

  def __init__(self, path: str | os.PathLike, limits: Limits):
    """Reads and checks the directory of the zip.

    Raises:
      Refused: not a plain zip, or a member that could be an attack.
    """
    self.path = pathlib.Path(path)
    self._limits = limits
    self._left = limits.total_bytes
    _check_end(self.path, limits)
    try:
      with zipfile.ZipFile(self.path) as file:
        members = file.infolist()
    except _BROKEN as error:
      raise Refused(f'{self.path}:0: not a zip: {error}') from None
    for member in members:
      self._check(member)
    self._check_overlap(members)
    files = [m for m in members if not m.is_dir()]
    self._members = {member.filename: member for member in files}
    if len(self._members) < len(files):
      raise Refused(f'{self.path}:0: two members have the same name')
    self.names = sorted(self._members)

  def _check(self, member: zipfile.ZipInfo) -> None:
    where = f'{self.path}!{shown(member.orig_filename, 120)}:0'
    # orig_filename: the name as it stands there, before any repair of it.
    _check_member(member.orig_filename.removesuffix('/'), str(self.path))
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
      raise Refused(f'{where}: a link or device')
    if (kind == stat.S_IFDIR) and not member.is_dir():
      raise Refused(f'{where}: a folder named like a file')
    if member.flag_bits & 0x41:
      raise Refused(f'{where}: encrypted')
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
      # Others decompress a block without a bound on its size.
      raise Refused(f'{where}: method {member.compress_type}; expected deflate')
    if member.filename.lower().endswith(_ARCHIVES):
      raise Refused(f'{where}: an archive inside an archive')

  def _check_overlap(self, members: list[zipfile.ZipInfo]) -> None:
    end = 0  # members that share bytes make a small file expand many times
    for member in sorted(members, key=lambda m: m.header_offset):
      if member.header_offset < end:
        raise Refused(f'{self.path}:0: members overlap')
      end = member.header_offset + 30 + member.compress_size

  def read(self, name: str, most: int | None = None) -> bytes:
    """Returns a member's bytes; arguments and errors as `Folder.read`."""
    if name not in self._members:
      raise FileNotFoundError(f'{self.path} has no member {shown(name)}')
    where = f'{self.path}!{name}:0'
    member = self._members[name]
    most = min(most or self._limits.file_bytes, self._left)
    widest = self._limits.ratio * max(member.compress_size, 1)
    chunks, count = [], 0
    try:
      with zipfile.ZipFile(self.path) as file, file.open(member) as stream:
        while chunk := stream.read(_CHUNK):
          count += len(chunk)
          self._left -= len(chunk)
          if count > most:
            raise Refused(f'{where}: over {most} bytes')
          if count > widest:
            raise Refused(
              f'{where}: expands over {self._limits.ratio} times, as a zip '
              'bomb does; offer a folder instead'
            )
          chunks.append(chunk)
    except Refused:
      raise
    except _BROKEN as error:
      raise Refused(f'{where}: damaged: {error}') from None
    data = b''.join(chunks)
    if zipfile.is_zipfile(io.BytesIO(data)):
      raise Refused(f'{where}: an archive inside an archive')
    return data


def open_files(path: str | os.PathLike, limits: Limits) -> Folder | Archive:
  """Opens a contribution: a folder, or a file that ends in .zip."""
  path = pathlib.Path(path)
  if path.suffix == '.zip' and path.is_symlink():
    raise Refused(f'{path}:0: symbolic link')
  if path.suffix == '.zip' and path.is_file():
    return Archive(path, limits)
  return Folder(path, limits)


def _check_member(name: str, where: str) -> None:
  """Refuses names that lead elsewhere on any system."""
  parts = name.split('/')
  bad = (
    not name
    or '\\' in name
    or '\0' in name
    or re.match(r'[A-Za-z]:', name)
    or any(part in ('', '.', '..') for part in parts)
    or len(name) > 200
  )
  if bad:
    raise Refused(
      f'{where}:0: name {shown(name)} refused: absolute, "..", backslash, '
      'drive letter or empty part'
    )


def _check_end(path: pathlib.Path, limits: Limits) -> None:
  """Checks the last bytes of a zip before anything is built from them.

  Only the plain form is taken: no comment, one disk, no 64-bit fields. So
  the record that is read here is the one that `zipfile` reads.
  """
  if path.stat().st_size > limits.total_bytes:
    raise Refused(f'{path}:0: over {limits.total_bytes} bytes')
  with path.open('rb') as file:
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(max(0, size - _END.size - 20))
    tail = file.read()
  if len(tail) < _END.size or tail[-_END.size :][:4] != b'PK\5\6':
    raise Refused(f'{path}:0: no zip without a comment')
  fields = _END.unpack(tail[-_END.size :])
  _, disk, first_disk, here, entries, length, offset, comment = fields
  if disk or first_disk or comment or b'PK\6\7' in tail or here != entries:
    raise Refused(f'{path}:0: a zip of several disks, or with 64-bit fields')
  if entries > limits.entries or length > _DIRECTORY_BYTES:
    raise Refused(
      f'{path}:0: {entries} members in {length} bytes of directory; at most '
      f'{limits.entries} are allowed'
    )
  if offset + length + _END.size != size:
    raise Refused(f'{path}:0: bytes before or after the zip')
