"""A selection on one machine: the same whatever the shards, and bad input."""

import dataclasses
import gzip
import json
import os
import pathlib
import signal

import numpy as np
import pytest

from glue_jax.data.selection import corpus_files, dsir, local, pieces, spool
from glue_jax.data.selection import run as runs
from tests.data.selection.corpora import make_run, write_corpora

NAMES = ('selected.txt', 'documents.tsv')


def results(out):
  return [(out / name).read_bytes() for name in NAMES]


@pytest.fixture
def corpora(tmp_path):
  return write_corpora(tmp_path)


def test_any_sharding_and_workers_give_the_same_bytes(corpora, tmp_path):
  run = make_run(corpora)
  expected = None
  for shards, workers in ((1, 1), (3, 1), (16, 1), (3, 2)):
    out = tmp_path / f'{shards}-{workers}'
    report = local.run(run, out, workers, shards)
    expected = expected or results(out)
    assert results(out) == expected, shards
    assert sorted(p.name for p in out.iterdir()) == sorted(NAMES)
  assert report['sets']['selected']['documents'] == run.k == 30
  assert set(report['sets']) == {'selected', 'random', 'top_k'}


def test_one_file_or_several_give_the_same_texts(corpora, tmp_path):
  run = make_run(corpora)
  local.run(run, tmp_path / 'many', 1, 4)
  whole = tmp_path / 'whole.txt'
  data = b''
  for source in run.raw:
    with open(source.path, 'rb') as file:
      text = file.read()
    data += gzip.decompress(text) if source.path.endswith('.gz') else text
  whole.write_bytes(data)
  other = dataclasses.replace(run, raw=tuple(corpus_files.find([whole])))
  local.run(other, tmp_path / 'one', 1, 5)
  assert results(tmp_path / 'one')[0] == results(tmp_path / 'many')[0]

  def ids(out):
    return np.loadtxt(out / 'documents.tsv', int, skiprows=1, usecols=0)

  np.testing.assert_array_equal(ids(tmp_path / 'one'), ids(tmp_path / 'many'))


def test_the_files_hold_what_the_maths_gives(corpora, tmp_path):
  run = make_run(corpora)
  local.run(run, tmp_path / 'out', 1, 5)

  def read(corpus):
    return [
      line.decode()
      for piece in corpus_files.cut(corpus, 1)
      for line in corpus_files.lines(piece)
    ]

  hasher = dsir.Hasher(2, run.settings.buckets)
  texts = read(run.raw)
  ids, sizes = hasher(texts)

  def count(ids):
    return dsir.bucket_counts(ids, run.settings.buckets)

  targets = np.stack([count(hasher(read(c))[0]) for c in run.targets])
  p = dsir.probabilities(targets, run.laplace)
  q = dsir.probabilities(count(ids))
  weights = dsir.log_weights(ids, sizes, dsir.log_ratio(p, q))
  taken = dsir.select(
    weights,
    dsir.token_counts(sizes, 2) >= run.settings.min_length,
    dsir.split_k(run.k, targets.sum(1)),
    lambda target, ids: dsir.gumbel(run.seed, target, ids),
  )
  chosen = np.flatnonzero(taken)
  assert results(tmp_path / 'out')[0].decode().splitlines() == (
    [texts[i] for i in chosen]
  )
  rows = (tmp_path / 'out' / 'documents.tsv').read_text().splitlines()
  assert rows[0] + '\n' == pieces.COLUMNS
  for row, i in zip(rows[1:], chosen, strict=True):
    number, path, line, chunk, target, weight = row.split('\t')
    assert (int(number), int(chunk)) == (i, 0)
    assert int(target) == taken[i] - 1
    assert float(weight) == weights[i, taken[i] - 1]
    piece = corpus_files.cut([corpus_files.describe(path)], 1)[0]
    assert list(corpus_files.lines(piece))[int(line) - 1].decode() == texts[i]


