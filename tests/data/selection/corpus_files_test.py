"""Texts for data selection: every line once, and errors with file and line."""

import gzip
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from glue_jax.data.selection import corpus_files


def corpus(*paths):
  return [corpus_files.describe(str(path)) for path in paths]


def all_lines(sources, count):
  return [
    line
    for piece in corpus_files.cut(sources, count)
    for line in corpus_files.lines(piece)
  ]


LINES = st.lists(st.sampled_from([b'', b'a', b'bb\rb', b'cccccc']), min_size=1)


@hypothesis.given(LINES, st.integers(1, 20), st.booleans())
@hypothesis.settings(
  max_examples=60,
  deadline=None,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_every_line_is_in_one_piece(tmp_path, rows, count, bom):
  data = b'\xef\xbb\xbf' * bom + b'\n'.join(rows) + b'\n'
  (tmp_path / 'a.txt').write_bytes(data)
  (tmp_path / 'b.txt.gz').write_bytes(gzip.compress(data))
  (tmp_path / 'c.txt').write_bytes(b'one\r\ntwo')  # no line end
  sources = corpus(*(tmp_path / n for n in ('a.txt', 'b.txt.gz', 'c.txt')))
  assert all_lines(sources, count) == [*rows, *rows, b'one', b'two']


def test_pieces_cover_the_files_in_order(tmp_path):
  for name, size in (('a.txt', 10), ('b.txt', 0), ('c.txt', 25)):
    (tmp_path / name).write_bytes(b'x' * size)
  pieces = corpus_files.cut(corpus(*sorted(tmp_path.iterdir())), 4)
  assert [piece.index for piece in pieces] == list(range(len(pieces)))
  assert [(p.path[-5], p.start, p.stop) for p in pieces] == [
    ('a', 0, 9), ('a', 9, 10), ('c', 0, 9), ('c', 9, 18), ('c', 18, 25),
  ]  # fmt: skip
  with pytest.raises(ValueError, match='0 shards'):
    corpus_files.cut(corpus(tmp_path / 'a.txt'), 0)
  with pytest.raises(ValueError, match=r'b.txt:1: the corpus is empty'):
    corpus_files.cut(corpus(tmp_path / 'b.txt'), 1)


def test_find(tmp_path):
  (tmp_path / 'in').mkdir()
  for name in ('b.jsonl', 'a.txt', 'in/c.txt.gz', 'd.csv'):
    (tmp_path / name).write_text('x')

  def names(*p):
    return [
      source.path.removeprefix(f'{tmp_path}/')
      for source in corpus_files.find(p)
    ]

  assert names(tmp_path) == ['a.txt', 'b.jsonl', 'in/c.txt.gz']
  assert names(tmp_path / '*.csv', tmp_path / 'b.jsonl') == ['d.csv', 'b.jsonl']
  with pytest.raises(FileNotFoundError, match='nothing: expected a file'):
    corpus_files.find([tmp_path / 'nothing'])
  with pytest.raises(ValueError, match='a.txt is given twice'):
    corpus_files.find([tmp_path, tmp_path / 'a.txt'])


def read(path, count=1, **settings):
  documents = corpus_files.Documents(**settings)
  return [
    batch
    for piece in corpus_files.cut(corpus(path), count)
    for batch in corpus_files.batches(piece, documents)
  ]


def test_records_and_chunks(tmp_path):
  path = tmp_path / 'a.jsonl.gz'
  rows = [{'body': 'a b  c d', 'key': 7}, {'body': 'é\ne', 'key': 'x'}]
  text = '\n'.join(map(json.dumps, rows))
  path.write_bytes(gzip.compress(text.encode()))
  (batch,) = read(path, text_key='body', id_key='key', chunk_words=2)
  assert batch.texts == ['a b', ' c', 'd', 'é\ne']
  assert (batch.spread, batch.names) == ([3, 1], ['7', 'x'])


def test_long_pieces_come_in_batches(tmp_path, monkeypatch):
  monkeypatch.setattr(corpus_files, '_BATCH_BYTES', 10)
  (tmp_path / 'a.txt').write_text('four\n' * 10)
  batches = read(tmp_path / 'a.txt')
  assert [len(batch.texts) for batch in batches] == [3, 3, 3, 1]


@pytest.mark.parametrize('count', [1, 2, 5, 40])
@pytest.mark.parametrize(
  'name, line, message',
  [
    ('a.txt', b'caf\xe9 x', r'invalid UTF-8 at byte 3 of the line \(0xe9\)'),
    ('a.jsonl', b'{"text": 1}', "'text' is int, expected text"),
    ('a.jsonl', b'{"text"}', 'not JSON at character 7'),
    ('a.jsonl', b'["text"]', 'list found, expected an object'),
    ('a.jsonl', b'{"txt": ""}', r"keys \['txt'\] lack 'text'"),
    ('a.jsonl', b'', 'not JSON at character 0'),
  ],
)
def test_bad_lines_are_named(tmp_path, name, line, message, count):
  good = b'{"text": "fine"}'
  for form, path in ((bytes, name), (gzip.compress, f'{name}.gz')):
    data = b'\n'.join([good] * 6 + [line, good])
    (tmp_path / path).write_bytes(form(data))
    with pytest.raises(ValueError, match=f'{path}:7: {message}'):
      read(tmp_path / path, count)


def test_a_broken_gzip_file(tmp_path):
  data = gzip.compress(b'some words here\n' * 1000)
  (tmp_path / 'a.txt.gz').write_bytes(data[:-20])
  with pytest.raises(ValueError, match=r'a.txt.gz:\d+: not a whole gzip file'):
    read(tmp_path / 'a.txt.gz')


def test_plain_text_has_no_ids(tmp_path):
  (tmp_path / 'a.txt').write_text('x\n')
  with pytest.raises(ValueError, match="a.txt:1: lines .* no id 'key'"):
    read(tmp_path / 'a.txt', id_key='key')
  with pytest.raises(ValueError, match='chunk_words=-1'):
    corpus_files.Documents(chunk_words=-1)
