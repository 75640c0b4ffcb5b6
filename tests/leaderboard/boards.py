"""Small leaderboards, and contributions that an attacker changed."""

import json
import pathlib
import shutil
import struct
import zipfile
import zlib

from glue_jax.leaderboard import registry
from glue_jax.leaderboard.contribution import check
from launch.miniatures.parts import invented_board

ROWS = 12


def make(folder, methods=1, tasks=1, seeds=1, rows=ROWS):
  """Writes an invented leaderboard; returns its folder as a path."""
  folder = pathlib.Path(folder)
  invented_board.make(folder, methods, tasks, seeds, rows)
  return folder


def problems(board, path):
  """All problems that a check of one contribution finds."""
  contribution = check.read(path)
  if not contribution.problems:
    check.load(contribution, registry.load(board))
  return contribution.problems


def change(path, **fields):
  """Sets keys of a JSON file; a value of None removes the key."""
  record = json.loads(path.read_text()) | fields
  record = {key: value for key, value in record.items() if value is not None}
  path.write_text(json.dumps(record))


def change_task(board, task=0, **fields):
  """Changes fields of one task's entry in the registry."""
  path = board / 'registry.json'
  content = json.loads(path.read_text())
  content['tasks'][task] |= fields
  path.write_text(json.dumps(content, indent=2))


def drop_task(method, task):
  """Takes a task's predictions out of a contribution's folder."""
  shutil.rmtree(method / task)
  runs = json.loads((method / 'metadata.json').read_text())['runs']
  del runs[task]
  change(method / 'metadata.json', runs=runs)


def as_zip(folder, path, compression=zipfile.ZIP_DEFLATED):
  """Writes a contribution's folder as a zip."""
  with zipfile.ZipFile(path, 'w', compression) as file:
    for part in sorted(folder.rglob('*')):
      if part.is_file():
        file.write(part, part.relative_to(folder).as_posix())
  return path


def overlapping_bomb(path, members, member_bytes):
  """A zip whose members all share one stream of zeros (Fifield 2019)."""
  packer = zlib.compressobj(9, zlib.DEFLATED, -15)
  zeros, crc, chunk = b'', 0, bytes(1 << 20)
  for _ in range(member_bytes >> 20):
    zeros += packer.compress(chunk)
    crc = zlib.crc32(chunk, crc)
  zeros += packer.flush()
  common = struct.pack(
    '<5H3L2H', 20, 0, 8, 0, 33, crc, len(zeros), member_bytes, 0, 0
  )

  def name(i):
    return f'task-{i}/predictions.jsonl'.encode()

  first = name(0)
  sized = common[:-4] + struct.pack('<2H', len(first), 0)
  body = b'PK\3\4' + sized + first + zeros
  directory = b''
  for i in range(members):
    sized = common[:-4] + struct.pack('<2H', len(name(i)), 0)
    directory += b'PK\1\2' + struct.pack('<H', 20) + sized
    directory += struct.pack('<3H2L', 0, 0, 0, 0, 0) + name(i)
  end = struct.pack(
    '<4s4H2LH', b'PK\5\6', 0, 0, members, members, len(directory), len(body), 0
  )
  path.write_bytes(body + directory + end)
  return path
