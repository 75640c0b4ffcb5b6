"""A key that an object has twice is refused, in every file of a user."""

import json

import pytest

from glue_jax.data.readers import json_files, json_text, squad
from glue_jax.data.readers.files import Log
from glue_jax.data.selection import corpus_files
from glue_jax.data.tasks import own_file
from glue_jax.data.tokenizers import settings
from glue_jax.weights import huggingface, run_folder


@pytest.mark.parametrize(
  'text',
  [
    '{"a": 1, "b": {"a": [1, {"a": 2}]}}',
    '[{"a": "{\\"a\\": 1, \\"a\\": 2}"}, {"a": ":"}]',
    '[]',
    '"a"',
  ],
)
def test_other_json_is_read_as_python_does(text):
  for form in (text, text.encode(), text.encode('utf-16')):
    assert json_text.loads(form) == json.loads(text)
  assert json_text.raw_decode('  ' + text, 2) == (
    json.loads(text), len(text) + 2
  )  # fmt: skip


@pytest.mark.parametrize(
  'text, key, place',
  [
    ('{"a": 1, "a": 1}', "'a'", 9),
    ('{"b": {"a": "a\\"", "\\u0061": 2}}', "'a'", 19),  # another spelling
    ('[{"a": [{"a": 0}],\n "żółć": 1, "żółć": 2}]', "'żółć'", 31),
    ('{"": "{", "": "}"}', "''", 10),
  ],
)
def test_a_key_twice_is_named_with_its_place(text, key, place):
  with pytest.raises(json_text.Twice) as error:
    json_text.loads(text)
  assert error.value.msg == f'key {key} is given twice in one object'
  assert error.value.pos == place
  assert error.value.lineno == 1 + text[:place].count('\n')


READERS = {'jsonl': json_files.read_jsonl, 'json': json_files.read_array}
ROW = '{"text": "a", "label": "no"}'
BAD = '{"text": "a", "text": "b", "label": "no"}'


@pytest.mark.parametrize(
  'style, text, line',
  [
    ('jsonl', f'{ROW}\n{BAD}\n{ROW}\n', 2),
    ('json', f'[{ROW},\n{BAD},\n{ROW}]', 2),
    ('json', f'[{ROW},\n{ROW},{{\n"text": "a",\n"text": "b"}}\n]', 4),
  ],
)
def test_rows_are_refused_or_left_out(tmp_path, style, text, line):
  path = tmp_path / 'a.json'
  path.write_text(text)
  with pytest.raises(ValueError, match=f"json:{line}: key 'text' is given"):
    list(READERS[style](path, Log(path), ('text',)))
  log = Log(path, drop=True)
  rows = list(READERS[style](path, log, ('text',)))
  assert len(rows) == 2 and len(log.dropped) == 1


def test_questions_are_refused(tmp_path):
  path = tmp_path / 'a.json'
  path.write_text('{"data": [],\n"version": "1",\n"data": []}')
  with pytest.raises(ValueError, match="json:3: key 'data' is given twice"):
    list(squad.read_squad(path, Log(path)))


def test_a_corpus_is_refused(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_text('{"text": "a"}\n{"text": "a", "text": "b"}\n')
  pieces = corpus_files.cut(corpus_files.find([str(path)]), 1)
  documents = corpus_files.Documents('text')
  with pytest.raises(ValueError, match="jsonl:2: key 'text' is given twice"):
    for piece in pieces:
      list(corpus_files.batches(piece, documents))


def test_settings_of_others_are_refused(tmp_path):
  (tmp_path / 'config.json').write_text('{"id2label": {"0": "a", "0": "b"}}')
  for read in (huggingface.read_config, run_folder.read_config):
    with pytest.raises(ValueError, match="config.json:1: key '0' is given"):
      read(tmp_path)
  with pytest.raises(ValueError, match="config.json:1: key '0' is given"):
    settings.load(tmp_path / 'config.json')


@pytest.mark.parametrize(
  'keys, line',
  [
    ('columns: {text: words,\n  text: said}\n', 4),
    ('splits: {train: a.csv}\nsplits: {train: b.csv}\n', 4),
    ('label_names: [no, {a: 1, a: 2}]\n', 3),
  ],
)
def test_task_files_are_refused_however_deep(tmp_path, keys, line):
  path = tmp_path / 'task.yaml'
  path.write_text(f'name: rooms\nkind: classification\n{keys}')
  with pytest.raises(ValueError, match=rf'yaml:{line}: key .* is given twice'):
    own_file.read(path)
