"""Objects a line, and arrays of objects with the line of each."""

import pytest

from glue_jax.data.readers import json_files
from glue_jax.data.readers.files import Log


def read(tmp_path, text, reader=json_files.read_array, drop=False):
  path = tmp_path / 'a.json'
  path.write_text(text, encoding='utf-8')
  log = Log(path, drop)
  return list(reader(path, log, ('text',)))


@pytest.mark.parametrize(
  'text, lines',
  [
    ('[{"text": "a"}, {"text": "b"}]', [1, 1]),
    ('\n [\n{"text": "a"},\n{\n"text": "b]"\n}\n]\n', [3, 4]),
    ('[{"text":"a"}\n,\n\n{"text":"b"}]', [1, 4]),
  ],
)
def test_elements_have_the_line_where_they_begin(tmp_path, text, lines):
  found = read(tmp_path, text)
  assert [number for number, _ in found] == lines
  assert [record['text'][0] for _, record in found] == ['a', 'b']
  assert json_files.is_array(tmp_path / 'a.json')


@pytest.mark.parametrize(
  'text, message',
  [
    ('{"text": "a"}', "json:1: not a JSON array: '{' found, expected ["),
    ('[]', 'json:1: the array is empty'),
    ('[\n{"text": "a"}\n', 'json:3: not a JSON array: the end of the file'),
    ('[{"text": "a"}\n{"text": "b"}]', "json:2: not a JSON array: '{' found"),
    ('[{"text": "a"},\n{text: 3}]', 'json:2: not JSON'),
    ('[{"text": "a"},\n]', 'json:2: not JSON'),
    ('[{"text": "a"},\n 3]', 'json:2: a number (3) found, expected an object'),
    ('[\n{"txt": "a"}]', "json:2: keys ['txt'] lack text"),
  ],
)
def test_what_is_no_array_of_objects_is_named(tmp_path, text, message):
  with pytest.raises(ValueError) as error:
    read(tmp_path, text)
  assert message in str(error.value)


def test_bad_elements_are_left_out_when_asked(tmp_path):
  assert read(tmp_path, '[3, {"text": "a"}]', drop=True) == [(1, {'text': 'a'})]
  lines = '[' * 100_000 + '\n{"text": "a"}\n'
  found = read(tmp_path, lines, json_files.read_jsonl, drop=True)
  assert found == [(2, {'text': 'a'})]


@pytest.mark.parametrize('text', ['[{"text": "a"}]', '[\n{"text": "a"}\n]'])
def test_an_array_read_by_lines_is_told_its_format(tmp_path, text):
  with pytest.raises(ValueError, match='dataset: json:FILE'):
    read(tmp_path, text, json_files.read_jsonl)
