"""Names of the hub where a folder is expected, against a hub of our own."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from glue_jax.data import hub, tokenizing
from glue_jax.devices import sharding
from glue_jax.inference import open_run
from glue_jax.merging import sources
from glue_jax.reporting import run_record
from glue_jax.training import begin, runs, schema
from glue_jax.weights import huggingface, source
from tests import hub_server
from tests.conftest import ROOT, tiny_config

NAME = 'acme/tiny'


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
  """A Hugging Face folder of the task's words, with what isn't fetched."""
  folder = tmp_path_factory.mktemp('weights')
  made = begin.build(schema.bind(tiny_config(), 4), 1)
  params = sharding.gather(made.params, made.mesh)
  huggingface.save_hf(
    folder,
    made.plain.model,
    params,
    made.bundle.tokenizer,
    made.bundle.task.labels,
  )
  (folder / 'pytorch_model.bin').write_bytes(b'a pickle')
  (folder / 'onnx').mkdir()
  (folder / 'onnx' / 'config.json').write_text('{}')
  (folder / 'README.md').write_text('a card')
  return folder


@pytest.fixture
def server(weights):
  with hub_server.serve() as running:
    running.add(NAME, weights)
    yield running


@pytest.fixture
def model(server):
  return server.repositories['model', NAME]


def refused(name, **changes):
  with pytest.raises(FileNotFoundError) as caught:
    hub.folder(name, **changes)
  (line,) = str(caught.value).splitlines()
  return line


def test_a_name_is_no_path(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'acme' / 'here').mkdir(parents=True)
  names = ('bert-base-uncased', 'acme/tiny', 'acme/tiny@main', 'a/b@refs/pr/1')
  paths = ('acme/here', './acme/tiny', '../a', '/a/b', '~/a', 'a/b/c', '')
  paths += ('stage:pretrain', 'a b', 'runs/', '-a/b', 'a/b@')
  assert [n for n in names if not hub.is_name(n)] == []
  assert [p for p in paths if hub.is_name(p)] == []
  assert hub.folder('~/weights') == os.path.expanduser('~/weights')
  assert hub.folder('./weights') == './weights'


def test_a_name_is_fetched_without_pickles_and_folders(server, tmp_path):
  with server.client(tmp_path):
    folder = pathlib.Path(hub.folder(NAME))
    first = len(server.requests)
    again = hub.folder(f'{NAME}@{folder.name}')
  assert {p.name for p in folder.iterdir()} == {
    'config.json', 'model.safetensors', 'tokenizer.json',
    'tokenizer_config.json', 'vocab.txt',
  }  # fmt: skip
  asked = ' '.join(path for _, path in server.requests)
  assert 'pytorch_model' not in asked and 'onnx' not in asked
  assert again == str(folder) and len(server.requests) == first


def test_a_tokenizer_is_fetched_alone(server, tmp_path, weights):
  with server.client(tmp_path):
    read = tokenizing.get_tokenizer(NAME)
  assert read.vocab == tokenizing.get_tokenizer(weights).vocab
  assert not any('safetensors' in path for _, path in server.requests)


def test_a_revision_is_a_branch_or_a_commit(server, model, tmp_path, weights):
  old = model.commit
  other = {'config.json': b'{}', 'model.safetensors': b'x'}
  server.add(NAME, other, revision='refs/pr/1')
  with server.client(tmp_path):
    branch = pathlib.Path(hub.folder(f'{NAME}@refs/pr/1'))
    assert (branch / 'config.json').read_text() == '{}'
    server.add(NAME, other)
    assert pathlib.Path(hub.folder(f'{NAME}@{old}')).name == old
    assert hub.pinned(NAME) == f'{NAME}@{model.commit}'
    assert hub.pinned(str(weights)) == str(weights)
    assert source.read_sizes(f'{NAME}@{old}')['name'] == 'bert'
    assert sources.open_source(f'{NAME}@{old}', 'a').folder.name == old


def test_what_the_hub_refuses_is_one_line(server, model, tmp_path):
  with server.client(tmp_path):
    line = refused('acme/none')
    assert 'no such folder here' in line and 'set HF_TOKEN' in line
    assert server.endpoint in line
    assert "no branch, tag or commit 'old'" in refused(f'{NAME}@old')
    assert 'no name of the hub either' in refused('a--b/c')
    model.gated = True
    assert f'status 401); ask at {server.endpoint}/{NAME}' in refused(NAME)
  with server.client(tmp_path, token=hub_server.TOKEN):
    assert 'status 403); ask' in refused(NAME)
    model.gated, model.missing = False, {'model.safetensors'}
    assert 'lists the file model.safetensors' in refused(NAME)
    model.missing, model.cut = set(), {'model.safetensors': 100}
    line = refused(NAME)
    assert 'broke off' in line and 'start the same command again' in line
    model.cuts = 2  # the client tries again by itself
    assert pathlib.Path(hub.folder(NAME), 'model.safetensors').is_file()


def test_private_repositories_need_the_token(server, model, tmp_path):
  model.private = True
  with server.client(tmp_path):
    assert 'set HF_TOKEN' in refused(NAME)
  with server.client(tmp_path, token=hub_server.TOKEN):
    assert hub.folder(NAME)


def test_pickles_alone_are_refused_with_how_to_convert(server, tmp_path):
  server.add('acme/old', {'config.json': b'{}', 'pytorch_model.bin': b''})
  with server.client(tmp_path):
    line = refused('acme/old')
  assert 'but pytorch_model.bin' in line and 'safetensors/convert' in line
  assert not any('resolve' in p and '.bin' in p for _, p in server.requests)


def test_offline_reads_the_cache_alone(server, tmp_path):
  with server.client(tmp_path, HF_HUB_OFFLINE=True):
    line = refused(NAME)
    assert 'HF_HUB_OFFLINE' in line and str(tmp_path) in line
  with server.client(tmp_path):
    hub.folder(NAME, weights=False)
  with server.client(tmp_path, HF_HUB_OFFLINE=True):
    assert 'not as a whole' in refused(NAME)
  with server.client(tmp_path):
    expected = hub.folder(NAME)
  with server.client(tmp_path, HF_HUB_OFFLINE=True):
    before = len(server.requests)
    assert hub.folder(NAME) == expected
    assert len(server.requests) == before
  silent = dict(ENDPOINT='http://127.0.0.1:9')
  with server.client(tmp_path, **silent):
    assert hub.folder(NAME) == expected
    assert 'does not answer' in refused('acme/none')


SETTINGS = dict(
  task=dict(name='mini_acceptability'),
  data=dict(max_length=16, buckets=(16,), train_limit=16, eval_limit=16),
  model=dict(weights=NAME),
  train=dict(steps=1),
  seeds=(0, 1),
)


def test_a_run_keeps_its_commit(server, model, tmp_path, weights, monkeypatch):
  """Its seeds, its later starts and what opens it, whatever `main` becomes."""
  old, work, train = model.commit, tmp_path / 'run', runs.train

  def killed(*args, **kwargs):
    train(*args, **kwargs)
    raise KeyboardInterrupt

  with server.client(tmp_path / 'cache'):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
      patch.setattr(runs, 'train', killed)
      runs.run(SETTINGS, work)
    server.add(NAME, {'config.json': b'{}', 'model.safetensors': b''})
    runs.run(SETTINGS, work)
  for seed in (0, 1):
    folder = work / f'seed_{seed}'
    made = run_record.read_json(folder / 'run.json')
    given = run_record.read_json(folder / 'inputs.json')
    assert made['hub_commits'] == given['others']['commits'] == {NAME: old}
  with server.client(tmp_path / 'none', HF_HUB_OFFLINE=True):
    opened = open_run.open_run(work, seed=1)
  assert opened.tokenizer.vocab == tokenizing.get_tokenizer(weights).vocab


def test_all_processes_take_the_commit_of_the_first(
  server, model, tmp_path, monkeypatch
):
  from jax.experimental import multihost_utils

  told, old = [], model.commit
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(
    multihost_utils, 'broadcast_one_to_all', lambda x: told.append(x) or told[0]
  )
  with server.client(tmp_path / '0'):
    names = hub.Commits()
    first = names.folder(NAME)
    assert names.used == names.known == {NAME: old}
  server.add(NAME, {'config.json': b'{}', 'model.safetensors': b''})
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  with server.client(tmp_path / '1'):
    second = hub.Commits().folder(NAME)
  assert pathlib.Path(first).name == pathlib.Path(second).name == old
  told.clear()
  monkeypatch.setattr(jax, 'process_index', lambda: 0)
  with server.client(tmp_path / '1'):
    with pytest.raises(FileNotFoundError, match='no such folder here'):
      hub.Commits().folder('acme/none')
    monkeypatch.setattr(jax, 'process_index', lambda: 1)
    with pytest.raises(FileNotFoundError, match='process 0 could not'):
      hub.Commits().folder('acme/none')


def test_the_variables_of_the_hub_are_obeyed(server, tmp_path):
  """HF_ENDPOINT, HF_HOME and HF_TOKEN, in a process of its own."""
  server.repositories['model', NAME].private = True
  code = f'from glue_jax.data import hub; print(hub.folder({NAME!r}))'
  environment = server.environment(tmp_path / 'home', hub_server.TOKEN)
  environment.pop('HF_HUB_CACHE')
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=ROOT,
    env=os.environ | environment,
    capture_output=True,
    text=True,
    check=True,
  )
  assert str(tmp_path / 'home' / 'hub') in done.stdout
  assert done.stderr == ''  # no bars where nobody looks


def test_without_weights_a_vocabulary_is_trained():
  """'' asks for no repository, and neither does 'train'."""
  own, trained = (
    begin.build(schema.bind(tiny_config(data=dict(tokenizer=name)), 4), 0)
    for name in ('', 'train')
  )
  assert own.bundle.tokenizer.vocab == trained.bundle.tokenizer.vocab
  assert own.others['commits'] == {}
