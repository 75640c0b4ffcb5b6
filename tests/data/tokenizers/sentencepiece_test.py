"""SentencePiece files, written here by hand: each field is read."""

import struct

import pytest

from glue_jax.data.tokenizers import sentencepiece


def field(number, value):
  """A field of a protobuf message: of a number, a float, text or bytes."""
  if isinstance(value, bool | int):
    return varint(number << 3) + varint(int(value))
  if isinstance(value, float):
    return varint(number << 3 | 5) + struct.pack('<f', value)
  value = value.encode() if isinstance(value, str) else value
  return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
  head, rest = value & 127, value >> 7
  return bytes([head | 128]) + varint(rest) if rest else bytes([head])


def piece(text, score=0.0, kind=1):
  return field(1, field(1, text) + field(2, score) + field(3, kind))


PIECES = piece('<unk>', 0.0, 2) + piece('<s>', 0.0, 3) + piece('▁é', -1.5)


def write(folder, trainer=b'', normalizer=b'', pieces=PIECES):
  path = folder / 'spm.model'
  further = field(4, b'self-test') + field(99, 300)
  path.write_bytes(pieces + field(2, trainer) + field(3, normalizer) + further)
  return path


def test_defaults_are_those_of_the_format(tmp_path):
  model = sentencepiece.read(write(tmp_path))
  assert [(p.text, p.score, p.type) for p in model.pieces] == [
    ('<unk>', 0.0, 2),
    ('<s>', 0.0, sentencepiece.CONTROL),
    ('▁é', -1.5, 1),
  ]
  assert (model.kind, model.unk_id) == (sentencepiece.UNIGRAM, 0)
  assert model.dummy_prefix and not model.byte_fallback
  assert model.charsmap == b'' and not model.whitespace_as_suffix


def test_every_field_is_read(tmp_path):
  trainer = field(3, 2) + field(24, True) + field(35, True) + field(40, 200)
  normalizer = field(1, 'nfkc') + field(2, b'\x00\xff') + field(3, False)
  model = sentencepiece.read(write(tmp_path, trainer, normalizer))
  assert (model.kind, model.unk_id) == (sentencepiece.BPE, 200)
  assert model.byte_fallback and model.whitespace_as_suffix
  assert model.charsmap == b'\x00\xff' and not model.dummy_prefix


def test_scores_survive_a_json_file(tmp_path):
  (odd,) = struct.unpack('<f', struct.pack('<f', -9.8765432))
  model = sentencepiece.read(write(tmp_path, pieces=piece('a', odd)))
  score = model.pieces[0].score
  assert struct.pack('<f', score) == struct.pack('<f', odd)
  assert len(repr(score)) <= 11


@pytest.mark.parametrize('cut', [1, 3, 7, len(PIECES) - 1, len(PIECES)])
def test_a_cut_file_is_named(tmp_path, cut):
  path = write(tmp_path)
  path.write_bytes(path.read_bytes()[:cut])
  with pytest.raises(ValueError, match=rf'spm.model \({cut} bytes\) is not a'):
    sentencepiece.read(path)
