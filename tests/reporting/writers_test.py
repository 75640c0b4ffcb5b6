"""Writers: resumed files equal uninterrupted ones; events are readable."""

import io
import json
import os
import struct

import pytest

from glue_jax.reporting import event_files, files, writers


def read_events(folder):
  """(step, {tag: value}) of every event, decoded independently."""
  events = []
  for path in sorted(folder.iterdir()):
    data = path.read_bytes()
    while data:
      (size,) = struct.unpack('<Q', data[:8])
      payload = data[12 : 12 + size]
      assert data[: 16 + size] == event_files.record(payload)
      events.append(decode(payload))
      data = data[16 + size :]
  return events


def decode(message):
  """Protocol buffer fields {number: [value]} of one message."""
  fields, at = {}, 0

  def varint():
    nonlocal at
    value = shift = 0
    while True:
      byte = message[at]
      at += 1
      value |= (byte & 0x7F) << shift
      shift += 7
      if byte < 0x80:
        return value

  while at < len(message):
    key = varint()
    kind = key & 7
    if kind == 0:
      value = varint()
    else:
      size = {1: 8, 5: 4}.get(kind) or varint()
      value, at = message[at : at + size], at + size
    fields.setdefault(key >> 3, []).append(value)
  return fields


def scalars(event):
  return {
    decode(v)[1][0].decode(): struct.unpack('<f', decode(v)[2][0])[0]
    for v in decode(event[5][0])[1]
  }


def test_crc32c_check_value():
  assert event_files.crc32c(b'123456789') == 0xE3069283
  assert event_files.crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_event_file_holds_the_scalars(tmp_path):
  writer = writers.Writer(tmp_path, enabled=True)
  writer.scalars(300, {'train/loss': 0.5, 'huge': 1e300})
  writer.timings(300, {'examples_per_second': 12.0})
  writer.close()
  version, first, second = read_events(tmp_path / 'tb')
  assert version[3] == [b'brain.Event:2']
  assert first[2] == [300]
  assert scalars(first) == {'train/loss': 0.5, 'huge': float('inf')}
  assert scalars(second) == {'examples_per_second': 12.0}


def test_resumed_event_file_starts_a_session(tmp_path):
  writer = writers.Writer(tmp_path, start_step=7, enabled=True)
  writer.scalars(8, {'loss': 1.0})
  writer.close()
  _, session, _ = read_events(tmp_path / 'tb')
  assert session[2] == [8]
  assert decode(session[7][0]) == {1: [1]}


def test_negative_step_is_two_complement():
  assert decode(event_files.event(0.0, -1))[2] == [2**64 - 1]


def fill(workdir, steps, start_step=None):
  writer = writers.Writer(workdir, start_step, enabled=True)
  for step in steps:
    writer.scalars(step, {'loss': 1 / step})
    if step % 5 == 0:
      writer.scalars(step, {'validation/accuracy': step / 7})
  writer.close()


def test_resumed_metrics_equal_uninterrupted_ones(tmp_path):
  fill(tmp_path / 'a', range(1, 21))
  fill(tmp_path / 'b', range(1, 14))
  with open(tmp_path / 'b' / 'metrics.jsonl', 'a') as file:
    file.write('{"step": 14, "lo')  # killed while writing
  fill(tmp_path / 'b', range(11, 21), start_step=10)
  ours, theirs = (tmp_path / n / 'metrics.jsonl' for n in 'ab')
  assert ours.read_bytes() == theirs.read_bytes()


def test_new_run_replaces_old_metrics(tmp_path):
  fill(tmp_path, range(1, 4))
  fill(tmp_path, range(1, 3))
  lines = files.read_lines(tmp_path / 'metrics.jsonl')
  assert [line['step'] for line in lines] == [1, 2]


def test_values_that_are_not_finite_are_null(tmp_path):
  writer = writers.Writer(tmp_path, enabled=True)
  writer.scalars(1, {'loss': float('nan'), 'norm': float('inf')})
  writer.close()
  text = (tmp_path / 'metrics.jsonl').read_text()
  assert json.loads(text) == {'step': 1, 'loss': None, 'norm': None}


