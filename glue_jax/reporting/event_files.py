"""TensorBoard event files without TensorFlow or PyTorch.

An event file is a sequence of TFRecords (length, masked CRC-32C of the length,
payload, masked CRC-32C of the payload), each holding one `Event` protocol
buffer. Scalars need five fields of it, which are encoded here by hand; the
usual packages for this import PyTorch or TensorFlow when they are installed.
"""

import os
import pathlib
import socket
import struct
import time
from collections.abc import Mapping


def _crc_table() -> list[int]:
  """CRC-32C (Castagnoli), reflected polynomial 0x82F63B78."""
  table = []
  for byte in range(256):
    for _ in range(8):
      byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    table.append(byte)
  return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
  """CRC-32C of the bytes."""
  crc = 0xFFFFFFFF
  for byte in data:
    crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
  return crc ^ 0xFFFFFFFF


def record(payload: bytes) -> bytes:
  """The payload framed as one TFRecord."""
  length = struct.pack('<Q', len(payload))
  return length + _masked(length) + payload + _masked(payload)


def _masked(data: bytes) -> bytes:
  crc = crc32c(data)
  rotated = ((crc >> 15) | (crc << 17)) + 0xA282EAD8
  return struct.pack('<I', rotated & 0xFFFFFFFF)


def _varint(number: int) -> bytes:
  number &= (1 << 64) - 1  # negative int64: two's complement
  parts = []
  while True:
    parts.append((number & 0x7F) | (0x80 if number > 0x7F else 0))
    number >>= 7
    if not number:
      return bytes(parts)


def _bytes_field(number: int, payload: bytes) -> bytes:
  return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def event(wall_time: float, step: int = 0, payload: bytes = b'') -> bytes:
  """An `Event`: wall_time = 1, step = 2, then the encoded payload field."""
  return (
    _varint(1 << 3 | 1)
    + struct.pack('<d', wall_time)
    + (_varint(2 << 3) + _varint(step) if step else b'')
    + payload
  )


def summary(scalars: Mapping[str, float]) -> bytes:
  """An event's summary (5): values (1) of tag (1) and simple_value (2)."""
  values = b''.join(
    _bytes_field(
      1,
      _bytes_field(1, tag.encode())
      + _varint(2 << 3 | 5)
      + struct.pack('<f', value),
    )
    for tag, value in scalars.items()
  )
  return _bytes_field(5, values)


class EventFile:
  """One event file of scalars in a folder that TensorBoard reads.

  Args:
    folder: created if missing.
    start_step: a resumed run's next step: TensorBoard then drops what earlier
      files say from this step on. None for a new run.
  """

  def __init__(self, folder: str | os.PathLike, start_step: int | None = None):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    now = time.time()
    # Names sort by time; the process id keeps two starts in a second apart.
    name = f'{now:017.6f}.{socket.gethostname()}.{os.getpid()}'
    self._file = open(folder / f'events.out.tfevents.{name}', 'ab')  # noqa: SIM115
    # file_version = 3
    self._write(event(now, payload=_bytes_field(3, b'brain.Event:2')))
    if start_step is not None:
      # session_log = 7 with status (1) = START (1)
      started = _bytes_field(7, _varint(1 << 3) + _varint(1))
      self._write(event(now, start_step, started))
    self._file.flush()

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Appends one event with all values."""
    clipped = {
      # float32 has no room for more; TensorBoard shows infinity.
      tag: float('inf') * (1 if value > 0 else -1)
      if abs(value) > 3.4028235e38
      else value
      for tag, value in values.items()
    }
    self._write(event(time.time(), step, summary(clipped)))
    self._file.flush()

  def close(self) -> None:
    """Closes the file; further calls do nothing."""
    self._file.close()

  def _write(self, payload: bytes) -> None:
    self._file.write(record(payload))