def test_chunks_records_and_formats(tmp_path):
  rows = [{'text': f'a{i} b\nc d e{i} f', 'id': i} for i in range(20)]
  raw = tmp_path / 'raw.jsonl'
  raw.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  (tmp_path / 'target.txt').write_text('a1 b c d\n')
  whole = runs.Run(
    tuple(corpus_files.find([raw])),
    (tuple(corpus_files.find([tmp_path / 'target.txt'])),),
    k=5,
    settings=pieces.Settings(
      corpus_files.Documents(id_key='id'), buckets=70000, min_length=1
    ),
    form='jsonl',
  )
  local.run(whole, tmp_path / 'a', 1, 3)
  lines = (tmp_path / 'a' / 'selected.jsonl').read_text().splitlines()
  assert len(lines) == 5 and all(json.loads(line) in rows for line in lines)
  documents = dataclasses.replace(whole.settings.documents, chunk_words=2)
  settings = dataclasses.replace(whole.settings, documents=documents)
  cut = dataclasses.replace(whole, settings=settings, form='txt.gz', k=40)
  local.run(cut, tmp_path / 'b', 1, 2)
  packed = (tmp_path / 'b' / 'selected.txt.gz').read_bytes()
  lines = gzip.decompress(packed).decode().splitlines()
  table = np.loadtxt(tmp_path / 'b' / 'documents.tsv', str, skiprows=1)
  assert len(lines) == 40
  for line, row in zip(lines, table, strict=True):
    text = rows[int(row[2]) - 1]['text'].split(' ')
    chunk = ' '.join(text[2 * int(row[3]) :][:2])
    assert line == chunk.replace('\n', ' ')


@pytest.mark.parametrize('limit', [1, 500, 2000, 10**9])
def test_the_fit_stops_at_the_same_document(corpora, tmp_path, limit):
  run = dataclasses.replace(make_run(corpora), fit_limit=limit, report=False)
  for shards in (1, 7):
    local.run(run, tmp_path / str(shards), 1, shards)
  assert results(tmp_path / '1') == results(tmp_path / '7')
  # Documents are read until their sum exceeds the limit.
  counts, total = np.zeros(run.settings.buckets, int), 0
  for source in run.raw:
    for line in corpus_files.lines(corpus_files.cut([source], 1)[0]):
      ids, _ = run.settings.hasher()([line.decode()])
      if total <= limit:
        counts += dsir.bucket_counts(ids, run.settings.buckets)
      total += len(ids)
  fitted, before = 0, 0
  for piece in corpus_files.cut(run.raw, 7):
    totals = pieces.total(piece, run.settings)
    fitted += pieces.fitted_counts(piece, run.settings, totals, before, limit)
    before += totals.grams
  np.testing.assert_array_equal(fitted, counts)


def die_once(marker, value):
  """Kills its own process the first time."""
  if not os.path.exists(marker):
    open(marker, 'w').close()
    os.kill(os.getpid(), signal.SIGKILL)
  return value


def die(_):
  os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_replaced(tmp_path):
  calls = [(str(tmp_path / f'{i % 2}'), i) for i in range(6)]
  with local.Workers(2) as workers:
    assert workers.map(die_once, calls) == list(range(6))
    with pytest.raises(RuntimeError, match='workers were killed 4 times'):
      workers.map(die, [(0,)])
  with pytest.raises(ValueError, match='0 workers'):
    local.Workers(0)


def scan_and_die(piece, settings, place):
  """Scans; the first process leaves half a piece and is killed."""
  marker = place.path('killed')
  if piece.index == 1 and not marker.exists():
    marker.touch()
    place.path('ids').write_bytes(b'half')
    os.kill(os.getpid(), signal.SIGKILL)
  return spool.scan_piece(piece, settings, place)


def test_a_kill_in_the_scan_changes_nothing(corpora, tmp_path, monkeypatch):
  run = make_run(corpora)
  local.run(run, tmp_path / 'calm', 1, 4)
  original = local.Workers.map

  def mapping(self, function, calls):
    swapped = scan_and_die if function is spool.scan_piece else function
    return original(self, swapped, calls)

  monkeypatch.setattr(local.Workers, 'map', mapping)
  local.run(run, tmp_path / 'killed', 2, 4)
  assert results(tmp_path / 'killed') == results(tmp_path / 'calm')


def test_columns_on_disk(tmp_path):
  column = spool.Column(tmp_path / 'x', np.float64, (10, 2))
  column[3:5] = [[1, 2], [3, 4]]
  again = spool.Column(tmp_path / 'x', np.float64, (10, 2))
  np.testing.assert_array_equal(again[2:5], [[0, 0], [1, 2], [3, 4]])
  assert len(column) == 10 and column[8:99].shape == (2, 2)
  with pytest.raises(ValueError, match='for 2 rows'):
    column[0:2] = np.zeros((3, 2))


