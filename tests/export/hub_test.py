"""Pushing an export: what is sent, to whom, and what is refused."""

import pathlib

import pytest

from glue_jax.data import hub as names
from glue_jax.data.tasks import by_name
from glue_jax.export import hub, model_card
from launch import export
from tests import commands, hub_server

NAME = 'acme/made'


@pytest.fixture
def server():
  with hub_server.serve() as running:
    yield running


@pytest.fixture
def folder(tmp_path):
  """An export, with a file that was there before."""
  made = tmp_path / 'export'
  made.mkdir()
  (made / 'README.md').write_text('---\nlibrary_name: jax\n---\n\n# A card\n')
  (made / 'model.safetensors').write_bytes(b'weights')
  (made / 'secret.txt').write_text('not of the export')
  return made


FILES = ('README.md', 'model.safetensors')


def refused(folder, name=NAME):
  with pytest.raises(ValueError) as caught:
    hub.push(folder, FILES, name)
  (line,) = str(caught.value).splitlines()
  return line


def test_what_was_exported_is_pushed_and_comes_back(server, folder, tmp_path):
  with server.client(tmp_path / 'cache', token=hub_server.TOKEN):
    hub.check(NAME)
    address = hub.push(folder, FILES, NAME)
    made = server.repositories['model', NAME]
    assert made.private and set(made.files) == set(FILES)
    assert address == f'{server.endpoint}/{NAME}/commit/{made.commit}'
    back = pathlib.Path(names.folder(NAME))
    (folder / 'model.safetensors').write_bytes(b'better weights')
    hub.push(folder, FILES, NAME, public=True)
    assert made.private  # it was there
    hub.push(folder, FILES, 'acme/open', public=True)
  assert (back / 'model.safetensors').read_bytes() == b'weights'
  assert made.files['model.safetensors'] == b'better weights'
  assert not server.repositories['model', 'acme/open'].private


def test_what_the_hub_refuses_is_one_line(server, folder, tmp_path):
  with server.client(tmp_path / 'cache', token=hub_server.TOKEN):
    assert 'may not write to other' in refused(folder, 'other/made')
    (folder / 'README.md').write_text('---\na: [\n---\n')
    assert '400 Bad Request' in refused(folder)
  with server.client(tmp_path / 'cache', token='hf_' + 'y' * 34):
    assert 'for no valid one' in refused(folder)
  silent = dict(ENDPOINT='http://127.0.0.1:9')
  with server.client(tmp_path / 'cache', token=hub_server.TOKEN, **silent):
    assert f'whole in {folder}' in refused(folder)
  assert set(server.repositories) <= {('model', NAME)}


def test_it_is_refused_before_the_work(server, tmp_path):
  """The run doesn't even exist."""
  given = [f'--workdir={tmp_path / "none"}', f'--output={tmp_path / "out"}']
  with server.client(tmp_path / 'cache'):
    said = commands.status(export, *given, f'--push={NAME}')
    assert 'without a token' in said and 'HF_TOKEN' in said
    said = commands.status(export, *given, '--push=made')
    assert "'made' is no repository; expected OWNER/NAME" in said
    said = commands.status(export, *given, '--public')
    assert '--public goes with --push' in said
  with server.client(tmp_path / 'cache', HF_HUB_OFFLINE=True):
    said = commands.status(export, *given, f'--push={NAME}')
    assert 'HF_HUB_OFFLINE is set' in said
  assert server.requests == []


def test_a_card_names_the_model_that_it_began_from():
  task = by_name.make('rte')
  card = model_card.model_card(
    task, {}, {}, weights='acme/tiny@main', commit='0123'
  )
  assert '\nbase_model: acme/tiny\n' in card
  assert 'starting from `acme/tiny@main` (commit 0123).' in card
  assert 'base_model' not in model_card.model_card(task, {}, {}, weights='a/b')