def test_broken_line_is_named(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"step": 1}\noops\n{"step": 2}\n')
  with pytest.raises(ValueError, match='metrics.jsonl:2: not JSON'):
    files.read_lines(path)


def test_failed_append_leaves_the_file_as_it_was(tmp_path, monkeypatch):
  path = tmp_path / 'metrics.jsonl'
  files.append_line(path, {'step': 1})
  before = path.read_bytes()
  write = os.write
  monkeypatch.setattr(os, 'write', lambda f, data: write(f, data[:5]))
  with pytest.raises(OSError, match='disk full'):
    files.append_line(path, {'step': 2})
  assert path.read_bytes() == before


def test_other_processes_write_nothing(tmp_path):
  writer = writers.Writer(tmp_path / 'w', enabled=False)
  writer.scalars(1, {'loss': 1.0})
  writer.timings(1, {'rate': 1.0})
  writer.close()
  stream = io.StringIO()
  progress = writers.Progress(2, stream=stream, enabled=False)
  progress.update(2)
  progress.message('hello')
  progress.close()
  assert not (tmp_path / 'w').exists()
  assert stream.getvalue() == ''


def test_a_table_when_there_is_no_terminal(monkeypatch):
  clock = iter([0.0, 9.0, 12.0, 19.0, 21.0, 22.0, 23.0])
  monkeypatch.setattr(writers.time, 'monotonic', lambda: next(clock))
  stream = io.StringIO()
  progress = writers.Progress(1000, start=2, stream=stream, enabled=True)
  progress.update(3)  # compiles
  progress.update(6, {'loss': 0.12345, 'grad_norm': 2.0})
  progress.update(23)
  progress.evaluated(23, {'validation': {'accuracy': 0.5, 'loss': 1e-5}})
  progress.update(27)
  progress.message('saved')
  progress.update(1000, {'loss': 0.5})
  progress.close()
  assert stream.getvalue().splitlines() == [
    '       step  split           loss  grad_norm  steps/s    left',
    '    6/1,000  train         0.1235     2.0000     1.00  16m34s',
    '       step  split           loss  accuracy  grad_norm  steps/s    left',
    '   23/1,000  validation  1.00e-05    0.5000          -        -       -',
    'saved',
    '1,000/1,000  train         0.5000         -          -    76.69      0s',
  ]


class Terminal(io.StringIO):
  def isatty(self):
    return True


def test_a_bar_below_the_table_on_a_terminal():
  stream = Terminal()
  progress = writers.Progress(4, stream=stream, enabled=True)
  progress.update(4, {'loss': 0.5})
  progress.evaluated(4, {'validation': {'loss': 0.25}})
  progress.close()
  said = stream.getvalue()
  assert 'train: 100%' in said and '4/4' in said and 'loss=0.5' in said
  table = [t for t in said.replace('\r', '\n').split('\n') if '0.2500' in t]
  assert table[0].split() == ['4/4', 'validation', '0.2500', '-', '-']
  header, train = (t.split() for t in said.split('\n') if 'split' in t), said
  assert list(header)[0][-5:] == ['step', 'split', 'loss', 'steps/s', 'left']
  assert '4/4  train         0.5000' in train


@pytest.mark.parametrize(
  ('seconds', 'text'), [(8.2, '8s'), (185, '3m05s'), (7623, '2h07m')]
)
def test_duration(seconds, text):
  assert writers.duration(seconds) == text


def test_a_start_that_writes_no_line_touches_nothing(tmp_path):
  fill(tmp_path, [1])
  before = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
  writers.Writer(tmp_path, enabled=True).close()
  writers.Writer(tmp_path / 'new', enabled=True).close()
  assert before == {
    p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()
  }
  assert not (tmp_path / 'new').exists()


def test_progress_falls_silent_when_nobody_reads():
  reader, end = os.pipe()
  os.close(reader)
  with os.fdopen(end, 'w') as stream:
    bar = writers.Progress(10, stream=stream, enabled=True, interval=0)
    bar.update(1)
    bar.message('evaluated')
    bar.close()
    assert not bar.enabled
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
  bar = writers.Progress(10, stream=stream, enabled=True, interval=0)
  bar.update(10)  # the stream itself is closed now
  assert not bar.enabled
