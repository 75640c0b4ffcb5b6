"""The Beam pipeline gives the bytes of the local path, and its errors."""

import dataclasses
import gzip
import json
import os
import signal

import pytest

from glue_jax.data.selection import corpus_files, local, pieces
from glue_jax.data.selection import run as runs
from tests.data.selection.corpora import make_run, write_corpora

pytest.importorskip('apache_beam', reason="needs pip install 'glue_jax[beam]'")
from glue_jax.data.selection import beam as selection_beam
from glue_jax.data.selection import beam_files

PROCESSES = ('--direct_running_mode=multi_processing', '--direct_num_workers=2')


def described(sources):
  return tuple(beam_files.find([s.path for s in sources]))


def on_beam(run):
  """The run with its files as Beam's file system describes them."""
  targets = tuple(described(corpus) for corpus in run.targets)
  return dataclasses.replace(run, raw=described(run.raw), targets=targets)


def one_target(run):
  return dataclasses.replace(run, targets=run.targets[:1], report=False)


def joined(out, stem):
  return b''.join(p.read_bytes() for p in sorted(out.glob(f'{stem}-*')))


def assert_same(beam, alone):
  table = (alone / 'documents.tsv').read_bytes().split(b'\n', 1)[1]
  assert joined(beam, 'selected') == (alone / 'selected.txt').read_bytes()
  assert joined(beam, 'documents') == table
  assert not list(beam.glob('*.part'))


def test_two_targets_with_a_report(tmp_path):
  run = make_run(write_corpora(tmp_path))
  expected = local.run(run, tmp_path / 'alone', 1, 1)
  report = selection_beam.run(on_beam(run), str(tmp_path / 'beam'), (), 3)
  assert_same(tmp_path / 'beam', tmp_path / 'alone')
  del expected['seconds']
  assert report.pop('sets').keys() == (sets := expected.pop('sets')).keys()
  assert report == expected
  whole = json.loads((tmp_path / 'beam' / 'report.json').read_text())
  for name, row in sets.items():  # a sum of floats may end in other bits
    mean = whole['sets'][name].pop('mean_log_weight')
    assert mean == pytest.approx(row.pop('mean_log_weight'))
    assert whole['sets'][name] == row


@pytest.mark.parametrize('shards', [1, 16])
def test_any_sharding(tmp_path, shards):
  run = one_target(make_run(write_corpora(tmp_path), fit_limit=900))
  run = dataclasses.replace(run, draw='top_k')
  local.run(run, tmp_path / 'alone', 1, 5)
  selection_beam.run(on_beam(run), str(tmp_path / 'beam'), (), shards)
  assert_same(tmp_path / 'beam', tmp_path / 'alone')


def test_a_side_input_is_no_steps_main_input(tmp_path):
  # Beam's local runner may hand such a side input over before it is there.
  from apache_beam import Pipeline
  from apache_beam.portability.api import beam_runner_api_pb2 as api

  pipeline = Pipeline()
  run = on_beam(make_run(write_corpora(tmp_path)))
  selection_beam.build(pipeline, run, str(tmp_path), 3)
  main, side = set(), set()
  for step in pipeline.to_runner_api().components.transforms.values():
    if step.subtransforms or not step.inputs:
      continue
    names = set()
    if step.spec.urn == 'beam:transform:pardo:v1':
      names = set(api.ParDoPayload.FromString(step.spec.payload).side_inputs)
    for name, collection in step.inputs.items():
      (side if name in names else main).add(collection)
  assert len(side) > 10 and len(main) > 10
  assert not side & main


def killed_once(piece, settings):
  """The first scan of a piece kills its worker."""
  marker = f'{piece.path}.killed'
  if piece.index == 1 and not os.path.exists(marker):
    open(marker, 'w').close()
    os.kill(os.getpid(), signal.SIGKILL)
  total = pieces.total(piece, settings, beam_files.open_file)
  return piece, total


def test_two_processes_one_of_them_killed(tmp_path, monkeypatch):
  run = one_target(make_run(write_corpora(tmp_path)))
  local.run(run, tmp_path / 'alone', 1, 2)
  monkeypatch.setattr(selection_beam, '_total', killed_once)
  monkeypatch.setenv('PYTHONPATH', os.getcwd())
  selection_beam.run(on_beam(run), str(tmp_path / 'beam'), PROCESSES, 3)
  assert_same(tmp_path / 'beam', tmp_path / 'alone')
  assert list(tmp_path.glob('*.killed'))


real_fit = selection_beam._fit


def fit_of_a_file_that_grows(start, run, *arguments):
  """Fits; something else adds a line to the first raw file."""
  model = real_fit(start, run, *arguments)
  with open(run.raw[0].path, 'a') as file:
    file.write('one more line\n')
  return model


def test_a_file_that_changes(tmp_path, monkeypatch):
  run = one_target(make_run(write_corpora(tmp_path)))
  monkeypatch.setattr(selection_beam, '_fit', fit_of_a_file_that_grows)
  with pytest.raises(ValueError, match=r'raw0.txt:61: the file has \d+ bytes'):
    selection_beam.run(on_beam(run), str(tmp_path / 'beam'), (), 1)


def test_errors_are_those_of_the_local_path(tmp_path):
  raw, target = tmp_path / 'raw.jsonl', tmp_path / 'target.txt'
  target.write_text('word one two\n')
  rows = [{'text': f'word {i}', 'id': i % 11} for i in range(12)]
  text = ''.join(json.dumps(row) + '\n' for row in rows)
  base = dict(
    targets=(described(corpus_files.find([target])),), k=2, report=False
  )
  name = pieces.Settings(corpus_files.Documents(id_key='id'), min_length=1)
  plain = pieces.Settings(min_length=1)
  for data, settings, k, message in (
    (text, name, 2, r"raw.jsonl:12: the id '0' is also that of .*jsonl:1;"),
    (text, plain, 12, r'raw.jsonl:1: k=12 is not below the 12 valid'),
    (text + '{}\n', plain, 2, r'raw.jsonl:13: keys \[\] lack'),
  ):
    raw.write_text(data)
    run = runs.Run(
      raw=described(corpus_files.find([raw])),
      settings=settings,
      **(base | {'k': k}),
    )
    with pytest.raises(ValueError, match=message):
      selection_beam.run(run, str(tmp_path / 'out'), (), 3)


def test_find(tmp_path):
  (tmp_path / 'in').mkdir()
  for name in ('b.jsonl', 'a.txt', 'in/c.txt.gz', 'd.csv'):
    (tmp_path / name).write_bytes(gzip.compress(b'x'))
  for given in ([str(tmp_path)], [f'{tmp_path}/*.csv', f'{tmp_path}/a.txt']):
    mine = [source[:2] for source in beam_files.find(given)]
    assert mine == [source[:2] for source in corpus_files.find(given)]
  with pytest.raises(FileNotFoundError, match='nothing: expected a file'):
    beam_files.find([str(tmp_path / 'nothing')])
  with pytest.raises(ValueError, match='given twice'):
    beam_files.find([str(tmp_path), str(tmp_path / 'a.txt')])
