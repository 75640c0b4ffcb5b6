"""Raw files of the builders from a server here: sums, zips, what breaks off."""

import contextlib
import functools
import hashlib
import http.server
import json
import sys
import threading
import zipfile

import pytest

from glue_jax.data import load
from glue_jax.data.readers import raw_files, tfds
from glue_jax.data.tasks import by_name
from launch import data as command
from tests.commands import status


class Handler(http.server.SimpleHTTPRequestHandler):
  """Serves a folder; of a file in `server.cut` only the first bytes."""

  def log_message(self, *_):
    pass

  def copyfile(self, source, outputfile):
    self.server.asked.append(self.path)
    content = source.read()
    outputfile.write(content[: self.server.cut.get(self.path)])


@pytest.fixture
def site(tmp_path):
  (tmp_path / 'site').mkdir()
  handler = functools.partial(Handler, directory=str(tmp_path / 'site'))
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
  server.cut, server.asked = {}, []
  thread = threading.Thread(target=server.serve_forever, args=(0.05,))
  thread.start()
  yield server
  server.shutdown()
  thread.join()
  server.server_close()


def address(site, name):
  return f'http://127.0.0.1:{site.server_port}/{name}'


@pytest.fixture
def rte(site, tmp_path, monkeypatch):
  """RTE's zip on the site, its address in the builder, its sum on record."""
  from tensorflow_datasets.text import glue

  head, names = 'index\tsentence1\tsentence2', ('entailment', 'not_entailment')
  lines = [f'{i}\tA{i}.\tB.\t{names[i % 2]}' for i in range(8)]
  path = tmp_path / 'site' / 'RTE.zip'
  with zipfile.ZipFile(path, 'w') as archive:
    for split in ('train', 'dev'):
      text = '\n'.join([f'{head}\tlabel', *lines])
      archive.writestr(f'RTE/{split}.tsv', text + '\n')
    archive.writestr('RTE/test.tsv', f'{head}\n0\tx\ty\n')
  url = address(site, 'RTE.zip')
  [config] = [c for c in glue.Glue.BUILDER_CONFIGS if c.name == 'rte']
  monkeypatch.setattr(config, 'data_url', url)
  content = path.read_bytes()
  known = raw_files.Known(len(content), hashlib.sha256(content).hexdigest())
  monkeypatch.setitem(raw_files.on_record('glue'), url, known)
  for split, count in {'train': 8, 'validation': 8, 'test': 1}.items():
    monkeypatch.setitem(by_name.get('rte').splits, split, count)
  return path


def prepare(data, *arguments):
  ask = 'prepare', '--task=rte', f'--data_dir={data}', *arguments
  return status(command, *ask, arguments=True)


def test_a_builder_fetches_without_tensorflow(rte, site, tmp_path, capsys):
  data = tmp_path / 'data'
  assert prepare(data, '--source=tfds') == 0
  said = capsys.readouterr().out
  assert 'ok       train: 8 rows' in said
  assert f'rte: prepared in {data}/glue/rte/2.0.0 (tensorflow-datasets' in said
  assert (
    f'next: python -m launch.data check --task=rte --data_dir={data}' in said
  )
  table = load.load(by_name.get('rte'), 'train', data)
  assert [(r['sentence1'], r['label']) for r in table.rows[:2]] == [
    ('A0.', 0), ('A1.', 1),
  ]  # fmt: skip
  assert 'tensorflow' not in sys.modules
  # What was fetched isn't fetched again.
  (data / 'glue').rename(tmp_path / 'elsewhere')
  assert prepare(data) == 0
  assert site.asked == ['/RTE.zip']


def test_another_content_than_on_record_is_refused(rte, tmp_path):
  data = tmp_path / 'data'
  with zipfile.ZipFile(rte, 'a') as archive:
    archive.writestr('RTE/more.tsv', 'x')
  said = prepare(data)
  assert 'were expected; start the same command again' in said
  assert 'with SHA-256' in said and not list(data.glob('downloads/*'))


def test_a_file_that_breaks_off_gets_no_name(rte, site, tmp_path):
  data = tmp_path / 'data'
  site.cut['/RTE.zip'] = 40
  said = prepare(data)
  assert address(site, 'RTE.zip') in said and '--source=FOLDER' in said
  assert not list(data.glob('downloads/*')) and not list(data.rglob('2.0.0*'))
  site.cut.clear()
  assert prepare(data) == 0


def test_no_answer_and_no_such_file_are_one_line(rte, site, tmp_path):
  manager = raw_files.Network(tmp_path / 'downloads', 'glue')
  with pytest.raises(ValueError, match='no.zip: 404 File not found; see'):
    manager.download(address(site, 'no.zip'))
  with pytest.raises(ValueError, match='refused; see to the network'):
    manager.download('http://127.0.0.1:9/x.zip')
  assert not list((tmp_path / 'downloads').glob('*'))
  assert 'no such folder; expected hub, tfds or' in prepare(
    tmp_path, '--source=nowhere'
  )


def test_several_files_and_those_that_are_no_zip(site, tmp_path):
  for name in ('a.json', 'b.json'):
    (tmp_path / 'site' / name).write_text(json.dumps(name))
  manager = raw_files.Network(tmp_path / 'downloads', 'squad')
  urls = {name: address(site, f'{name}.json') for name in 'ab'}
  paths = manager.download_and_extract(urls)
  for name in 'ab':
    with contextlib.closing(open(paths[name])) as file:
      assert json.load(file) == f'{name}.json'


def test_the_sums_on_record_are_those_of_tensorflow_datasets():
  glue, squad = map(raw_files.on_record, ('glue', 'squad'))
  url = 'https://dl.fbaipublicfiles.com/glue/data/RTE.zip'
  assert glue[url].size == 697150 and len(glue[url].sha256) == 64
  assert any(url.endswith('train-v2.0.json') for url in squad)
  with pytest.raises(ValueError, match='not in tensorflow-datasets'):
    tfds.prepare(by_name.get('cb'), None)