def test_k_must_be_below_the_valid_documents(corpora, tmp_path):
  run = make_run(corpora)
  report = local.run(run, tmp_path / 'out', 1, 2)
  most = dataclasses.replace(run, k=report['valid'] - 1)
  assert local.run(most, tmp_path / 'out', 1, 2)['k'] == report['valid'] - 1
  with pytest.raises(ValueError, match=r'raw0.txt:1: k=\d+ is not below the'):
    local.run(dataclasses.replace(most, k=most.k + 1), tmp_path / 'out', 1, 2)


def test_corpora_without_text(corpora, tmp_path):
  run = make_run(corpora)
  blank = tmp_path / 'blank.txt'
  blank.write_text('\n \n')
  sources = tuple(corpus_files.find([blank]))
  for change in ({'raw': sources}, {'targets': (sources,)}):
    with pytest.raises(ValueError, match='blank.txt:1: .* not a single token'):
      local.run(dataclasses.replace(run, **change), tmp_path / 'out', 1, 2)
  blank.write_text('')
  sources = tuple(corpus_files.find([blank]))
  with pytest.raises(ValueError, match='blank.txt:1: the corpus is empty'):
    local.run(dataclasses.replace(run, raw=sources), tmp_path / 'out', 1, 2)


def test_ids_must_be_unique(tmp_path, monkeypatch):
  rows = [{'text': f'word {i}', 'id': i % 11} for i in range(12)]
  raw = tmp_path / 'raw.jsonl'
  raw.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  monkeypatch.setattr(local, '_NAMES', 5)
  run = runs.Run(
    tuple(corpus_files.find([raw])),
    (tuple(corpus_files.find([raw])),),
    k=2,
    settings=pieces.Settings(corpus_files.Documents(id_key='id'), min_length=1),
  )
  message = r"raw.jsonl:12: the id '0' is also that of .*raw.jsonl:1;"
  with pytest.raises(ValueError, match=message):
    local.run(run, tmp_path / 'out', 1, 3)


def append(path):
  with open(path, 'a') as file:
    file.write('one more line\n')


def replace_line(path):
  lines = pathlib.Path(path).read_text().split('\n')
  lines[6] = lines[6][::-1]
  with open(path, 'w') as file:
    file.write('\n'.join(lines))


def truncate(path):
  lines = pathlib.Path(path).read_text().split('\n')
  with open(path, 'w') as file:
    file.write('\n'.join(lines[:9]) + '\n')


@pytest.mark.parametrize(
  'change, line, what',
  [
    (append, 61, 'the file has'),
    (replace_line, 7, 'the line is another one'),
    (truncate, 10, 'the line is no longer there'),
    (os.utime, 1, 'the file was written to'),
  ],
)
@pytest.mark.parametrize('shards', [1, 9])
def test_a_file_that_changes(
  corpora, tmp_path, monkeypatch, change, line, what, shards
):
  run = make_run(corpora)
  weigh = local.Local._weigh

  def changing(self, *arguments):
    change(run.raw[0].path)
    return weigh(self, *arguments)

  monkeypatch.setattr(local.Local, '_weigh', changing)
  with pytest.raises(ValueError, match=f'raw0.txt:{line}: {what}'):
    local.run(run, tmp_path / 'out', 1, shards)


def test_a_target_that_changes(corpora, tmp_path, monkeypatch):
  run = make_run(corpora)
  monkeypatch.setattr(
    local.Local, '_describe', lambda *_: append(run.targets[1][0].path) or {}
  )
  with pytest.raises(ValueError, match='target1.txt:13: the file has'):
    local.run(run, tmp_path / 'out', 1, 1)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'k': 0}, 'k=0'),
    ({'form': 'csv'}, "format 'csv'"),
    ({'draw': 'all'}, "draw 'all'"),
    ({'laplace': -1.0}, 'laplace=-1'),
    ({'fit_limit': 0}, 'fit on 0 n-grams'),
    ({'shares': (1.0,)}, '1 shares for 2 targets'),
    ({'shares': (1.0, -1.0)}, 'positive'),
  ],
)
def test_settings_are_checked(corpora, change, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(make_run(corpora), **change)
